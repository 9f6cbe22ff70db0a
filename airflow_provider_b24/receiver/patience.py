"""How long anyone waits for Airflow's database: work is done in threads, and left alone when it takes too long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from airflow_provider_b24._airflow.database import DatabaseHangsError

_Result = TypeVar("_Result")


class Patience:
    """Does work that needs the database.

    What takes too long goes on in its thread, but nobody waits for it: it must be harmless when it is done late, or
    twice. Work that has not begun by then is never done.

    :param name: of the threads.
    :param threads: how much is done at the same time.
    :param seconds: how long a piece of work may take, its time in the queue included.
    :param queue: how many may wait for a thread. Who comes then is not taken: there would be no end to the waiting
        when the database is slower than the callers.
    """

    def __init__(self, name: str, *, threads: int, seconds: float, queue: int) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._threads, self._seconds, self._queue = threads, seconds, queue
        self._lock = threading.Lock()
        self._taken = self._hanging = 0

    def do(self, work: Callable[[], _Result]) -> _Result:
        """Do work.

        :raises DatabaseHangsError: when it takes too long, or is not taken.
        """
        future = self._take(work)
        if not wait([future], self._seconds).done:
            self._leave(future)
            raise DatabaseHangsError
        return future.result()

    async def ado(self, work: Callable[[], _Result]) -> _Result:
        """Do work as :meth:`do`, without blocking the event loop."""
        future = self._take(work)
        awaited = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait([awaited], timeout=self._seconds)
            if not done:
                self._leave(future)
                raise DatabaseHangsError
            return awaited.result()
        finally:
            # Otherwise asyncio would log how the work ended, with the statements that an error quotes.
            awaited.cancel()

    def _take(self, work: Callable[[], _Result]) -> Future[_Result]:
        with self._lock:
            if self._hanging >= self._threads or self._taken >= self._threads + self._queue:
                raise DatabaseHangsError
            self._taken += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._done)
        return future

    def _done(self, _future: Future[_Result]) -> None:
        with self._lock:
            self._taken -= 1

    def _leave(self, future: Future[_Result]) -> None:
        """Give up work: what waits is not begun, what runs occupies its thread until the database lets it go."""
        if future.cancel():
            return
        with self._lock:
            self._hanging += 1
        future.add_done_callback(self._recovered)

    def _recovered(self, _future: Future[_Result]) -> None:
        with self._lock:
            self._hanging -= 1
