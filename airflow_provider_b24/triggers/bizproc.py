"""Answers that are sent from the triggerer."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_b24.exceptions import Bitrix24Error, TransportError
from airflow_provider_b24.operators._answer_note import AnswerNotes, check_time
from airflow_provider_b24.triggers._events import error_event, event_of
from airflow_provider_b24.triggers._settling import settled
from airflow_provider_b24.triggers._shared_portal import NO_CONNECTION, portal_for_worker

_SECONDS_TO_SEND = 60.0


class BizprocEventSendTrigger(BaseTrigger):
    """Send one answer, together with those of other runs.

    A triggerer can die between the portal's acceptance and Airflow's record of it; the next one then sends again. So
    an attempt is noted before it is made, and the event of a repeated one says so.

    :param event_token: the token that came with the call, sealed or plain. Before 3.3 Airflow shows a trigger's
        arguments to everybody who may see the task.
    :param return_values: property name to value, as the portal takes them.
    :param log_message: text for the process's log.
    :param bitrix24_conn_id: the Airflow connection.
    :param answering_task: ``dag_id``, ``task_id``, ``run_id`` and ``map_index``.
    :param send_until: Unix time in seconds after which nothing may be sent; ``None`` for no limit.
    """

    def __init__(
        self,
        *,
        event_token: str,
        return_values: Mapping[str, Any],
        log_message: str | None,
        bitrix24_conn_id: str,
        answering_task: Mapping[str, Any],
        send_until: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.event_token = event_token
        self.return_values = dict(return_values)
        self.log_message = log_message
        self.bitrix24_conn_id = bitrix24_conn_id
        self.answering_task = dict(answering_task)
        self.send_until = send_until

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
                "send_until": self.send_until,
            },
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} bitrix24_conn_id={self.bitrix24_conn_id} task={self.answering_task}>"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Send, and report how it went."""
        from asgiref.sync import sync_to_async

        began, deferred = time.time(), time.monotonic()
        notes = AnswerNotes(self.answering_task)
        note = await sync_to_async(notes.read)()
        repeated = note is not None and note.outcome == "sending"
        event: dict[str, Any] = {"status": "delivered"}
        left = None if self.send_until is None else self.send_until - began
        if left is None or left > 0:
            sending_since = dt.datetime.fromtimestamp(began, dt.UTC)
            await sync_to_async(notes.write)("sending", sending_since, self.return_values)
        try:
            check_time(left)
            await self._send()
        except Bitrix24Error as error:
            event = error_event(error)
            if error.code == "too_late" and not repeated and note is not None and not note.maybe_sent:
                # The task would do that only later, and the dispatcher looks now.
                await sync_to_async(notes.take_back)()
        except Exception as error:
            # Its words may hold secrets.
            why = f"Sending failed ({type(error).__name__}); the portal may have the answer all the same."
            event = error_event(TransportError("sending_failed", why, ambiguous=True))
        # The process has its answer already; only the task waits.
        await settled(deferred)
        yield event_of(event | {"repeated": repeated, "began": began})

    async def _send(self) -> None:
        from airflow_provider_b24.rest.call import answer_params

        token = await self._unsealed()
        async with portal_for_worker(self.bitrix24_conn_id) as portal:
            left = None if self.send_until is None else self.send_until - time.time()
            check_time(left)
            await portal.call(
                "bizproc.event.send",
                answer_params(token, self.return_values, self.log_message),
                deadline=_SECONDS_TO_SEND if left is None else min(_SECONDS_TO_SEND, left),
            )

    async def _unsealed(self) -> str:
        from asgiref.sync import sync_to_async

        from airflow_provider_b24.hooks.sealing import unseal

        try:
            return await sync_to_async(unseal)(self.event_token)
        except Bitrix24Error:
            raise
        except Exception as error:
            # Its words may hold secrets.
            why = f"Nothing was sent: the event token cannot be read ({type(error).__name__})."
            raise TransportError(NO_CONNECTION, why) from None
