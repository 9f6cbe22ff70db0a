"""What external workers deliver: kept once, and the waiting task is woken."""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, task
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from airflow_provider_b24.receiver import results
from airflow_provider_b24.sensors.external_result import ExternalResultSensor
from airflow_provider_b24.sensors.result_delivery import (
    HEARTBEAT_KEY,
    RESULT_KEY,
    Delivery,
    ExpectedResult,
)
from airflow_provider_b24.sensors.result_reference import ResultReference
from airflow_provider_b24.testing.airflow_api import wait_until
from airflow_provider_b24.triggers._settling import SETTLING_SECONDS
from airflow_provider_b24.triggers.external_result import ExternalResultTrigger

DAG_ID = "waits_for_results"


@pytest.fixture
def waiting_run(
    publish_dag: Callable[[Any], Any],
    start_run: Callable[..., Any],
    portal_connection: Any,
    airflow_session: Any,
) -> Any:
    with DAG(DAG_ID, schedule=None) as dag:
        BaseOperator(task_id="hand_out") >> ExternalResultSensor(task_id="wait", source_task_id="hand_out")
        BaseOperator(task_id="other") >> ExternalResultSensor(
            task_id="wait_for_other", source_task_id="other"
        )
    publish_dag(dag)
    portal_connection()
    run = start_run(DAG_ID)
    for task_id in ("hand_out", "other"):
        bring(airflow_session, task_id, "running")
    return run


def instance(session: Any, task_id: str, dag_id: str = DAG_ID) -> Any:
    from airflow.models.taskinstance import TaskInstance

    session.rollback()
    session.expire_all()
    return session.scalar(
        select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.task_id == task_id)
    )


def bring(session: Any, task_id: str, state: str | None, next_method: str | None = None) -> None:
    """Bring a task instance into a state, as a scheduler and a worker have left it."""
    ti = instance(session, task_id)
    ti.state, ti.next_method = state, next_method
    session.commit()


@pytest.fixture
def reference(waiting_run: Any) -> ResultReference:
    return ResultReference("bitrix24_default", DAG_ID, "run_1", "hand_out", -1, int(time.time()) + 3600)


@pytest.fixture
def signed(reference: ResultReference) -> str:
    return sign(reference)


def sign(reference: ResultReference, conn_id: str = "bitrix24_default") -> str:
    from airflow_provider_b24.hooks.connection import PortalConnection

    return reference.sign(PortalConnection.load(conn_id).signing_key("result"))


def stored(session: Any, key: str = RESULT_KEY, task_id: str = "hand_out") -> Any:
    from airflow.models.xcom import XComModel

    session.rollback()
    return session.scalar(
        select(XComModel.value).where(
            XComModel.dag_id == DAG_ID, XComModel.task_id == task_id, XComModel.key == key
        )
    )


