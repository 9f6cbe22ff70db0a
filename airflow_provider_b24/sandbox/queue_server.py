"""The queue server: posts robot calls and events to handlers, once each, and never again."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.forms import encode_form

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    import httpx

    from airflow_provider_b24.sandbox.clock import Clock

# Enough that one hanging handler does not hold up the calls to the others.
_WORKERS = 4
_TIMEOUT = 10.0
_FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": "Bitrix24 Webhook Engine",
}


@dataclass(eq=False)
class Call:
    """One request to a handler.

    :param kind: `robot`, `event`, or `page` for a form that a browser would post.
    :param fields: what was sent, nested.
    :param body: what was sent, as bytes.
    :param status: HTTP status of the handler's answer.
    :param answer: body of the handler's answer.
    :param error: why there was no answer.
    :param number: 1 for the portal's first call.
    :param time: when it was to be posted, on the portal's clock.
    :param seconds: real seconds that the handler took.
    """

    kind: str
    url: str
    fields: dict[str, Any] = field(repr=False)
    body: bytes = field(repr=False)
    changed: threading.Condition = field(repr=False)
    status: int | None = None
    answer: str = ""
    error: str | None = None
    number: int = 0
    time: float = 0.0
    seconds: float | None = None

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self.status is not None or self.error is not None

    @property
    def refused(self) -> bool:
        """Whether the handler has not taken it: Bitrix24 does not call again."""
        return self.error is not None or (self.status is not None and self.status >= 300)

    def wait(self, timeout: float = 10.0) -> Call:
        """Block until there is an outcome.

        :param timeout: real seconds.
        :raises TimeoutError: when there is none by then.
        """
        with self.changed:
            if not self.changed.wait_for(lambda: self.done, timeout):
                raise TimeoutError(f"No outcome of the call to {self.url} after {timeout} s")
        return self


class QueueServer:
    """Posts in the background, from threads of its own.

    :param settled: called with every call that has an outcome.
    """

    def __init__(self, changed: threading.Condition, clock: Clock, settled: Callable[[Call], None]) -> None:
        self._changed = changed
        self._clock = clock
        self._settled = settled
        self._last = 0
        #: How many calls have had an outcome.
        self.outcomes = 0
        self._queue: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._client: httpx.Client | None = None
        self._calls: list[Call] = []
        self._finished: list[Call] = []
        self._handed_out = 0

    def calls(self, kind: str) -> list[Call]:
        """Return every call of one kind, in the order of sending."""
        with self._changed:
            return [call for call in self._calls if call.kind == kind]

    def numbered(self, number: int) -> Call | None:
        """Return one call, `None` when there is none with this number."""
        with self._changed:
            return next((call for call in self._calls if call.number == number), None)

    def recent(self, most: int) -> list[Call]:
        """Return the last calls of all kinds, in the order of sending."""
        with self._changed:
            return self._calls[-most:]

    def give_up(self, error: str) -> None:
        """Let calls fail that a portal before this one has not come to the end of.

        :param error: why there is no outcome.
        """
        with self._changed:
            for call in self._calls:
                if not call.done:
                    call.error = error
                    self._settled(call)

    def forget(self) -> None:
        """Forget what was posted."""
        with self._changed:
            self._calls.clear()
            self._finished.clear()
            self._handed_out = 0

    def post(self, kind: str, url: str, fields: Mapping[str, Any]) -> Call:
        """Post a form to a handler, once, soon."""
        return self._enqueue(Call(kind, url, dict(fields), encode_form(fields), self._changed))

    def repost(self, call: Call) -> Call:
        """Post the very same bytes again."""
        return self._enqueue(Call(call.kind, call.url, call.fields, call.body, self._changed))

    def wait_for_call(self, timeout: float) -> Call:
        """Return the next robot call that has an outcome and was not returned here before.

        :raises TimeoutError: when there is none within `timeout` real seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._finished) > self._handed_out, timeout):
                raise TimeoutError(f"No robot call was answered within {timeout} s")
            self._handed_out += 1
            return self._finished[self._handed_out - 1]

    def stop(self) -> None:
        """Stop posting; what is under way is left to itself."""
        for _ in self._threads:
            self._queue.put(None)

    def _enqueue(self, call: Call) -> Call:
        with self._changed:
            self._last += 1
            call.number, call.time = self._last, self._clock.now()
            self._calls.append(call)
            if len(self._threads) < _WORKERS:
                if self._client is None:
                    self._client = _client()
                thread = threading.Thread(
                    target=self._work, args=(self._client,), name="bitrix24-queue-server", daemon=True
                )
                self._threads.append(thread)
                thread.start()
        self._queue.put(call)
        return call

    def _work(self, client: httpx.Client) -> None:
        while (call := self._queue.get()) is not None:
            self._send(client, call)

    def _send(self, client: httpx.Client, call: Call) -> None:
        import httpx

        status, answer, error = None, "", None
        begun = time.perf_counter()
        try:
            response = client.post(call.url, content=call.body, headers=_FORM)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            error = f"{type(problem).__name__}: {problem}"
        else:
            status, answer = response.status_code, response.text
        with self._changed:
            call.status, call.answer, call.error = status, answer, error
            call.seconds = time.perf_counter() - begun
            self.outcomes += 1
            if call.kind == "robot":
                self._finished.append(call)
            self._settled(call)
            self._changed.notify_all()


def _client() -> httpx.Client:
    import httpx

    # Redirects are not followed, and no proxy stands between a portal and a handler on one machine.
    return httpx.Client(timeout=_TIMEOUT, trust_env=False, verify=_trust())


@cache
def _trust() -> ssl.SSLContext:
    """Read the authorities' certificates once for all portals of this process."""
    import httpx

    return httpx.create_ssl_context(trust_env=False)
