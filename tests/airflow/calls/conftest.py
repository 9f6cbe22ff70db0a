"""Calls of processes of a sandbox portal, on record in a real metadata database: on SQLite and on PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_b24._airflow.database import reading, writing
from airflow_provider_b24.calls.answering import Sender
from airflow_provider_b24.calls.changes import StoredAnswer
from airflow_provider_b24.calls.intake import put_on_record
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.calls.starting import Starter
from airflow_provider_b24.calls.table import call_table
from airflow_provider_b24.calls.watching import Watcher
from airflow_provider_b24.operators._answer_note import NOTE_KEY, AnswerNote
from airflow_provider_b24.robots.definition import definition_of
from airflow_provider_b24.sandbox import CallRobot, Process, SandboxPortal
from airflow_provider_b24.testing.sandbox_connection import webhook_connection

CONN_ID = "bitrix24_default"
NOBODY = "http://127.0.0.1:9/"
"""The discard port: calls are put on record by the tests, not by HTTP."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run everything that needs a database on each kind that there is, if the module does not name its own."""
    if "metadata_database" in metafunc.fixturenames:
        kinds = getattr(metafunc.module, "DATABASES", ("sqlite", "postgresql"))
        metafunc.parametrize("metadata_database", kinds, indirect=True, scope="module")