def defer(session: Any, task_id: str, source_task_id: str, *, ago: float = SETTLING_SECONDS + 1) -> Any:
    """Put a task instance where a worker that deferred it some seconds ago has left it."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger

    expected = ExpectedResult(
        dag_id=DAG_ID,
        run_id="run_1",
        source_task_id=source_task_id,
        source_map_index=-1,
        started_at=time.time(),
        timeout_at=time.time() + 3600,
    )
    trigger = Trigger.from_object(ExternalResultTrigger(**asdict(expected)))
    trigger.created_date = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago)
    session.add(trigger)
    session.flush()
    ti = session.scalar(
        select(TaskInstance).where(TaskInstance.dag_id == DAG_ID, TaskInstance.task_id == task_id)
    )
    ti.state, ti.trigger_id, ti.next_method = TaskInstanceState.DEFERRED, trigger.id, "execute_complete"
    session.commit()
    return ti


class TestDelivery:
    def test_a_result_is_kept_under_the_task_that_handed_the_url_out(self, receiver, signed, airflow_session):
        answer = receiver.post(f"/results/{signed}", json={"score": 5, "nested": {"é": [1.5, None, True]}})
        assert (answer.status_code, answer.json()) == (202, {})
        assert Delivery.from_xcom(stored(airflow_session)) == Delivery(
            result={"score": 5, "nested": {"é": [1.5, None, True]}}
        )

    def test_a_failure_is_kept_with_its_message(self, receiver, signed, airflow_session):
        assert receiver.post(f"/results/{signed}/fail", json={"message": "out of memory"}).status_code == 202
        delivery = Delivery.from_xcom(stored(airflow_session))
        assert delivery.result is None
        assert "out of memory" in delivery.message

    def test_a_failure_needs_no_body(self, receiver, signed, airflow_session):
        assert receiver.post(f"/results/{signed}/fail").status_code == 202
        assert Delivery.from_xcom(stored(airflow_session)).result is None

    def test_a_failure_message_must_be_text(self, receiver, signed, airflow_session):
        assert receiver.post(f"/results/{signed}/fail", json={"message": {}}).status_code == 400
        assert stored(airflow_session) is None

    @pytest.mark.parametrize("first", ["", "/fail"])
    @pytest.mark.parametrize("second", ["", "/fail", "/heartbeat"])
    def test_the_first_delivery_stands(self, receiver, signed, airflow_session, first, second):
        receiver.post(f"/results/{signed}{first}", json={"n": 1})
        before = stored(airflow_session)
        answer = receiver.post(f"/results/{signed}{second}", json={"n": 2})
        assert (answer.status_code, answer.json()["error"]) == (409, "delivered")
        assert stored(airflow_session) == before

    def test_of_many_deliveries_at_once_one_is_accepted(self, receiver, signed, airflow_session):
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(
                    lambda n: receiver.post(f"/results/{signed}{'/fail' if n % 2 else ''}", json={"n": n}),
                    range(16),
                )
            )
        statuses = [answer.status_code for answer in answers]
        assert sorted(statuses) == [202] + [409] * 15
        accepted = statuses.index(202)
        delivery = Delivery.from_xcom(stored(airflow_session))
        assert delivery.result == (None if accepted % 2 else {"n": accepted})

    def test_a_mapped_task_has_a_result_for_each_instance(
        self, receiver, airflow_session, publish_dag, start_run, portal_connection
    ):
        from airflow.models.taskinstance import TaskInstance

        with DAG("mapped_hand_out", schedule=None) as dag:

            @task
            def hand_out(number: int) -> None: ...

            hand_out.expand(number=[1, 2])
        publish_dag(dag)
        portal_connection()
        start_run("mapped_hand_out")
        airflow_session.execute(
            update(TaskInstance).where(TaskInstance.dag_id == "mapped_hand_out").values(state="running")
        )
        airflow_session.commit()
        for map_index in (0, 1):
            one = ResultReference(
                "bitrix24_default", "mapped_hand_out", "run_1", "hand_out", map_index, int(time.time()) + 9
            )
            assert receiver.post(f"/results/{sign(one)}", json={"of": map_index}).status_code == 202
            assert receiver.post(f"/results/{sign(one)}", json={"of": map_index}).status_code == 409
        missing = replace(one, map_index=2)
        assert receiver.post(f"/results/{sign(missing)}", json={}).status_code == 404


class TestTries:
    """Airflow deletes what a task has when it starts: so nothing is taken that would be deleted."""

    @pytest.mark.parametrize("route", ["", "/fail", "/heartbeat"])
    @pytest.mark.parametrize(
        "state", [None, "scheduled", "queued", "up_for_retry", "up_for_reschedule", "restarting"]
    )
    def test_between_two_tries_of_the_task_nothing_is_taken(
        self, receiver, signed, airflow_session, state, route
    ):
        bring(airflow_session, "hand_out", state)
        answer = receiver.post(f"/results/{signed}{route}", json={})
        assert (answer.status_code, answer.json()["error"]) == (503, "between_tries")
        assert stored(airflow_session) is None

    @pytest.mark.parametrize("state", ["deferred", "success", "failed", "upstream_failed", "skipped"])
    def test_a_task_that_has_begun_takes_it_to_its_end_and_later(
        self, receiver, signed, airflow_session, state
    ):
        bring(airflow_session, "hand_out", state)
        assert receiver.post(f"/results/{signed}", json={"n": 1}).status_code == 202
        assert Delivery.from_xcom(stored(airflow_session)) == Delivery(result={"n": 1})

    @pytest.mark.parametrize("state", ["scheduled", "queued"])
    def test_a_task_that_resumes_has_begun(self, receiver, signed, airflow_session, state):
        bring(airflow_session, "hand_out", state, next_method="execute_complete")
        assert receiver.post(f"/results/{signed}", json={"n": 1}).status_code == 202

    def test_a_clear_begins_anew_and_the_old_url_is_good_for_it(self, receiver, signed, airflow_session):
        from airflow.models.taskinstance import clear_task_instances
        from airflow.models.xcom import XComModel

        assert receiver.post(f"/results/{signed}", json={"n": 1}).status_code == 202
        bring(airflow_session, "hand_out", "success")
        clear_task_instances([instance(airflow_session, "hand_out")], airflow_session)
        airflow_session.commit()
        assert receiver.post(f"/results/{signed}", json={"n": 2}).status_code == 503
        # As a worker does that starts the task.
        bring(airflow_session, "hand_out", "running")
        XComModel.clear(dag_id=DAG_ID, task_id="hand_out", run_id="run_1", session=airflow_session)
        airflow_session.commit()
        assert stored(airflow_session) is None
        assert receiver.post(f"/results/{signed}", json={"n": 3}).status_code == 202
        assert Delivery.from_xcom(stored(airflow_session)) == Delivery(result={"n": 3})


class TestHeartbeat:
    def test_the_last_heartbeat_is_kept(self, receiver, signed, airflow_session):
        began = time.time()
        assert receiver.post(f"/results/{signed}/heartbeat").status_code == 202
        first = stored(airflow_session, HEARTBEAT_KEY)
        assert receiver.post(f"/results/{signed}/heartbeat", json={"progress": 50}).status_code == 202
        assert began <= first < stored(airflow_session, HEARTBEAT_KEY) <= time.time()

    def test_heartbeats_at_once_do_not_disturb_each_other(self, receiver, signed):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: receiver.post(f"/results/{signed}/heartbeat"), range(16)))
        assert {answer.status_code for answer in answers} == {202}


class TestReference:
    def test_an_expired_one_is_gone(self, receiver, reference, airflow_session):
        late = sign(replace(reference, expires_at=int(time.time()) - 1))
        for route in ("", "/fail", "/heartbeat"):
            assert receiver.post(f"/results/{late}{route}", json={}).status_code == 410
        assert stored(airflow_session) is None

    def test_a_forged_one_is_refused(self, receiver, reference, signed, airflow_session, portal_connection):
        portal_connection("other_portal", password="another-code")
        payload, signature = signed.rsplit(".", 1)
        other_payload = sign(replace(reference, task_id="other")).rsplit(".", 1)[0]
        forgeries = [
            "x",
            payload,
            f"{payload}.",
            f"{payload}.{signature[:-4]}AAAA",
            f"{other_payload}.{signature}",
            reference.sign(b"a guessed key"),
            sign(replace(reference, conn_id="other_portal")),  # names one connection, signed for another
            replace(reference, conn_id="unknown").sign(b"whatever"),
        ]
        for forgery in forgeries:
            for route in ("", "/fail", "/heartbeat"):
                answer = receiver.post(f"/results/{forgery}{route}", json={})
                assert (answer.status_code, answer.json()["error"]) == (403, "forged"), forgery
        assert stored(airflow_session) is None
        assert stored(airflow_session, task_id="other") is None

    def test_a_connection_without_credentials_signs_nothing(
        self, receiver, reference, portal_connection, caplog
    ):
        portal_connection("bare", password=None)
        bare = replace(reference, conn_id="bare").sign(b"")
        assert receiver.post(f"/results/{bare}", json={}).status_code == 403
        assert "no credentials" in caplog.text

    def test_a_deleted_run_is_gone(self, receiver, signed, waiting_run, airflow_session):
        airflow_session.delete(waiting_run)
        airflow_session.commit()
        for route in ("", "/fail", "/heartbeat"):
            answer = receiver.post(f"/results/{signed}{route}", json={})
            assert (answer.status_code, answer.json()["error"]) == (404, "gone")


class TestBadBody:
    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "not JSON"),
            (b"{", "not JSON"),
            (b"[]", "object"),
            (b'"text"', "object"),
            (b"null", "object"),
            (b'{"a": NaN}', "NaN"),
            (b'{"a": -Infinity}', "Infinity"),
            (b'{"a": 1e999}', "too large"),
            (b'{"a": 18446744073709551616}', "64 bits"),
            (b'{"a": ' + b"9" * 5000 + b"}", "too long"),
            (b'{"a": "\\u0000"}', "NUL"),
            (b'{"a": "\\ud800"}', "half a character"),
            (b'{"\\ud800": 1}', "half a character"),
            (b'{"a": "\xff"}', "UTF-8"),
            (b'{"a": [{"__classname__": "subprocess.Popen", "__version__": 1}]}', "reserved"),
            (b'{"a": {"__type": "x", "__var": 1}}', "reserved"),
            (b'{"a":' * 65 + b"1" + b"}" * 65, "deeper"),
            (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deeper"),
        ],
    )
    def test_is_refused_with_a_reason(self, receiver, signed, airflow_session, body, reason):
        answer = receiver.post(f"/results/{signed}", content=body)
        assert answer.status_code == 400
        assert reason in answer.json()["message"]
        assert stored(airflow_session) is None

    def test_one_that_is_too_long_is_refused(self, receiver, signed, airflow_session):
        assert (
            receiver.post(f"/results/{signed}", content=b'{"a":"%s"}' % (b"a" * 1024 * 1024)).status_code
            == 413
        )
        chunks = (b'{"a":"', *(b"a" * 65536 for _ in range(20)), b'"}')
        assert receiver.post(f"/results/{signed}", content=iter(chunks)).status_code == 413
        assert stored(airflow_session) is None


class TestWakingUp:
    @pytest.mark.parametrize("route", ["", "/fail"])
    def test_the_waiting_task_is_resumed_at_once(self, receiver, signed, airflow_session, route):
        from airflow.models.taskinstance import TaskInstance

        ti = defer(airflow_session, "wait", "hand_out")
        receiver.post(f"/results/{signed}{route}", json={})
        airflow_session.expire_all()
        woken = airflow_session.get(TaskInstance, ti.id)
        assert woken.state == TaskInstanceState.SCHEDULED
        assert woken.trigger_id is None
        assert woken.next_method == "execute_complete"

    def test_a_task_that_waits_for_another_result_sleeps_on(self, receiver, signed, airflow_session):
        from airflow.models.taskinstance import TaskInstance

        ti = defer(airflow_session, "wait_for_other", "other")
        receiver.post(f"/results/{signed}", json={})
        airflow_session.expire_all()
        assert airflow_session.get(TaskInstance, ti.id).state == TaskInstanceState.DEFERRED

    def test_a_task_that_was_deferred_a_moment_ago_is_resumed_a_moment_later(
        self, receiver, signed, airflow_session
    ):
        from airflow.models.taskinstance import TaskInstance

        def state():
            airflow_session.rollback()
            airflow_session.expire_all()
            return airflow_session.get(TaskInstance, ti_id).state

        ti_id = defer(airflow_session, "wait", "hand_out", ago=SETTLING_SECONDS - 3).id
        assert receiver.post(f"/results/{signed}", json={}).status_code == 202
        assert state() == TaskInstanceState.DEFERRED
        assert wait_until(lambda: state() == TaskInstanceState.SCHEDULED, 15)

    def test_a_database_that_is_busy_for_a_moment_delays_it(
        self, receiver, signed, airflow_session, monkeypatch
    ):
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.trigger import Trigger

        real, busy = Trigger.submit_event, [1]

        def submit_event(*arguments, **options):
            if busy:
                busy.pop()
                raise OperationalError("UPDATE", {}, Exception("database is locked"))
            return real(*arguments, **options)

        def state():
            airflow_session.rollback()
            airflow_session.expire_all()
            return airflow_session.get(TaskInstance, ti_id).state

        monkeypatch.setattr(results, "SETTLING_SECONDS", 0.5)
        monkeypatch.setattr(Trigger, "submit_event", submit_event)
        ti_id = defer(airflow_session, "wait", "hand_out").id
        assert receiver.post(f"/results/{signed}", json={}).status_code == 202
        assert wait_until(lambda: state() == TaskInstanceState.SCHEDULED, 15)

    def test_a_heartbeat_wakes_nobody(self, receiver, signed, airflow_session):
        from airflow.models.taskinstance import TaskInstance

        ti = defer(airflow_session, "wait", "hand_out")
        receiver.post(f"/results/{signed}/heartbeat")
        airflow_session.expire_all()
        assert airflow_session.get(TaskInstance, ti.id).state == TaskInstanceState.DEFERRED

    def test_a_result_is_accepted_even_if_nobody_can_be_woken(
        self, receiver, signed, airflow_session, monkeypatch, caplog
    ):
        from airflow.models.trigger import Trigger

        defer(airflow_session, "wait", "hand_out")
        monkeypatch.delattr(Trigger, "submit_event")
        with caplog.at_level(logging.WARNING):
            assert receiver.post(f"/results/{signed}", json={"n": 1}).status_code == 202
        assert Delivery.from_xcom(stored(airflow_session)) == Delivery(result={"n": 1})
        assert "could not be woken" in caplog.text


def test_nothing_that_was_sent_shows_in_the_log(receiver, reference, signed, caplog):
    caplog.set_level(logging.DEBUG)
    for body in (b'{"k": "the-secret-value"}', b'{"k": "the-secret-value"', b'["the-secret-value"]'):
        for one in (signed, signed + "x", sign(replace(reference, expires_at=1))):
            for route in ("", "/fail", "/heartbeat"):
                receiver.post(f"/results/{one}{route}", content=body)
    ours = [
        record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "asyncio"))
    ]
    text = "\n".join(record.getMessage() for record in ours)
    assert "the-secret-value" not in text
    assert signed not in text
    assert json.dumps("the-secret-value") not in text
