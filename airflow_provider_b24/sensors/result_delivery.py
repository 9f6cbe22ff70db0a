"""What is delivered for a waiting task, where it lies, and what the waiting task makes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from airflow_provider_b24._airflow.xcoms import Place, aread_xcom, read_xcom

RESULT_KEY = "bitrix24_result"
"""XCom key of the delivery, under the task instance that handed the result URL out."""
HEARTBEAT_KEY = "bitrix24_heartbeat"
"""XCom key of the last heartbeat (Unix time in seconds), beside it."""

MAX_MESSAGE_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the external worker delivered: a result or a failure report.

    Both lie under one XCom key, so that the first one keeps the other one out. The XCom holds JSON *text*: what
    the worker sent comes out again as it was, whatever Airflow's serializers or a database's JSON type
    would make of it.

    :param result: the delivered object, ``None`` for a failure report.
    :param message: why there is no result.
    """

    result: dict[str, Any] | None = None
    message: str = ""

    def to_xcom(self) -> str:
        """Write the delivery as it is stored."""
        if self.result is None:
            return json.dumps({"status": "failed", "message": self.message[:MAX_MESSAGE_LENGTH]})
        return json.dumps({"status": "success", "result": self.result}, allow_nan=False)

    @classmethod
    def from_xcom(cls, value: Any) -> Delivery | None:
        """Read what :meth:`to_xcom` wrote; ``None`` means that nothing has been delivered.

        Anything else under the key is a failure that says so: it will not turn into a result by waiting.
        """
        if value is None:
            return None
        try:
            envelope = json.loads(value)
            if envelope["status"] == "failed":
                return cls(message=f"The external worker reported failure: {envelope['message']}")
            if envelope["status"] == "success" and isinstance(envelope["result"], dict):
                return cls(result=envelope["result"])
        except (KeyError, TypeError, ValueError):
            pass
        return cls(message=f"The XCom {RESULT_KEY!r} of the source task holds no delivered result.")


class Outcome(Enum):
    """What a look at the expected result shows."""

    WAIT = "wait"
    DELIVERED = "delivered"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do after a look.

    :param outcome: what was seen.
    :param result: the delivered object, if there is one.
    :param message: why the wait ends without one, for a person.
    :param look_again_by: Unix time in seconds at which waiting may end by itself; ``None`` for never.
    """

    outcome: Outcome
    result: dict[str, Any] | None = None
    message: str = ""
    look_again_by: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedResult:
    """A result that is waited for: where it will lie, and how long to wait.

    All instants are Unix times in seconds: they mean the same in every worker and triggerer.

    :param source_task_id: the task that handed the result URL out.
    :param source_map_index: its map index, -1 if it is not mapped.
    :param started_at: when waiting began.
    :param timeout_at: when the sensor's own timeout ends the wait.
    :param patience_ends_at: when the process in Bitrix24 stops waiting; ``None`` for never.
    :param heartbeat_timeout: seconds without a sign of life after which the worker counts as lost.
    """

    dag_id: str
    run_id: str
    source_task_id: str
    source_map_index: int
    started_at: float
    timeout_at: float
    patience_ends_at: float | None = None
    heartbeat_timeout: float | None = None

    @property
    def ends_at(self) -> float:
        """When the wait ends at the latest."""
        return min(
            self.timeout_at, self.timeout_at if self.patience_ends_at is None else self.patience_ends_at
        )

    @property
    def source(self) -> Place:
        """The source task instance, which the delivery lies under."""
        return {
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "task_id": self.source_task_id,
            "map_index": self.source_map_index,
        }

    def decide(self, delivery: Delivery | None, heartbeat: float | None, now: float) -> Decision:
        """Judge what was seen. Every mode of the sensor asks here, so that they cannot differ.

        A delivery counts even when it came in the last moment: it is better than a timeout.
        """
        if delivery is not None:
            if delivery.result is None:
                return Decision(Outcome.FAILED, message=delivery.message)
            return Decision(Outcome.DELIVERED, result=delivery.result)
        if now >= self.ends_at:
            return Decision(Outcome.TIMED_OUT, message=self._timeout_message(now))
        if self.heartbeat_timeout is None:
            return Decision(Outcome.WAIT, look_again_by=self.ends_at)
        silent_at = max(self.started_at, heartbeat or 0.0) + self.heartbeat_timeout
        if now >= silent_at:
            return Decision(
                Outcome.SILENT,
                message=f"The external worker gave no sign of life for {self.heartbeat_timeout:.0f} seconds"
                f"{'' if heartbeat else ': not a single heartbeat has arrived'}.",
            )
        return Decision(Outcome.WAIT, look_again_by=min(self.ends_at, silent_at))

    def _timeout_message(self, now: float) -> str:
        waited = f"No result was delivered for task {self.source_task_id!r} within {now - self.started_at:.0f} seconds"
        if self.ends_at < self.timeout_at:
            return (
                f"{waited}; the process in Bitrix24 does not wait any longer (ts + timeout_duration is over)."
            )
        return f"{waited}; the sensor's timeout is over."

    def look(self, now: float) -> Decision:
        """Read what has been delivered so far, from a task."""
        delivery = Delivery.from_xcom(read_xcom(RESULT_KEY, self.source))
        heartbeat = None
        if delivery is None and self.heartbeat_timeout is not None:
            heartbeat = _instant(read_xcom(HEARTBEAT_KEY, self.source))
        return self.decide(delivery, heartbeat, now)

    async def alook(self, now: float) -> Decision:
        """Read what has been delivered so far, from a trigger."""
        delivery = Delivery.from_xcom(await aread_xcom(RESULT_KEY, self.source))
        heartbeat = None
        if delivery is None and self.heartbeat_timeout is not None:
            heartbeat = _instant(await aread_xcom(HEARTBEAT_KEY, self.source))
        return self.decide(delivery, heartbeat, now)


def _instant(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
