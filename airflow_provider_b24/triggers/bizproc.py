"""Answers that are sent from the triggerer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.triggers._events import error_event, event_of
from airflow_provider_b24.triggers._settling import settled
from airflow_provider_b24.triggers._shared_portal import shared_portal

ATTEMPT_KEY = "bitrix24_answer_attempt"
"""XCom of the answering task: an attempt to answer has begun. A task's XComs end with its try."""


class BizprocEventSendTrigger(BaseTrigger):
    """Send one answer, together with those of other runs.

    A triggerer can die between the portal's acceptance and Airflow's record of it; the next one then sends again
    and is refused. So an attempt is noted before it is made, and a refusal of a repeated one says so.

    :param event_token: the token that came with the call. Airflow encrypts a trigger's arguments at rest.
    :param return_values: property name to value, as the portal takes them.
    :param log_message: text for the process's log.
    :param bitrix24_conn_id: the Airflow connection.
    :param answering_task: ``dag_id``, ``task_id``, ``run_id`` and ``map_index``.
    """

    def __init__(
        self,
        *,
        event_token: str,
        return_values: Mapping[str, Any],
        log_message: str | None,
        bitrix24_conn_id: str,
        answering_task: Mapping[str, Any],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.event_token = event_token
        self.return_values = dict(return_values)
        self.log_message = log_message
        self.bitrix24_conn_id = bitrix24_conn_id
        self.answering_task = dict(answering_task)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what another triggerer needs to take over."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "event_token": self.event_token,
                "return_values": self.return_values,
                "log_message": self.log_message,
                "bitrix24_conn_id": self.bitrix24_conn_id,
                "answering_task": self.answering_task,
            },
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} bitrix24_conn_id={self.bitrix24_conn_id} task={self.answering_task}>"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Send, and report how it went."""
        from airflow_provider_b24.rest.client import answer_params

        began = time.monotonic()
        repeated = await self._note_attempt()
        try:
            async with shared_portal(self.bitrix24_conn_id) as portal:
                await portal.call(
                    "bizproc.event.send",
                    answer_params(self.event_token, self.return_values, self.log_message),
                )
        except Bitrix24Error as error:
            event = error_event(error) | {"repeated": repeated}
        else:
            event = {"status": "delivered"}
        # The process has its answer already; only the task waits.
        await settled(began)
        yield event_of(event)

    async def _note_attempt(self) -> bool:
        """Note that an attempt begins.

        :return: whether an earlier one began before.
        """
        from airflow.sdk.execution_time.xcom import XCom
        from asgiref.sync import sync_to_async

        if await sync_to_async(XCom.get_one)(key=ATTEMPT_KEY, **self.answering_task):
            return True
        await sync_to_async(XCom.set)(key=ATTEMPT_KEY, value=True, **self.answering_task)
        return False
