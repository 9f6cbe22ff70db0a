"""Where requests wait that make the receiver ask a portal: apart from robot calls, which must not wait for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_b24.receiver import metrics
from airflow_provider_b24.receiver.answers import RefusedError
from airflow_provider_b24.receiver.bodies import read_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_Result = TypeVar("_Result")

_THREADS = 2
_SECONDS = 90.0


class Desk:
    """Does such requests, few at a time.

    :param refusal_for: what to say when something fails that should not.
    :param max_body_bytes: longest accepted body.
    :param max_body_seconds: longest time a body may take to arrive.
    """

    def __init__(
        self,
        refusal_for: Callable[[Exception], RefusedError],
        *,
        max_body_bytes: int,
        max_body_seconds: float,
    ) -> None:
        self._refusal_for = refusal_for
        self._max_body_bytes = max_body_bytes
        self._max_body_seconds = max_body_seconds
        self._threads = ThreadPoolExecutor(_THREADS, "bitrix24-receiver-installation")

    async def do(
        self, route: str, work: Callable[[], Awaitable[Response]], say: Callable[[RefusedError], Response]
    ) -> Response:
        """Do a request, count it, and turn whatever goes wrong into an answer.

        :param route: what was asked for, without identifiers.
        :param say: how refusals look.
        """
        began = time.monotonic()
        try:
            response = await work()
        except RefusedError as error:
            response = say(error)
        except Exception as error:
            response = say(self._refusal_for(error))
        metrics.count_request(route, response.status_code, time.monotonic() - began)
        return response

    async def body_of(self, request: Request) -> bytes:
        """Read a body with limits.

        :raises RefusedError: when it is too long or too slow.
        """
        return await read_body(request, max_bytes=self._max_body_bytes, max_seconds=self._max_body_seconds)

    async def in_thread(self, work: Callable[[], _Result]) -> _Result:
        """Do blocking work.

        :raises RefusedError: 503 when it takes too long; it goes on, but nobody waits for it.
        """
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._threads.submit(work)), _SECONDS)
        except TimeoutError:
            raise RefusedError(
                503, "not_verified", "The portal does not answer in time; try again later."
            ) from None
