"""The deferrable wait for an external result: woken by the receiver, polling only as a safety net."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_b24.sensors.result_delivery import Decision, ExpectedResult, Outcome
from airflow_provider_b24.triggers._settling import SETTLING_SECONDS

DEFAULT_POLL_INTERVAL = 60.0
# Later than the receiver begins to wake the task, by more than clocks differ: a result that came while the task was
# being deferred, when the receiver saw nobody wait, is seen by this look.
FIRST_LOOK_SECONDS = SETTLING_SECONDS + 2.0
_FIRST_PAUSE_AFTER_ERROR = 1.0


class ExternalResultTrigger(BaseTrigger):
    """Fires when the expected result has been delivered, or when waiting is over.

    The receiver resumes the waiting task itself as soon as it has stored a delivery, so looking rarely costs nothing
    but a little patience where that did not work. After a result that comes in the first seconds, the receiver waits
    until the task may be resumed: see :mod:`~airflow_provider_b24.triggers._settling`. The event carries no result:
    the resumed task reads it.

    :param expected: the fields of :class:`~airflow_provider_b24.sensors.result_delivery.ExpectedResult`.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, *, poll_interval: float = DEFAULT_POLL_INTERVAL, **expected: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.expected = ExpectedResult(**expected)
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Write down everything that another triggerer needs to go on waiting."""
        return (
            "airflow_provider_b24.triggers.external_result.ExternalResultTrigger",
            {**asdict(self.expected), "poll_interval": self.poll_interval},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, and look again, until there is something to tell."""
        pause_after_error = _FIRST_PAUSE_AFTER_ERROR
        await asyncio.sleep(max(min(FIRST_LOOK_SECONDS, self.expected.ends_at - time.time()), 0.0))
        while True:
            now = time.time()
            try:
                decision = await self.expected.alook(now)
            except Exception as error:
                # The API server may be away for a while. The wait still ends in time: the task, resumed, says how.
                decision = self.expected.decide(None, now, now)
                self.log.warning(
                    "Cannot see whether the external result has arrived, trying again: %s: %s",
                    type(error).__name__,
                    error,
                )
                pause, pause_after_error = pause_after_error, min(pause_after_error * 2, self.poll_interval)
            else:
                pause, pause_after_error = self.poll_interval, _FIRST_PAUSE_AFTER_ERROR
            if decision.outcome is not Outcome.WAIT:
                yield TriggerEvent(event_payload(decision))
                return
            if decision.look_again_by is not None:
                pause = min(pause, decision.look_again_by - now)
            await asyncio.sleep(pause)


def event_payload(decision: Decision) -> dict[str, Any]:
    """Say in an event what was seen, without the result itself."""
    return {"outcome": decision.outcome.value}
