"""REST methods called from the triggerer: as often as a task says, or until the answer is worth a worker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_b24.exceptions import AuthError, Bitrix24Error, ConnectionConfigError, TransportError
from airflow_provider_b24.operators._task_calls import TaskCalls, results
from airflow_provider_b24.rest.encoding import UnsendableValueError
from airflow_provider_b24.sensors._condition import SHORTEST_LOOK, ConditionError, holds
from airflow_provider_b24.triggers._events import LARGEST_EVENT, error_event, event_of, too_large
from airflow_provider_b24.triggers._settling import settled
from airflow_provider_b24.triggers._shared_portal import portal_for_worker, shared_portal

if TYPE_CHECKING:
    from airflow_provider_b24.rest import Coalescer


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
        """Ask until there is something to report, or the deadline is over."""
        # The worker asked a moment ago.
        await settled(time.monotonic())
        while True:
            remaining = self.deadline - time.time()
            event = await self._look(max(remaining, SHORTEST_LOOK))
            if event is None and (remaining := self.deadline - time.time()) <= 0:
                event = {"status": "timeout"}
            if event is not None:
                yield event_of(event)
                return
            await asyncio.sleep(min(self.poll_interval, remaining))

    async def _look(self, seconds: float) -> dict[str, Any] | None:
        """Ask once.

        :param seconds: how long that may take.
        :return: what to report, ``None`` when there is nothing yet.
        """
        from airflow.providers.common.compat.sdk import AirflowNotFoundException

        try:
            async with asyncio.timeout(seconds):
                result = await self._ask(seconds)
            if self._is_worth_a_worker(result):
                return {"status": "result", "result": result, "deadline": self.deadline}
        except TimeoutError:
            self.log.warning("The portal has not answered %s within %.0f s.", self.method, seconds)
        except Bitrix24Error as error:
            if not error.retryable:
                return error_event(error)
            self.log.warning("Still waiting, for the portal gave no answer this time. %s", error)
        except (UnsendableValueError, ConditionError) as error:
            return error_event(Bitrix24Error("cannot_be_asked", str(error), method=self.method))
        except AirflowNotFoundException:
            missing = ConnectionConfigError(
                "no_connection", f"There is no connection {self.bitrix24_conn_id!r}."
            )
            # As in the other modes, where it fails a try: someone may be about to add it.
            missing.retryable = True
            return error_event(missing)
        except Exception as error:
            # Airflow cannot give the connection now, for example. Its words may hold secrets.
            self.log.warning(
                "Still waiting, although this time nothing could be asked: %s.", type(error).__name__
            )
        return None

    async def _ask(self, seconds: float) -> Any:
        for connection_is_new in (False, True):
            try:
                async with shared_portal(self.bitrix24_conn_id) as portal:
                    return (await portal.call(self.method, self.params, deadline=seconds)).result
            except AuthError as error:
                # Someone may have replaced the credentials since the connection was read.
                if connection_is_new or error.retryable:
                    raise
        raise AssertionError

    def _is_worth_a_worker(self, result: Any) -> bool:
        if self.judged is not None:
            return fingerprint(result) != self.judged
        return holds(self.condition, result)


class Bitrix24CallsTrigger(BaseTrigger):
    """Make the calls of a task once.

    A triggerer can die while they are made, and the next one makes them again: so these are calls that may be repeated.

    :param calls: what :meth:`~airflow_provider_b24.operators._task_calls.TaskCalls.to_json` wrote.
    :param bitrix24_conn_id: the Airflow connection.
    :raises ValueError: when ``calls`` is something else.
    """

    def __init__(self, *, calls: Mapping[str, Any], bitrix24_conn_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls = TaskCalls.parse(calls)
        self.bitrix24_conn_id = bitrix24_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what another triggerer needs to take over."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"calls": self.calls.to_json(), "bitrix24_conn_id": self.bitrix24_conn_id},
        )

    def __repr__(self) -> str:
        methods = sorted({call.method for call in self.calls.calls})
        return f"<{type(self).__name__} {', '.join(methods)} bitrix24_conn_id={self.bitrix24_conn_id}>"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Make the calls, and report what came of them."""
        deferred = time.monotonic()
        event = await self._make()
        await settled(deferred)
        yield event_of(event)

    async def _make(self) -> dict[str, Any]:
        try:
            async with portal_for_worker(self.bitrix24_conn_id) as portal:
                return {"status": "result", "result": await self._results(portal)}
        except Bitrix24Error as error:
            return error_event(error)
        except UnsendableValueError as error:
            text = f"The call cannot be sent as it is. {error}"
            return error_event(Bitrix24Error("cannot_be_sent", text))
        except Exception as error:
            # Its words may hold secrets.
            text = (
                f"Calling failed ({type(error).__name__}); the portal may have done the calls all the same."
            )
            return error_event(TransportError("calling_failed", text, ambiguous=True))

    async def _results(self, portal: Coalescer) -> Any:
        """Make the calls; one travels together with those of other tasks."""
        asked = self.calls
        if asked.many:
            outcomes = results(await portal.client.batch(asked.calls, halt=asked.halt))
            return [
                error_event(one) if isinstance(one, Bitrix24Error) else {"result": one} for one in outcomes
            ]
        [call] = asked.calls
        if asked.limit is None:
            reply = await portal.call(
                call.method,
                call.params,
                repeatable=call.repeatable,
                api=call.api,
                idempotency_key=call.idempotency_key,
            )
            return reply.result
        rows: list[Any] = []
        length = 0
        async for page in portal.client.pages(
            call.method, call.params, id_field=asked.id_field, limit=asked.limit, api=call.api
        ):
            rows += page
            length += len(json.dumps(page))
            if length > LARGEST_EVENT:
                raise too_large(call.method)
        return rows
