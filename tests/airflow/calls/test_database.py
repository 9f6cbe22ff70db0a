"""The provider's tables: who makes, upgrades and drops them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.utils.db import initdb, resetdb
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import OperationalError

from airflow_provider_b24._airflow.database import engine, reading, writing
from airflow_provider_b24.calls import database
from airflow_provider_b24.calls.database import CallsDBManager, is_current, make_tables
from airflow_provider_b24.calls.table import VERSION_TABLE, metadata

OURS = {*metadata.tables, VERSION_TABLE}
HEAD = "0001"
MAKING = "from airflow_provider_b24.calls.database import make_tables; make_tables()"


@pytest.fixture(autouse=True)
def without_our_tables(metadata_database: Any) -> Iterator[None]:
    """Begin with Airflow's tables alone, as after an upgrade from a version without them; leave all tables behind."""
    drop(*OURS)
    yield
    drop(*OURS)
    make_tables()


def drop(*names: str) -> None:
    with engine().begin() as connection:
        for name in names:
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {name}"))


def tables() -> set[str]:
    return OURS.intersection(sa.inspect(engine()).get_table_names())


def versions() -> list[str]:
    with engine().connect() as connection:
        return list(connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars())


def are_current() -> bool:
    with reading() as session:
        return is_current(session)


def differences() -> list[Any]:
    """Compare the tables in the database with what the code declares."""
    with engine().connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "compare_type": True,
                "include_name": lambda name, kind, _parents: kind != "table" or name in metadata.tables,
            },
        )
        return list(compare_metadata(context, metadata))


def test_airflow_makes_them_with_its_own_tables():
    """`airflow db migrate` of a fresh database: Airflow 3.2 and later find the manager by the provider."""
    initdb()
    assert (tables(), versions(), are_current()) == (OURS, [HEAD], True)


def test_an_api_server_makes_them_in_a_database_that_is_in_use():
    assert not are_current()
    make_tables()
    assert (tables(), versions(), are_current()) == (OURS, [HEAD], True)


def test_what_is_there_is_left_alone():
    make_tables()
    with writing() as session:
        session.execute(
            sa.text("INSERT INTO bitrix24_refusal VALUES ('c', 'e', 1, '2026-05-04', '2026-05-04', '')")
        )
    make_tables()
    with reading() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM bitrix24_refusal")) == 1


def test_tables_without_a_version_get_one():
    """Somebody has made them with `create_all`."""
    metadata.create_all(engine())
    assert not are_current()
    make_tables()
    assert (versions(), are_current(), differences()) == ([HEAD], True, [])


def test_many_threads_at_once_make_them_once():
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: make_tables(), range(6)))
    assert (versions(), are_current()) == ([HEAD], True)


def test_many_processes_at_once_make_them_once():
    processes = [
        subprocess.Popen([sys.executable, "-c", MAKING], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    outcomes = [(process.communicate()[1], process.returncode) for process in processes]
    assert [code for _, code in outcomes] == [0, 0, 0], outcomes
    assert (versions(), are_current()) == ([HEAD], True)


@pytest.mark.parametrize("by_migrations", [False, True])
def test_the_migrations_make_what_the_code_declares(by_migrations):
    with reading() as session:
        manager = CallsDBManager(session)
        if by_migrations:
            manager.upgradedb(to_revision="head")
        else:
            manager.create_db_from_orm()
    assert (differences(), are_current()) == ([], True)


def test_they_can_be_taken_back_and_made_again():
    make_tables()
    with reading() as session:
        CallsDBManager(session).downgrade("base")
    assert tables() == {VERSION_TABLE}
    assert not are_current()
    make_tables()
    assert (tables(), are_current()) == (OURS, True)


def test_airflow_drops_and_makes_them_with_a_reset():
    make_tables()
    with writing() as session:
        session.execute(
            sa.text("INSERT INTO bitrix24_refusal VALUES ('c', 'e', 1, '2026-05-04', '2026-05-04', '')")
        )
    resetdb(skip_init=True)
    assert tables() == set()
    initdb()
    assert (tables(), versions()) == (OURS, [HEAD])
    with reading() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM bitrix24_refusal")) == 0


def test_airflow_is_told_which_tables_must_be_there():
    assert CallsDBManager.get_required_table_names() == OURS


def test_who_may_not_make_them_is_told_what_to_do(monkeypatch, caplog):
    def denied(*_args: Any) -> None:
        raise OperationalError("CREATE TABLE secret", {}, PermissionError())

    monkeypatch.setattr(CallsDBManager, "upgradedb", denied)
    monkeypatch.setattr(database, "_PAUSE", 0.0)
    with pytest.raises(OperationalError):
        make_tables(tries=3)
    assert "Run `airflow db migrate`" in caplog.text
    assert "secret" not in caplog.text
