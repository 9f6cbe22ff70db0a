"""The receiver on PostgreSQL: what is committed, what meets in the same moment, and a database that goes away.

PostgreSQL is expected on this machine or where libpq's own variables (``PGHOST``, ``PGPORT``, ``PGUSER``,
``PGPASSWORD``) say. The tests make a database of their own there.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import timezone
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator
from airflow.utils.state import TaskInstanceState
from sqlalchemy import event, select, text
from starlette.testclient import TestClient

from airflow_provider_b24.calls import intake
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.receiver import create_app
from airflow_provider_b24.sensors.external_result import ExternalResultSensor
from airflow_provider_b24.sensors.result_delivery import RESULT_KEY, Delivery, ExpectedResult
from airflow_provider_b24.sensors.result_reference import ResultReference
from airflow_provider_b24.triggers.external_result import ExternalResultTrigger

ROUTE = "/bitrix24_default/robots/score_lead"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "metadata_database" in metafunc.fixturenames:
        metafunc.parametrize("metadata_database", ["postgresql"], indirect=True, scope="module")


@pytest.fixture
def receivers(
    portal_connection: Any, call_fields: dict[str, str], tmp_path: Path
) -> Iterator[list[TestClient]]:
    """Several receivers with one spool, as several API servers have it, that know their portal."""
    portal_connection()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(TestClient(create_app(spool_folder=tmp_path / "spool", database_seconds=3.0)))
            for _ in range(3)
        ]
        for one in clients:
            stranger = call_fields | {"auth[application_token]": "wrong"}
            assert one.post(ROUTE, data=stranger).status_code == 403
        yield clients


def depth(receiver: TestClient) -> int:
    return int(receiver.app.state.intake.spool.depth())


def settled(receiver: TestClient, on_record: Callable[[], list[Any]], count: int) -> Counter[str]:
    """Wait until all calls are on record, and count their event tokens."""
    deadline = time.monotonic() + 30
    while (depth(receiver) or len(on_record()) < count) and time.monotonic() < deadline:
        receiver.app.state.intake.spool.drain(intake.put_on_record)
    return Counter(NewCall.from_payload(row.payload).fields["event_token"] for row in on_record())


class TestRobotCalls:
    def test_a_call_is_on_record(self, receivers, call_fields, on_record):
        fields = call_fields | {"properties[model]": "tief \U0001f600 \u0416"}
        responses = [receivers[0].post(ROUTE, data=fields).status_code for _ in range(3)]
        [row] = on_record()
        assert responses == [202, 200, 200]
        assert NewCall.from_payload(row.payload).fields["properties"]["model"] == "tief \U0001f600 \u0416"

    def test_the_same_call_at_several_receivers_at_once_is_one_row(self, receivers, call_fields, on_record):
        with ThreadPoolExecutor(12) as pool:
            statuses = list(
                pool.map(lambda n: receivers[n % 3].post(ROUTE, data=call_fields).status_code, range(24))
            )
        assert Counter(statuses) == {200: 23, 202: 1}
        assert len(on_record()) == 1

    def test_two_that_both_find_nothing_make_one_row(self, receivers, call_fields, on_record, monkeypatch):
        both, real, met = threading.Barrier(2, timeout=30), NewCall.to_payload, threading.local()

        def to_payload(call: NewCall) -> str:
            if not getattr(met, "once", False):
                met.once = True
                both.wait()
            return real(call)

        monkeypatch.setattr(NewCall, "to_payload", to_payload)
        with ThreadPoolExecutor(2) as pool:
            statuses = list(
                pool.map(lambda one: one.post(ROUTE, data=call_fields).status_code, receivers[:2])
            )
        assert sorted(statuses) == [200, 202]
        assert len(on_record()) == 1

    def test_different_calls_at_once_are_a_row_each(self, receivers, call_fields, on_record):
        def post(number: int) -> int:
            fields = call_fields | {"event_token": f"t{number}"}
            return int(receivers[number % 3].post(ROUTE, data=fields).status_code)

        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(post, range(60))) == [202] * 60
        assert len({row.id for row in on_record()}) == 60


class TestDatabaseAway:
    def test_calls_are_kept_and_on_record_when_it_is_back(
        self, receivers, call_fields, on_record, database_away
    ):
        first, second, third = receivers
        with database_away():
            responses = [
                one.post(ROUTE, data=call_fields | {"event_token": f"t{number}"})
                for number, one in enumerate([first, second] * 5)
            ]
        assert {(response.status_code, response.json()["spooled"]) for response in responses} == {(202, True)}
        assert depth(third) == 10
        assert settled(third, on_record, 10) == Counter(f"t{number}" for number in range(10))

    def test_calls_in_the_middle_of_it_are_all_on_record_once(
        self, receivers, metadata_database, call_fields, on_record
    ):
        def post(number: int) -> int:
            fields = call_fields | {"event_token": f"t{number}"}
            return int(receivers[number % 3].post(ROUTE, data=fields).status_code)

        with ThreadPoolExecutor(6) as pool:
            statuses = []
            for number in range(60):
                statuses.append(pool.submit(post, number))
                if number % 20 == 10:
                    statuses[-6].result()
                    metadata_database.end_connections()
            assert {status.result() for status in statuses} == {202}
        assert settled(receivers[0], on_record, 60) == Counter(f"t{number}" for number in range(60))

    @pytest.mark.parametrize("committed", [False, True])
    def test_a_call_whose_commit_is_not_answered_is_on_record_once(
        self, receivers, metadata_database, call_fields, on_record, committed
    ):
        from airflow import settings

        broken = []

        def break_off(connection: Any) -> None:
            own = connection.connection.dbapi_connection
            cursor = own.cursor()
            cursor.execute("SELECT count(*) FROM bitrix24_call")
            if cursor.fetchone() == (1,) and not broken:
                broken.append(committed)
                if committed:
                    own.commit()
                    cursor.execute("SELECT 1")
                metadata_database.end_connections()

        event.listen(settings.engine, "commit", break_off)
        try:
            response = receivers[0].post(ROUTE, data=call_fields)
        finally:
            event.remove(settings.engine, "commit", break_off)
        assert broken == [committed]
        assert (response.status_code, response.json()["spooled"]) == (202, True)
        assert len(on_record()) == int(committed)
        assert settled(receivers[0], on_record, 1) == Counter([call_fields["event_token"]])

    def test_a_database_that_takes_nothing_in_loses_no_call(
        self, receivers, metadata_database, call_fields, on_record
    ):
        with metadata_database.read_only():
            assert receivers[0].post(ROUTE, data=call_fields).json()["spooled"]
        assert (on_record(), depth(receivers[0])) == ([], 1)
        assert settled(receivers[0], on_record, 1) == Counter([call_fields["event_token"]])

    def test_a_table_that_is_locked_loses_no_call(self, receivers, airflow_session, call_fields, on_record):
        airflow_session.execute(text("LOCK TABLE bitrix24_call IN ACCESS EXCLUSIVE MODE"))

        def post(number: int) -> Any:
            return receivers[0].post(ROUTE, data=call_fields | {"event_token": f"t{number}"}).json()

        with ThreadPoolExecutor(20) as pool:
            responses = list(pool.map(post, range(20)))
        airflow_session.rollback()
        assert all(response["spooled"] for response in responses)
        assert settled(receivers[0], on_record, 20) == Counter(f"t{number}" for number in range(20))


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
        run = start_run("waits")
        run.get_task_instance("hand_out", session=airflow_session).state = TaskInstanceState.SUCCESS
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
