"""Many concurrent callers in one event loop, few requests: calls that come close together travel as one batch."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_b24.rest.apis import APIS, ApiVersion
from airflow_provider_b24.rest.batch_sizes import MAX_CALLS
from airflow_provider_b24.rest.call import Call, Reply

if TYPE_CHECKING:
    from airflow_provider_b24.rest.async_client import AsyncBitrix24Client
    from airflow_provider_b24.rest.exchange import Outcome


class _Waiting(NamedTuple):
    call: Call
    future: asyncio.Future[Reply]


class Coalescer:
    """Gathers the calls of one event loop.

    A call waits ``linger`` seconds for others; when the portal's limit leaves no room, all calls that come in the
    meantime share the next request. Calls to processes that wait, such as answers, go first, and never in one request
    with others, which may be slow.

    :param client: sends the batches; it is not closed with the coalescer.
    :param linger: seconds a call waits for others.
    :param max_size: calls in one batch, at most 50.
    :raises ValueError: when ``max_size`` is not between 1 and 50.
    """

    def __init__(
        self, client: AsyncBitrix24Client, *, linger: float = 0.05, max_size: int = MAX_CALLS
    ) -> None:
        if not 1 <= max_size <= MAX_CALLS:
            raise ValueError(f"A batch holds 1 to {MAX_CALLS} calls, not {max_size}")
        self.client = client
        self._linger = linger
        self._max_size = max_size
        self._to_processes: deque[_Waiting] = deque()
        self._others: deque[_Waiting] = deque()
        self._full = asyncio.Event()
        self._gathering: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        deadline: float | None = None,
        repeatable: bool | None = None,
        api: ApiVersion = "v2",
        idempotency_key: str | None = None,
    ) -> Reply:
        """Call one method, together with whoever calls at the same time.

        :param method: the REST method.
        :param params: its parameters.
        :param deadline: seconds the call may take in all, counted from when it is sent.
        :param repeatable: see :class:`Call`.
        :param api: see :class:`Call`.
        :param idempotency_key: see :class:`Call`.
        :return: the portal's reply.
        :raises Bitrix24Error: when this call has failed for good; the others are not concerned.
        :raises ValueError: when it cannot be sent as it is.
        """
        call = Call(method, params or {}, repeatable, deadline, api, idempotency_key)
        APIS[api].parameters(call.method, call.params)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        queue = self._to_processes if self.client.takes_event_token(method) else self._others
        queue.append(_Waiting(call, future))
        if len(queue) >= self._max_size:
            self._full.set()
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._gather())
        return await future

    async def close(self) -> None:
        """Wait until all calls have been answered."""
        while self._gathering is not None or self._sending:
            tasks = [*self._sending, *([self._gathering] if self._gathering else [])]
            await asyncio.wait(tasks)

    async def _gather(self) -> None:
        try:
            while self._to_processes or self._others:
                await self._wait_for_others()
                portion = self._portion()
                if max(len(self._to_processes), len(self._others)) < self._max_size:
                    self._full.clear()
                task = asyncio.create_task(self._send(portion))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
                # The task has to take its place in the bucket before the next portion looks for one.
                await asyncio.sleep(0)
        finally:
            self._gathering = None

    def _portion(self) -> list[_Waiting]:
        """Take the calls of the next request: those that came first and that are still waited for."""
        queue = self._to_processes or self._others
        portion: list[_Waiting] = []
        while queue and len(portion) < self._max_size:
            one = queue.popleft()
            if not one.future.done():
                portion.append(one)
        return portion

    async def _wait_for_others(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._full.wait(), self._linger)
        # Once: where other processes use the limit, too, there may always be someone who waits already.
        await asyncio.sleep(self.client.waiting_time())

    async def _send(self, portion: list[_Waiting]) -> None:
        def tell(number: int, outcome: Outcome) -> None:
            future = portion[number].future
            if future.done():
                return
            if isinstance(outcome, Reply):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

        try:
            # Each is told at once: one whose process is locked does not hold up the others.
            await self.client.batch([one.call for one in portion], on_outcome=tell)
        except BaseException as error:
            for one in portion:
                if not one.future.done():
                    one.future.set_exception(error) if isinstance(error, Exception) else one.future.cancel()
            if not isinstance(error, Exception):
                raise
