"""Waiting for an external result: the same in every mode of the sensor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import DAG, BaseOperator, task
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import XComResult

from airflow_provider_b24.sensors.external_result import ExternalResultSensor
from airflow_provider_b24.sensors.result_delivery import HEARTBEAT_KEY, RESULT_KEY, Delivery

MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}


class World:
    """Airflow around the sensor: a clock that moves when somebody waits, and the XComs of one DAG run."""

    def __init__(self) -> None:
        self._real_time = time.time
        self.waited = 0.0
        self.started = self.now()
        self.xcoms: dict[tuple[str, int, str], Any] = {}
        self.plans: list[tuple[float, Callable[[], None]]] = []
        self.looks = 0
        self.failing_looks = 0

    def now(self) -> float:
        return self._real_time() + self.waited

    @property
    def passed(self) -> float:
        return self.now() - self.started

    def wait(self, seconds: float) -> None:
        assert seconds >= 0
        self.waited += seconds

    def after(self, seconds: float, plan: Callable[[], None]) -> None:
        self.plans.append((self.started + seconds, plan))

    def deliver(self, delivery: Delivery, *, task_id: str = "hand_out", map_index: int = -1) -> None:
        self.xcoms[task_id, map_index, RESULT_KEY] = delivery.to_xcom()

    def beat(self) -> None:
        self.xcoms["hand_out", -1, HEARTBEAT_KEY] = self.now()

    def send(self, msg: Any) -> XComResult:
        due = [plan for plan in self.plans if plan[0] <= self.now()]
        self.plans = [plan for plan in self.plans if plan not in due]
        for _, act in due:
            act()
        self.looks += 1
        if self.failing_looks:
            self.failing_looks -= 1
            raise ConnectionError("the API server is away")
        assert (msg.dag_id, msg.run_id) == ("waits", "run_1")
        return XComResult(key=msg.key, value=self.xcoms.get((msg.task_id, msg.map_index, msg.key)))

    async def asend(self, msg: Any) -> XComResult:
        return self.send(msg)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    async def wait(seconds: float) -> None:
        world.wait(seconds)

    monkeypatch.setattr(time, "time", world.now)
    monkeypatch.setattr(time, "sleep", world.wait)
    monkeypatch.setattr(asyncio, "sleep", wait)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", world, raising=False)
    return world


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    return MODES[request.param]


def make_sensor(**kwargs: Any) -> ExternalResultSensor:
    with DAG("waits", schedule=None):
        BaseOperator(task_id="hand_out")

        @task
        def mapped_hand_out(number: int) -> None: ...

        mapped_hand_out.expand(number=[1, 2])
        return ExternalResultSensor(
            task_id="wait", **{"source_task_id": "hand_out", "poke_interval": 10, "timeout": 3600} | kwargs
        )


def run(
    sensor: ExternalResultSensor, world: World, *, conf: dict[str, Any] | None = None, map_index: int = -1
) -> Any:
    """Do with the sensor what worker, scheduler and triggerer do, until the task ends."""
    started = datetime.fromtimestamp(world.started, UTC)
    context: dict[str, Any] = {
        "dag": sensor.dag,
        "dag_run": SimpleNamespace(conf=conf),
        "ti": SimpleNamespace(
            dag_id="waits",
            run_id="run_1",
            map_index=map_index,
            start_date=started,
            get_first_reschedule_date=lambda _context: started,
        ),
    }

    def attempt() -> Any:
        return sensor.execute(context)

    while True:
        try:
            return attempt()
        except AirflowRescheduleException as reschedule:
            world.wait((reschedule.reschedule_date - datetime.now(UTC)).total_seconds())
            # Airflow gives a rescheduled task a new start date.
            context["ti"].start_date = datetime.fromtimestamp(world.now(), UTC)
        except TaskDeferred as deferral:
            event = fire(*deferral.trigger.serialize())
            assert world.passed < 24 * 3600, "the wait does not end"
            # So it does with one that is resumed, before 3.2.
            context["ti"].start_date = datetime.fromtimestamp(world.now(), UTC)
            next_kwargs = (deferral.kwargs or {}) | {"event": event}
            method = deferral.method_name

            def attempt(method: str = method, next_kwargs: Any = next_kwargs) -> Any:
                return sensor.resume_execution(method, next_kwargs, context)


def fire(classpath: str, kwargs: dict[str, Any]) -> Any:
    async def first_event() -> Any:
        async for event in resolve_name(classpath)(**kwargs).run():
            return event.payload
        return None

    return asyncio.run(first_event())


class TestResult:
    def test_one_that_came_early_is_returned_at_once(self, world, mode):
        world.deliver(Delivery(result={"score": 5}))
        assert run(make_sensor(**mode), world) == {"score": 5}
        assert world.waited == 0

    def test_one_that_comes_late_is_returned(self, world, mode):
        world.after(100, lambda: world.deliver(Delivery(result={"score": 5})))
        assert run(make_sensor(**mode), world) == {"score": 5}
        assert world.passed < 200

    def test_an_empty_one_is_one(self, world, mode):
        world.after(100, lambda: world.deliver(Delivery(result={})))
        assert run(make_sensor(**mode), world) == {}

    def test_one_that_lies_under_another_task_is_not_taken(self, world, mode):
        world.deliver(Delivery(result={}), task_id="other")
        world.deliver(Delivery(result={}), map_index=0)
        with pytest.raises(AirflowSensorTimeout):
            run(make_sensor(timeout=50, **mode), world)

    def test_a_failure_report_fails_the_task_without_retries(self, world, mode):
        world.after(100, lambda: world.deliver(Delivery(message="out of memory")))
        with pytest.raises(AirflowFailException, match="reported failure: out of memory"):
            run(make_sensor(**mode), world)
        assert world.passed < 200

    def test_an_xcom_that_is_no_delivery_fails_the_task(self, world, mode):
        world.xcoms["hand_out", -1, RESULT_KEY] = "something"
        with pytest.raises(AirflowFailException, match="holds no delivered result"):
            run(make_sensor(**mode), world)


SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number", "maximum": 10}},
    "required": ["score"],
}


class TestSchema:
    def test_a_result_that_satisfies_it_is_returned(self, world, mode):
        world.deliver(Delivery(result={"score": 5}))
        assert run(make_sensor(schema=SCHEMA, **mode), world) == {"score": 5}

    @pytest.mark.parametrize(
        ("result", "reason"), [({"score": 11}, r"\$\.score.*maximum"), ({}, "required property")]
    )
    def test_a_result_that_violates_it_fails_the_task_without_retries(self, world, mode, result, reason):
        world.deliver(Delivery(result=result))
        with pytest.raises(AirflowFailException, match=reason):
            run(make_sensor(schema=SCHEMA, **mode), world)

    def test_a_schema_that_is_none_is_said_to_be_wrong(self, world, mode):
        world.deliver(Delivery(result={}))
        with pytest.raises(AirflowFailException, match="no JSON Schema"):
            run(make_sensor(schema={"type": "oject"}, **mode), world)


class TestDeadline:
    def test_the_timeout_ends_the_wait_in_wall_clock_time(self, world, mode):
        with pytest.raises(AirflowSensorTimeout, match="the sensor's timeout is over"):
            run(make_sensor(timeout=95, **mode), world)
        assert world.passed == pytest.approx(95, abs=2)

    def test_the_patience_of_the_process_ends_the_wait(self, world, mode):
        conf = {"ts": world.started - 5, "timeout_duration": 100}
        with pytest.raises(AirflowSensorTimeout, match="does not wait any longer"):
            run(make_sensor(**mode), world, conf=conf)
        assert world.passed == pytest.approx(95, abs=2)

    def test_a_process_without_limit_leaves_the_timeout(self, world, mode):
        with pytest.raises(AirflowSensorTimeout, match="the sensor's timeout is over"):
            run(make_sensor(timeout=50, **mode), world, conf={"ts": 1000, "timeout_duration": 0})

    def test_a_result_in_the_last_moment_counts(self, world, mode):
        world.after(94.9, lambda: world.deliver(Delivery(result={"in": "time"})))
        assert run(make_sensor(timeout=95, **mode), world) == {"in": "time"}


class TestHeartbeat:
    def test_silence_fails_the_task(self, world, mode):
        with pytest.raises(AirflowFailException, match="not a single heartbeat"):
            run(make_sensor(heartbeat_timeout=timedelta(seconds=45), **mode), world)
        assert world.passed == pytest.approx(45, abs=2)

    def test_each_heartbeat_buys_time(self, world, mode):
        for instant in (30, 60, 90):
            world.after(instant, world.beat)
        with pytest.raises(AirflowFailException, match="no sign of life for 45 seconds"):
            run(make_sensor(heartbeat_timeout=45, poke_interval=5, **mode), world)
        assert 130 < world.passed < 145

    def test_it_does_not_outlast_the_deadline(self, world, mode):
        for instant in range(0, 1000, 10):
            world.after(instant, world.beat)
        with pytest.raises(AirflowSensorTimeout):
            run(make_sensor(heartbeat_timeout=45, timeout=100, **mode), world)

    def test_without_it_a_result_may_take_its_time(self, world, mode):
        world.after(3000, lambda: world.deliver(Delivery(result={"slow": True})))
        assert run(make_sensor(**mode), world) == {"slow": True}

    @pytest.mark.parametrize("heartbeat_timeout", [0, -5, timedelta(0)])
    def test_an_interval_that_is_none_is_an_error(self, heartbeat_timeout):
        with pytest.raises(ValueError, match="heartbeat_timeout"):
            make_sensor(heartbeat_timeout=heartbeat_timeout)


class TestFailingSoftly:
    @pytest.mark.parametrize("softness", [{"soft_fail": True}, {"never_fail": True}])
    @pytest.mark.parametrize("late", [False, True])
    def test_a_failure_skips_the_task(self, world, mode, softness, late):
        if late:
            world.after(100, lambda: world.deliver(Delivery(message="no")))
        else:
            world.deliver(Delivery(message="no"))
        with pytest.raises(AirflowSkipException):
            run(make_sensor(**softness, **mode), world)

    @pytest.mark.parametrize("softness", [{"soft_fail": True}, {"never_fail": True}])
    def test_a_timeout_skips_the_task(self, world, mode, softness):
        with pytest.raises(AirflowSkipException):
            run(make_sensor(timeout=50, **softness, **mode), world)


class TestSource:
    def test_a_mapped_sensor_waits_for_its_counterpart(self, world, mode):
        world.deliver(Delivery(result={"of": 1}), task_id="mapped_hand_out", map_index=1)
        assert run(make_sensor(source_task_id="mapped_hand_out", **mode), world, map_index=1) == {"of": 1}

    def test_a_mapped_sensor_may_wait_for_a_task_that_is_not_mapped(self, world, mode):
        world.deliver(Delivery(result={"of": "all"}))
        assert run(make_sensor(**mode), world, map_index=1) == {"of": "all"}

    @pytest.mark.parametrize("source_map_index", [1, "1"])
    def test_one_instance_of_a_mapped_task_can_be_named(self, world, mode, source_map_index):
        world.deliver(Delivery(result={"of": 1}), task_id="mapped_hand_out", map_index=1)
        sensor = make_sensor(source_task_id="mapped_hand_out", source_map_index=source_map_index, **mode)
        assert run(sensor, world) == {"of": 1}

    def test_a_mapped_task_without_a_named_instance_is_an_error(self, world, mode):
        with pytest.raises(AirflowFailException, match="source_map_index"):
            run(make_sensor(source_task_id="mapped_hand_out", **mode), world)

    def test_an_index_that_is_no_number_is_an_error(self, world, mode):
        with pytest.raises(AirflowFailException, match="source_map_index must be a number"):
            run(make_sensor(source_map_index="first", **mode), world)

    def test_a_task_that_does_not_exist_is_an_error_at_once(self, world, mode):
        with pytest.raises(AirflowFailException, match="names no task"):
            run(make_sensor(source_task_id="hand_uot", **mode), world)
        assert world.looks == 0


def test_the_deferred_wait_ends_even_without_a_triggerer(world):
    sensor = make_sensor(deferrable=True, timeout=100)
    started = datetime.fromtimestamp(world.started, UTC)
    context = {
        "dag": sensor.dag,
        "dag_run": SimpleNamespace(conf=None),
        "ti": SimpleNamespace(dag_id="waits", run_id="run_1", map_index=-1, start_date=started),
    }
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute(context)
    assert 100 < deferral.value.timeout.total_seconds() < 200


class TestRetries:
    def test_what_befalls_the_task_itself_is_retried(self):
        sensor = make_sensor()
        assert (sensor.retries, sensor.retry_delay) == (3, timedelta(seconds=10))

    def test_what_the_dag_author_says_counts(self):
        assert make_sensor(retries=0).retries == 0
        assert make_sensor(retry_delay=timedelta(seconds=1)).retry_delay == timedelta(seconds=1)
        with DAG("other", schedule=None, default_args={"retries": 1, "retry_delay": timedelta(seconds=2)}):
            sensor = ExternalResultSensor(task_id="wait", source_task_id="hand_out")
            other = ExternalResultSensor(task_id="wait_more", source_task_id="hand_out", retries=5)
        assert (sensor.retries, sensor.retry_delay) == (1, timedelta(seconds=2))
        assert (other.retries, other.retry_delay) == (5, timedelta(seconds=2))

    def test_what_the_configuration_says_counts(self, monkeypatch):
        monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TASK_RETRIES", "7")
        assert make_sensor().retries == 7


def test_what_the_dag_author_writes_can_be_templated():
    assert set(ExternalResultSensor.template_fields) == {"source_task_id", "source_map_index", "schema"}


def test_waiting_in_the_triggerer_is_the_default_where_airflow_says_so(monkeypatch):
    import importlib

    from airflow_provider_b24.sensors import external_result

    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    reloaded = importlib.reload(external_result)
    assert reloaded.ExternalResultSensor(task_id="wait", source_task_id="hand_out").deferrable is True
    monkeypatch.undo()
    importlib.reload(external_result)
