"""What is said to the database, in words that MySQL 8 has.

Every statement is compiled for MySQL's dialect here. None was run on a MySQL server.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateIndex, CreateTable

from airflow_provider_b24._airflow.database import engine
from airflow_provider_b24.calls.answering import Sender
from airflow_provider_b24.calls.by_hand import answer_by_hand, retry_now
from airflow_provider_b24.calls.changes import StoredAnswer
from airflow_provider_b24.calls.dispatcher import Dispatcher, purge
from airflow_provider_b24.calls.intake import Intake
from airflow_provider_b24.calls.listing import CallFilter, list_calls, list_refusals
from airflow_provider_b24.calls.migrations import versions
from airflow_provider_b24.calls.spool import Spool
from airflow_provider_b24.calls.table import STATES, call_table, metadata
from airflow_provider_b24.receiver.bodies import MAX_BODY_BYTES

DATABASES = ("sqlite",)
DIALECT = mysql.dialect()  # type: ignore[no-untyped-call]
LONGEST_KEY_BYTES = 3072
LONGEST_ROW_BYTES = 65535
LONGEST_TEXT_BYTES = {"TEXT": 2**16 - 1, "MEDIUMTEXT": 2**24 - 1}


def compiled(statement: Any) -> str:
    return str(statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True}))


@pytest.fixture
def statements(metadata_database: Any) -> Iterator[list[Any]]:
    """Every statement about our tables that was executed."""
    executed: list[Any] = []

    def note(_connection: Any, statement: Any, *_: Any) -> None:
        if any(name in str(statement) for name in metadata.tables):
            executed.append(statement)

    sa.event.listen(engine(), "before_execute", note)
    yield executed
    sa.event.remove(engine(), "before_execute", note)


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_tables_and_indexes_can_be_made(table):
    assert "CREATE TABLE" in compiled(CreateTable(table))
    for index in table.indexes:
        assert "CREATE INDEX" in compiled(CreateIndex(index))
    for columns in (table.primary_key.columns, *(index.columns for index in table.indexes)):
        assert sum(_bytes(column) for column in columns) <= LONGEST_KEY_BYTES
    assert sum(_bytes(column) for column in table.columns) <= LONGEST_ROW_BYTES


def _bytes(column: Any) -> int:
    """Of a text of so many characters, four bytes each; what is no short text takes few."""
    return 4 * (column.type.length or 0) if type(column.type) is sa.String else 20


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_the_migrations_make_the_columns_that_the_code_declares(table):
    made = io.StringIO()
    context = MigrationContext.configure(dialect_name="mysql", opts={"as_sql": True, "output_buffer": made})
    with Operations.context(context):
        for module in sorted(one.name for one in pkgutil.iter_modules(versions.__path__)):
            importlib.import_module(f"{versions.__name__}.{module}").upgrade()
    for column in table.columns:
        assert f"    {column.name} {column.type.compile(dialect=DIALECT)}" in made.getvalue()


def test_a_call_as_long_as_the_receiver_takes_and_its_answer_fit(robot, call_robot):
    """A letter that is not ASCII is two bytes of the body, and six before it is encrypted."""
    values = {"text": "я" * (MAX_BODY_BYTES // 2)}
    call = call_robot(robot).call
    long_call = dataclasses.replace(call, fields={**call.fields, "properties": values})
    for column, stored in (
        (call_table.c.payload, long_call.to_payload()),
        (call_table.c.answer, StoredAnswer(values).encrypted()),
    ):
        assert len(stored.encode()) <= LONGEST_TEXT_BYTES[column.type.compile(dialect=DIALECT)]


def test_everything_that_is_said_can_be_said(statements, robot, call_robot, tmp_path):
    dispatcher, sender = Dispatcher(), Sender()
    answered, by_hand = call_robot(robot), call_robot(robot)
    call_robot(robot, limit="many")
    call_robot(robot, dag_id="unknown")
    dispatcher.turn()
    answered.note("delivered", score=5.0)
    dispatcher.watcher.watch()
    sender.send_due("bitrix24_default")
    answer_by_hand(by_hand.call.id, {"score": ["5"]}, user="ann")
    wanted = CallFilter(
        since=by_hand.call.received_at,
        until=by_hand.call.received_at,
        states=STATES,
        dag_ids=["d"],
        codes=["c"],
        conn_ids=["c"],
        process="p",
        document="LEAD_77",
    )
    list(list_calls(wanted))
    list(list_calls(CallFilter()))
    retry_now(wanted, ["a", "b"])
    intake = Intake(Spool(tmp_path))
    for _ in range(2):
        intake.refuse("c", "forbidden", "wrong token")
        intake.note_refusals()
    list_refusals(by_hand.call.received_at)
    purge(0)
    dispatcher.stop()

    said = "\n".join(map(compiled, statements))
    for words in (
        "INSERT INTO bitrix24_call",
        "UPDATE bitrix24_call SET",
        "DELETE FROM bitrix24_call WHERE",
        "FOR UPDATE SKIP LOCKED",
        "LEFT OUTER JOIN dag_run",
        "UPDATE bitrix24_refusal SET number=(bitrix24_refusal.number + %s)",
        "INSERT INTO bitrix24_refusal",
        "LIMIT %s",
    ):
        assert words in said
