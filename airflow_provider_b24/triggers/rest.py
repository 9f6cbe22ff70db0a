"""Ask a REST method from the triggerer until its answer is worth a worker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.sensors._condition import holds
from airflow_provider_b24.triggers._events import error_event, event_of
from airflow_provider_b24.triggers._settling import settled
from airflow_provider_b24.triggers._shared_portal import shared_portal


def fingerprint(result: Any) -> str:
    """Recognize a result that was judged before."""
    return hashlib.sha256(json.dumps(result, sort_keys=True, default=str).encode()).hexdigest()


class Bitrix24MethodTrigger(BaseTrigger):
    """Call a method until its result satisfies a condition, or differs from the one judged last.

    :param method: the REST method.
    :param params: its parameters.
    :param condition: a Jinja expression about ``result``; ``None``: the result is not empty.
    :param judged: :func:`fingerprint` of the last result that a worker judged; the trigger then fires at any other
        result and leaves the condition to the worker.
    :param poll_interval: seconds between two calls.
    :param deadline: Unix time in seconds; wall-clock, so that it survives a move to another triggerer.
    :param bitrix24_conn_id: the Airflow connection.
    """

    def __init__(
        self,
        *,
        method: str,
        params: Mapping[str, Any],
        condition: str | None,
        judged: str | None,
        poll_interval: float,
        deadline: float,
        bitrix24_conn_id: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.method = method
        self.params = dict(params)
        self.condition = condition
        self.judged = judged
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.bitrix24_conn_id = bitrix24_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what another triggerer needs to take over."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "method": self.method,
                "params": self.params,
                "condition": self.condition,
                "judged": self.judged,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "bitrix24_conn_id": self.bitrix24_conn_id,
            },
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} bitrix24_conn_id={self.bitrix24_conn_id}>"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until there is something to report."""
        # The worker asked a moment ago.
        await settled(time.monotonic())
        try:
            async with shared_portal(self.bitrix24_conn_id) as portal:
                while True:
                    try:
                        result = (await portal.call(self.method, self.params)).result
                    except Bitrix24Error as error:
                        if not error.retryable:
                            raise
                        self.log.warning("Still waiting, for the portal gave no answer this time. %s", error)
                    else:
                        if self._is_worth_a_worker(result):
                            yield event_of({"status": "result", "result": result, "deadline": self.deadline})
                            return
                    remaining = self.deadline - time.time()
                    if remaining <= 0:
                        yield event_of({"status": "timeout"})
                        return
                    await asyncio.sleep(min(self.poll_interval, remaining))
        except Bitrix24Error as error:
            yield event_of(error_event(error))

    def _is_worth_a_worker(self, result: Any) -> bool:
        if self.judged is not None:
            return fingerprint(result) != self.judged
        return holds(self.condition, result)
