"""How requests about installations are handled: with limits, apart from robot calls, and few at a time at a portal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_b24.receiver import metrics
from airflow_provider_b24.receiver.answers import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_b24.receiver.bodies import Bodies

_Result = TypeVar("_Result")

_SECONDS = 90.0


class RequestHandling:
    """Reads bodies, does blocking work in threads, and turns whatever goes wrong into a response.

    Three sets of threads: strangers' posts may wait for a portal that hangs, and must keep neither signed-in users
    waiting, nor what needs Airflow's database only.

    :param refusal_for: what to say when something fails that should not.
    :param bodies: reads bodies, with limits for all of the receiver together.
    """

    def __init__(self, refusal_for: Callable[[Exception], RefusedError], bodies: Bodies) -> None:
        self._refusal_for = refusal_for
        self._bodies = bodies
        self._database = ThreadPoolExecutor(4, "bitrix24-installation-database")
        self._strangers = ThreadPoolExecutor(3, "bitrix24-installation-strangers")
        self._users = ThreadPoolExecutor(2, "bitrix24-installation-users")

    async def respond(
        self,
        route: str,
        work: Callable[[], Awaitable[Response]],
        refuse: Callable[[RefusedError], Response],
    ) -> Response:
        """Do a request, count it, and turn whatever goes wrong into a response.

        :param route: what was asked for, without identifiers.
        :param refuse: makes the response of a refusal.
        """
        began = time.monotonic()
        try:
            response = await work()
        except RefusedError as error:
            response = refuse(error)
        except Exception as error:
            response = refuse(self._refusal_for(error))
        metrics.count_request(route, response.status_code, time.monotonic() - began)
        return response

    async def body_of(self, request: Request) -> bytes:
        """Read a body with limits.

        :raises RefusedError: when it is too long or too slow.
        """
        async with self._bodies.reading(request) as body:
            return body

    async def look_up(self, work: Callable[[], _Result]) -> _Result:
        """Do blocking work that needs Airflow's database only."""
        return await _in(self._database, work)

    async def ask_for_stranger(self, work: Callable[[], _Result]) -> _Result:
        """Do blocking work that asks a portal because of what anyone could have posted."""
        return await _in(self._strangers, work)

    async def ask_for_user(self, work: Callable[[], _Result]) -> _Result:
        """Do blocking work that asks a portal because a signed-in user wants it."""
        return await _in(self._users, work)


async def _in(threads: ThreadPoolExecutor, work: Callable[[], _Result]) -> _Result:
    """Do blocking work.

    :raises RefusedError: 503 when it takes too long; it goes on, but nobody waits for it.
    """
    try:
        return await asyncio.wait_for(asyncio.wrap_future(threads.submit(work)), _SECONDS)
    except TimeoutError:
        raise RefusedError(
            503, "not_verified", "The portal does not answer in time; try again later."
        ) from None
