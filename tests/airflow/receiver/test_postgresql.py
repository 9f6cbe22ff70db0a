"""The receiver on PostgreSQL: what is committed, what meets in the same moment, and a database that goes away.

PostgreSQL is expected on this machine or where libpq's own variables (``PGHOST``, ``PGPORT``, ``PGUSER``,
``PGPASSWORD``) say. The tests make a database of their own there.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from airflow.sdk import DAG, timezone
from airflow.sdk.bases.operator import BaseOperator
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import event, select, text
from starlette.testclient import TestClient

from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.receiver import create_app, dag_runs
from airflow_provider_b24.sensors.external_result import ExternalResultSensor
from airflow_provider_b24.sensors.result_delivery import RESULT_KEY, Delivery, ExpectedResult
from airflow_provider_b24.sensors.result_reference import ResultReference
from airflow_provider_b24.triggers.external_result import ExternalResultTrigger

HOST, PORT = os.environ.get("PGHOST", "127.0.0.1"), os.environ.get("PGPORT", "5432")
USER = os.environ.get("PGUSER", "postgres")
ROUTE = "/bitrix24_default/robots/score_lead"


class OwnDatabase:
    """A database of these tests' own on the server."""

    def __init__(self) -> None:
        self.name = f"airflow_b24_{uuid.uuid4().hex}"
        self.url = f"postgresql+psycopg2://{USER}@{HOST}:{PORT}/{self.name}"

    def say(self, statement: str) -> None:
        """Do something to the database from outside of it."""
        server = psycopg2.connect(host=HOST, port=PORT, user=USER, dbname="postgres", connect_timeout=5)
        server.autocommit = True
        try:
            server.cursor().execute(statement.format(name=self.name))
        finally:
            server.close()

    def end_connections(self) -> None:
        """End them as a restart of the server does."""
        self.say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    @contextmanager
    def away(self) -> Iterator[None]:
        self.say("ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self.end_connections()
        yield
        self.say("ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let it be what a standby is until it has been promoted."""
        self.say("ALTER DATABASE {name} SET default_transaction_read_only = on")
        self.end_connections()
        yield
        self.say("ALTER DATABASE {name} RESET default_transaction_read_only")
        self.end_connections()


@pytest.fixture(scope="module")
def metadata_database(
    open_metadata_database: Callable[[str], AbstractContextManager[None]],
) -> Iterator[OwnDatabase]:
    """Point this process's Airflow at a fresh PostgreSQL database."""
    own = OwnDatabase()
    try:
        own.say("CREATE DATABASE {name}")
    except psycopg2.OperationalError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL at {HOST}:{PORT} for user {USER}: {error}")
    try:
        with open_metadata_database(own.url):
            yield own
    finally:
        own.say("DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_away(metadata_database: OwnDatabase) -> Callable[[], AbstractContextManager[None]]:
    return metadata_database.away


@pytest.fixture
def receivers(robot: Any, tmp_path: Path) -> list[TestClient]:
    """Several receivers with one spool, as several API servers have it, that know their portal."""
    apps = [create_app(spool_folder=tmp_path / "spool", database_seconds=5) for _ in range(3)]
    for app in apps:
        app.state.replay.portals.learn()
    return [TestClient(app) for app in apps]


def waiting(receiver: TestClient) -> int:
    return receiver.get("/health").json()["spool"]["waiting"]


def settle(receiver: TestClient) -> None:
    deadline = time.monotonic() + 30
    while waiting(receiver) and time.monotonic() < deadline:
        receiver.app.state.replay.turn()


class TestRobotCalls:
    def test_a_call_starts_a_run(self, receiver, robot, call_fields, runs):
        answer = receiver.post(ROUTE, data=call_fields | {"properties[model]": "tief \U0001f600 \u0416"})
        [run] = runs()
        assert (answer.status_code, answer.json()) == (202, {"run_id": run.run_id})
        assert run.state == DagRunState.QUEUED
        assert run.conf["properties"] == {"model": "tief \U0001f600 \u0416", "limit": 3}
        assert {ti.task_id for ti in run.get_task_instances()} >= {"score", "reply"}

    def test_the_same_call_again_starts_nothing(self, receiver, robot, call_fields, runs):
        assert [receiver.post(ROUTE, data=call_fields).status_code for _ in range(3)] == [202, 200, 200]
        assert len(runs()) == 1

    def test_a_value_that_no_number_of_the_database_holds_is_no_lost_call(
        self, receiver, robot, call_fields, runs
    ):
        assert receiver.post(ROUTE, data=call_fields | {"properties[limit]": "9" * 300}).status_code == 202
        [run] = runs()
        assert run.conf["properties"]["limit"] == "9" * 300

    def test_the_same_call_at_several_receivers_at_once_starts_one_run(self, receivers, call_fields, runs):
        with ThreadPoolExecutor(12) as pool:
            answers = list(
                pool.map(lambda n: receivers[n % 3].post(ROUTE, data=call_fields).status_code, range(24))
            )
        assert Counter(answers) == {200: 23, 202: 1}
        assert len(runs()) == 1

    def test_two_that_both_find_no_run_start_one(self, receivers, call_fields, runs, monkeypatch):
        both, real = threading.Barrier(2, timeout=30), dag_runs._create

        def create(*args: Any) -> None:
            both.wait()
            real(*args)

        monkeypatch.setattr(dag_runs, "_create", create)
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda one: one.post(ROUTE, data=call_fields).status_code, receivers[:2]))
        assert sorted(answers) == [200, 202]
        assert len(runs()) == 1

    def test_different_calls_at_once_start_a_run_each(self, receivers, call_fields, runs):
        with ThreadPoolExecutor(12) as pool:
            answers = list(
                pool.map(
                    lambda n: (
                        receivers[n % 3].post(ROUTE, data=call_fields | {"event_token": f"t{n}"}).status_code
                    ),
                    range(24),
                )
            )
        assert answers == [202] * 24
        assert len(runs()) == 24


class TestDatabaseAway:
    def test_calls_are_kept_and_done_in_their_order_when_it_is_back(
        self, receivers, call_fields, runs, database_away
    ):
        first, second, third = receivers
        with database_away():
            answers = [
                one.post(ROUTE, data=call_fields | {"event_token": f"t{number}"})
                for number, one in enumerate([first, second] * 5)
            ]
            third.app.state.replay.turn()
            assert waiting(third) == 10
        assert {(answer.status_code, answer.json()["spooled"]) for answer in answers} == {(202, True)}
        third.app.state.replay.turn()
        assert [run.conf["event_token"] for run in runs()] == [f"t{number}" for number in range(10)]
        assert waiting(first) == 0

    def test_calls_in_the_middle_of_it_are_all_done_once(
        self, receivers, metadata_database, call_fields, runs
    ):
        def post(number: int) -> int:
            return (
                receivers[number % 3]
                .post(ROUTE, data=call_fields | {"event_token": f"t{number}"})
                .status_code
            )

        with ThreadPoolExecutor(6) as pool:
            answers = []
            for number in range(60):
                answers.append(pool.submit(post, number))
                if number % 20 == 10:
                    answers[-6].result()
                    metadata_database.end_connections()
            assert {answer.result() for answer in answers} == {202}
        settle(receivers[0])
        assert Counter(run.conf["event_token"] for run in runs()) == Counter(f"t{n}" for n in range(60))

    @pytest.mark.parametrize("committed", [False, True])
    def test_a_call_whose_commit_is_not_answered_is_done_once(
        self, receivers, metadata_database, call_fields, runs, committed
    ):
        from airflow import settings

        broken = []

        def break_off(connection: Any) -> None:
            own = connection.connection.dbapi_connection
            if own.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_INTRANS and not broken:
                cursor = own.cursor()
                cursor.execute("SELECT count(*) FROM dag_run")
                if cursor.fetchone() == (1,):
                    broken.append(committed)
                    if committed:
                        own.commit()
                        cursor.execute("SELECT 1")
                    metadata_database.end_connections()

        event.listen(settings.engine, "commit", break_off)
        try:
            answer = receivers[0].post(ROUTE, data=call_fields)
        finally:
            event.remove(settings.engine, "commit", break_off)
        assert broken == [committed]
        assert (answer.status_code, answer.json()["spooled"]) == (202, True)
        assert len(runs()) == int(committed)
        settle(receivers[0])
        assert [run.run_id for run in runs()] == [answer.json()["run_id"]]

    def test_a_database_that_takes_nothing_in_loses_no_call(
        self, receivers, metadata_database, call_fields, runs
    ):
        with metadata_database.read_only():
            assert receivers[0].post(ROUTE, data=call_fields).json()["spooled"]
            receivers[0].app.state.replay.turn()
        assert (runs(), waiting(receivers[0])) == ([], 1)
        settle(receivers[0])
        assert len(runs()) == 1

    def test_a_table_that_is_locked_loses_no_call(self, robot, tmp_path, airflow_session, call_fields, runs):
        app = create_app(spool_folder=tmp_path / "spool", database_seconds=0.5)
        app.state.replay.portals.learn()
        with TestClient(app) as receiver:
            airflow_session.execute(text("LOCK TABLE dag_run IN ACCESS EXCLUSIVE MODE"))
            with ThreadPoolExecutor(20) as pool:
                answers = list(
                    pool.map(
                        lambda n: receiver.post(ROUTE, data=call_fields | {"event_token": f"t{n}"}).json(),
                        range(20),
                    )
                )
            airflow_session.rollback()
            assert all(answer["spooled"] for answer in answers)
            settle(receiver)
        assert Counter(run.conf["event_token"] for run in runs()) == Counter(f"t{n}" for n in range(20))


class TestResults:
    @pytest.fixture
    def signed(self, publish_dag: Any, start_run: Any, portal_connection: Any, airflow_session: Any) -> str:
        """The reference of a result that a deferred task waits for."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.trigger import Trigger

        with DAG("waits", schedule=None) as dag:
            wait = ExternalResultSensor(task_id="wait", source_task_id="hand_out")
            BaseOperator(task_id="hand_out") >> wait
        publish_dag(dag)
        portal_connection()
        start_run("waits")
        now = time.time()
        expected = ExpectedResult(
            dag_id="waits",
            run_id="run_1",
            source_task_id="hand_out",
            source_map_index=-1,
            started_at=now,
            timeout_at=now + 3600,
        )
        trigger = Trigger.from_object(ExternalResultTrigger(**asdict(expected)))
        trigger.created_date = timezone.utcnow() - timedelta(minutes=5)
        airflow_session.add(trigger)
        airflow_session.flush()
        ti = airflow_session.scalar(select(TaskInstance).where(TaskInstance.task_id == "wait"))
        ti.state, ti.trigger_id, ti.next_method = TaskInstanceState.DEFERRED, trigger.id, "execute_complete"
        airflow_session.commit()
        reference = ResultReference("bitrix24_default", "waits", "run_1", "hand_out", -1, int(now) + 3600)
        return reference.sign(PortalConnection.load("bitrix24_default").signing_key("result"))

    @staticmethod
    def delivered(session: Any) -> list[Delivery]:
        from airflow.models.xcom import XComModel

        session.rollback()
        found = session.scalars(select(XComModel.value).where(XComModel.key == RESULT_KEY)).all()
        return [Delivery.from_xcom(value) for value in found]

    def test_a_result_is_kept_and_wakes_the_task_that_waits(self, receiver, signed, airflow_session, caplog):
        from airflow.models.taskinstance import TaskInstance

        assert receiver.post(f"/results/{signed}", json={"n": 1}).status_code == 202
        assert self.delivered(airflow_session) == [Delivery(result={"n": 1})]
        state = airflow_session.scalar(select(TaskInstance.state).where(TaskInstance.task_id == "wait"))
        assert state == TaskInstanceState.SCHEDULED
        assert "could not be woken" not in caplog.text

    def test_of_many_deliveries_at_once_one_is_accepted(self, receiver, signed, airflow_session):
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda n: receiver.post(f"/results/{signed}", json={"n": n}).status_code, range(16))
            )
        assert Counter(answers) == {202: 1, 409: 15}
        [delivery] = self.delivered(airflow_session)
        assert delivery.result == {"n": answers.index(202)}

    def test_heartbeats_at_once_are_all_taken(self, receiver, signed):
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda _: receiver.post(f"/results/{signed}/heartbeat").status_code, range(16))
            )
        assert answers == [202] * 16

    def test_a_delivery_while_the_database_is_away_is_asked_for_again(
        self, receiver, signed, database_away, airflow_session
    ):
        airflow_session.close()
        with database_away():
            assert receiver.post(f"/results/{signed}", json={"n": 1}).status_code == 503
        assert receiver.post(f"/results/{signed}", json={"n": 2}).status_code == 202
        assert self.delivered(airflow_session) == [Delivery(result={"n": 2})]
