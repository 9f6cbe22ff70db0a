"""Answering a waiting process from a callback: :class:`BizprocEventSendNotifier`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_provider_b24.exceptions import Bitrix24Error, EventTokenError
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow.sdk import Context

PATIENCE = 30.0
"""Seconds to try. The DAG processor, where DAG callbacks run, ends a file's process after 50 s by default."""

_PAUSE = 3.0


class BizprocEventSendNotifier(BaseNotifier):
    """Answer the robot or workflow action that started the DAG run, from a callback of a DAG or task.

    A process that is over, or an event token that is not accepted any more, means that nobody waits: nothing is wrong
    then. What may pass, such as a process that is locked for a moment, is retried for half a minute.

    :param event_token: the token that came with the call, sealed or plain. (templated)
    :param return_values: property name to value, converted as by ``BizprocEventSendOperator``. (templated)
    :param log_message: text for the process's log. (templated)
    :param bitrix24_conn_id: the Airflow connection. (templated)

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-event-send.html
    """

    template_fields: Sequence[str] = ("event_token", "return_values", "log_message", "bitrix24_conn_id")

    def __init__(
        self,
        *,
        event_token: str = "{{ dag_run.conf['event_token'] }}",  # noqa: S107 - where the token is, not the token
        return_values: Any = None,
        log_message: str | None = None,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.event_token = event_token
        self.return_values = return_values
        self.log_message = log_message
        self.bitrix24_conn_id = bitrix24_conn_id

    def notify(self, context: Context) -> None:
        """Answer.

        :raises Bitrix24Error: when the portal refused, or could not be reached in time.
        """
        from airflow_provider_b24.hooks.sealing import unseal

        self.send(unseal(self.event_token), self._values(), self.log_message)

    async def async_notify(self, context: Context) -> None:
        """Answer from the triggerer, where deadlines call back, together with the answers of other triggers.

        :raises Bitrix24Error: when the portal refused, or could not be reached in time.
        """
        from airflow_provider_b24.hooks.sealing import unseal
        from airflow_provider_b24.rest.call import answer_params
        from airflow_provider_b24.triggers._shared_portal import shared_portal

        params = answer_params(unseal(self.event_token), self._values(), self.log_message)
        attempts = _Attempts(self.log)
        while attempts.go_on:
            try:
                async with shared_portal(self.bitrix24_conn_id) as portal:
                    await portal.call("bizproc.event.send", params, deadline=attempts.remaining)
            except Bitrix24Error as error:
                await asyncio.sleep(attempts.failed(error))
            else:
                attempts.succeeded()

    def send(self, event_token: str, values: Mapping[str, Any], log_message: str | None) -> None:
        """Send, for as long as it makes sense.

        :raises Bitrix24Error: when the portal refused, or could not be reached in time.
        """
        from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

        attempts = _Attempts(self.log)
        with Bitrix24Hook(self.bitrix24_conn_id, timeout=PATIENCE / 3) as hook:
            while attempts.go_on:
                try:
                    hook.get_conn().send_event(event_token, values, log_message, deadline=attempts.remaining)
                except Bitrix24Error as error:
                    time.sleep(attempts.failed(error))
                else:
                    attempts.succeeded()

    def _values(self) -> dict[str, Any]:
        from airflow_provider_b24.operators._values import encode_return_values, parse_return_values

        return encode_return_values(parse_return_values(self.return_values))


class _Attempts:
    """What to do after each attempt to answer, whoever makes it.

    :param log: where people read how it went.
    """

    def __init__(self, log: Any) -> None:
        self.go_on = True
        self._log = log
        self._give_up_at = time.monotonic() + PATIENCE

    @property
    def remaining(self) -> float:
        """Seconds that the next attempt may take."""
        return max(self._give_up_at - time.monotonic(), 1.0)

    def succeeded(self) -> None:
        """Take note that the answer has arrived."""
        self.go_on = False
        self._log.info("The process has its answer.")

    def failed(self, error: Bitrix24Error) -> float:
        """Take note of a failure.

        :return: seconds to wait before the next attempt, if there is to be one.
        :raises Bitrix24Error: the failure, when there is none.
        """
        if isinstance(error, EventTokenError):
            self.go_on = False
            self._log.warning(
                "Nobody waits for this answer: the process was answered before, or has ended, or the event token is "
                "not valid (%s).",
                error.code,
            )
            return 0.0
        if not error.retryable or self._give_up_at - time.monotonic() < _PAUSE:
            raise error
        self._log.warning("Not delivered yet, trying again: %s", error)
        return _PAUSE
