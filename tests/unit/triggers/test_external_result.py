"""The deferred wait: it survives what happens around it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import XComResult

from airflow_provider_b24.sensors.result_delivery import Delivery, ExpectedResult
from airflow_provider_b24.triggers._settling import SETTLING_SECONDS
from airflow_provider_b24.triggers.external_result import FIRST_LOOK_SECONDS, ExternalResultTrigger


class Comms:
    """What a trigger reads XComs through; each answer is a value or an error."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, int]] = []

    async def asend(self, msg: Any) -> XComResult:
        return self.send(msg)

    def send(self, msg: Any) -> XComResult:  # before Airflow 3.3
        self.asked.append((msg.key, msg.task_id, msg.map_index))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return XComResult(key=msg.key, value=answer)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make waiting take no time, and note how long it would have taken."""
    noted: list[float] = []
    real_time = time.time

    async def sleep(seconds: float) -> None:
        if seconds:  # others give way with 0
            noted.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(time, "time", lambda: real_time() + sum(noted))
    return noted


def make_trigger(timeout: float = 3600, **kwargs: Any) -> ExternalResultTrigger:
    now = time.time()
    expected = {
        "dag_id": "waits",
        "run_id": "run_1",
        "source_task_id": "hand_out",
        "source_map_index": 2,
        "started_at": now,
        "timeout_at": now + timeout,
    }
    return ExternalResultTrigger(**expected | kwargs)


async def event_of(trigger: ExternalResultTrigger) -> Any:
    events = [event.payload async for event in trigger.run()]
    assert len(events) == 1
    return events[0]


def test_another_triggerer_can_go_on_with_what_is_written_down():
    trigger = make_trigger(heartbeat_timeout=60.0, patience_ends_at=5.0, poll_interval=7.0)
    classpath, kwargs = trigger.serialize()
    assert classpath == f"{ExternalResultTrigger.__module__}.{ExternalResultTrigger.__qualname__}"
    again = ExternalResultTrigger(**kwargs)
    assert (again.expected, again.poll_interval) == (trigger.expected, 7.0)
    assert again.serialize() == trigger.serialize()


def test_the_written_form_passes_airflows_own_serializer(serde):
    kwargs = make_trigger().serialize()[1]
    assert serde.deserialize(serde.serialize(kwargs)) == kwargs


def test_the_receiver_looks_for_this_trigger():
    from airflow_provider_b24.receiver import results

    classpath, kwargs = make_trigger().serialize()
    assert classpath == results._TRIGGER
    assert {"source_task_id", "source_map_index"} <= kwargs.keys()


@pytest.mark.anyio
async def test_it_looks_soon_but_not_before_airflow_has_noticed_the_deferral(monkeypatch, pauses):
    comms = Comms(Delivery(result={"score": 5}).to_xcom())
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    assert await event_of(make_trigger()) == {"outcome": "delivered"}
    assert comms.asked == [("bitrix24_result", "hand_out", 2)]
    assert pauses == [FIRST_LOOK_SECONDS]
    assert (
        FIRST_LOOK_SECONDS > SETTLING_SECONDS
    )  # so that no result falls between the receiver and the trigger


@pytest.mark.anyio
async def test_a_deadline_does_not_wait_for_the_first_look(monkeypatch, pauses):
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)
    assert await event_of(make_trigger(timeout=3)) == {"outcome": "timed_out"}
    assert sum(pauses) == pytest.approx(3, abs=1)


@pytest.mark.anyio
async def test_it_looks_rarely(monkeypatch, pauses):
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms := Comms(), raising=False)
    assert await event_of(make_trigger(timeout=157)) == {"outcome": "timed_out"}
    assert pauses == [FIRST_LOOK_SECONDS, 60, 60, pytest.approx(30, abs=1)]
    assert len(comms.asked) == 4


@pytest.mark.anyio
async def test_the_event_does_not_carry_the_result(monkeypatch, pauses):
    secret = Delivery(message="what the worker said")
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(secret.to_xcom()), raising=False)
    assert await event_of(make_trigger()) == {"outcome": "failed"}


@pytest.mark.anyio
async def test_it_survives_an_api_server_that_is_away_for_a_while(monkeypatch, pauses):
    away = [ConnectionError("away")] * 8
    comms = Comms(*away, Delivery(result={}).to_xcom())
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    assert await event_of(make_trigger()) == {"outcome": "delivered"}
    assert pauses[1:] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.anyio
async def test_it_ends_in_time_even_if_it_can_never_look(monkeypatch, pauses):
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(*[ConnectionError()] * 99), raising=False)
    assert await event_of(make_trigger(timeout=100)) == {"outcome": "timed_out"}
    assert sum(pauses) == pytest.approx(100, abs=1)


@pytest.mark.anyio
async def test_it_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)
    waiting = asyncio.ensure_future(event_of(make_trigger()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_the_fields_are_those_of_the_expected_result():
    trigger = make_trigger()
    assert trigger.serialize()[1] == asdict(trigger.expected) | {"poll_interval": 60.0}
    assert isinstance(trigger.expected, ExpectedResult)