@dataclass
class Called:
    """A process that waits, and its call."""

    portal: SandboxPortal = field(repr=False)
    process: Process
    call: NewCall

    @property
    def row(self) -> Any:
        """What the table says."""
        with reading() as session:
            return session.execute(sa.select(call_table).where(call_table.c.id == self.call.id)).one()

    @property
    def state(self) -> str:
        return str(self.row.state)

    @property
    def answered_with(self) -> Mapping[str, Any]:
        """What the table says that the process was answered with."""
        return StoredAnswer.read(self.row.answer).values

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The values of all answers that the portal has taken."""
        token = self.call.fields["event_token"]
        return [dict(one.values) for one in self.portal.answers if one.token == token]

    @property
    def log(self) -> str:
        """The log of the process."""
        return "\n".join(entry.message for entry in self.process.log)

    @property
    def run(self) -> Any:
        """The DAG run, ``None`` if there is none."""
        from airflow.models.dagrun import DagRun

        with reading() as session:
            return session.scalar(sa.select(DagRun).where(DagRun.run_id == self.call.run_id))

    @property
    def mark(self) -> Mapping[str, Any]:
        """What the run is told about the answer."""
        mark: Mapping[str, Any] = self.run.conf["bitrix24_answer"]
        return mark

    def change(self, **columns: Any) -> None:
        """Change the row as time, or a process that died, would have."""
        with writing() as session:
            session.execute(sa.update(call_table).where(call_table.c.id == self.call.id).values(**columns))

    def set_run(self, state: str, **task: Any) -> None:
        """Let the run and its task ``reply`` be in a state: ``task_state``, ``tries``."""
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance

        with writing() as session:
            session.execute(sa.update(DagRun).where(DagRun.run_id == self.call.run_id).values(_state=state))
            session.execute(
                sa.update(TaskInstance)
                .where(TaskInstance.run_id == self.call.run_id, TaskInstance.task_id == "reply")
                .values(state=task.get("task_state"), try_number=task.get("tries", 0))
            )

    def fail_task(self, task_id: str) -> None:
        """Let a task be failed."""
        from airflow.models.taskinstance import TaskInstance

        with writing() as session:
            session.execute(
                sa.update(TaskInstance)
                .where(TaskInstance.run_id == self.call.run_id, TaskInstance.task_id == task_id)
                .values(state="failed")
            )

    def note(self, outcome: Any, *, ago: float = 60.0, **values: Any) -> dt.datetime:
        """Let ``reply`` have noted something about its answer.

        :param ago: how many seconds ago it began to send.
        :return: when it began to send.
        """
        from airflow.models.xcom import XComModel

        at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago)
        with writing() as session:
            XComModel.set(
                NOTE_KEY,
                AnswerNote(outcome, at, values or None, "token used").to_xcom(),
                dag_id=self.call.dag_id,
                task_id="reply",
                run_id=self.call.run_id,
                session=session,
            )
        return at

    def answer_as_reply_does(self, **values: Any) -> None:
        """Let the portal have taken an answer of ``reply``."""
        self.portal.engine.answer(self.call.fields["event_token"], values, "")

    def delete_run(self) -> None:
        """Delete the run, as a person can."""
        from airflow.models.dagrun import DagRun

        with writing() as session:
            session.delete(session.scalar(sa.select(DagRun).where(DagRun.run_id == self.call.run_id)))


@pytest.fixture
def connection(airflow_session: Any, portal_connection: Any, bitrix: SandboxPortal) -> Callable[..., None]:
    """Make the connection to the portal; a second time, change it."""
    from airflow.models.connection import Connection

    def connect(conn_id: str = CONN_ID, **changes: Any) -> None:
        airflow_session.rollback()
        airflow_session.execute(sa.delete(Connection).where(Connection.conn_id == conn_id))
        airflow_session.add(Connection(conn_id=conn_id, **webhook_connection(bitrix) | changes))
        airflow_session.commit()

    return connect


@pytest.fixture
def call_robot(metadata_database: Any, bitrix: SandboxPortal, make_robot: Any) -> Callable[..., Called]:
    """Let a process call a robot, and put the call on record.

    :param dag: the robot; it need not be published.
    :param sent: how many seconds ago.
    :param then: steps of the process after the robot.
    """
    plain = make_robot()

    def call(
        dag: Any = None,
        *,
        dag_id: str | None = None,
        conn_id: str = CONN_ID,
        timeout: int = 0,
        sent: float = 0.0,
        waits: str = "Y",
        on_record: bool = True,
        then: Sequence[Any] = (),
        **properties: Any,
    ) -> Called:
        definition = definition_of(dag or plain)
        assert definition is not None
        registration = definition.to_registration(NOBODY)
        if waits == "N":
            registration["USE_SUBSCRIPTION"] = "N"
        client_id = bitrix.application.client_id
        if definition.code in {one.code for one in bitrix.robots}:
            bitrix.robot_registry.delete("robot", client_id, registration)
        bitrix.robot_registry.add("robot", client_id, registration)
        step = CallRobot(definition.code, {"model": "deep"} | properties, timeout_duration=timeout, name="A1")
        process = bitrix.start_process([step, *then])
        fields = next(one for one in bitrix.calls if one.fields["workflow_id"] == process.id).fields
        at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=sent)
        if sent:
            fields = {**fields, "ts": str(int(at.timestamp()))}
        new = NewCall.from_form(conn_id, dag_id or (dag or plain).dag_id, fields, at)
        if on_record:
            put_on_record([new])
        return Called(bitrix, process, new)

    return call


class Work:
    """What the dispatcher does, one round at a time."""

    def __init__(self) -> None:
        self.starter = Starter()

    def start(self) -> int:
        return self.starter.start_some()

    def watch(self) -> int:
        # A new one looks at everything at once; the dispatcher's looks at what others wait for now and then.
        return Watcher().watch()

    def send(self, sender: Sender | None = None) -> None:
        sender = sender or Sender()
        for conn_id in sender.connections_due():
            sender.send_due(conn_id)

    def turn(self) -> None:
        self.start()
        self.watch()
        self.send()


@pytest.fixture
def work(metadata_database: Any) -> Work:
    """The dispatcher's work."""
    return Work()


@pytest.fixture
def robot(publish_dag: Any, make_robot: Any, connection: Callable[..., None]) -> Any:
    """Publish a robot with ``on_failure`` values, and make its connection."""
    connection()
    return publish_dag(make_robot(on_failure={"score": -1.0}))


@pytest.fixture
def called(robot: Any, call_robot: Callable[..., Called], work: Work) -> Called:
    """A call whose run is under way."""
    one = call_robot(robot)
    work.start()
    assert one.state == "running"
    one.set_run("running", task_state="running", tries=1)
    return one
