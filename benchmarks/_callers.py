"""Many callers at once: robot calls posted at a steady rate, or as fast as they are answered."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

CALLERS = 16
TIMEOUT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call.

    :param event_token: which call it was.
    :param status: of the answer; 0 when there was none.
    :param run_id: the run that was promised.
    :param spooled: whether the call was kept for later.
    :param seconds: from the moment the call was due until its answer.
    """

    event_token: str
    status: int
    run_id: str | None
    spooled: bool
    seconds: float

    @property
    def accepted(self) -> bool:
        return self.status in (200, 202) and self.run_id is not None


class Callers:
    """Posts calls that differ in their event tokens, over connections that are kept, as the queue server's are.

    :param url: the robot's route.
    :param fields: the call's form.
    """

    def __init__(self, url: str, fields: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._host, self._path, self._fields = parts.netloc, parts.path, fields
        self._own = threading.local()

    def at_rate(self, rate: float, tokens: Iterable[str]) -> list[Outcome]:
        """Post so many calls a second, whether the earlier ones are answered or not."""
        with ThreadPoolExecutor(200) as pool:
            began, posted = time.perf_counter(), []
            for number, token in enumerate(tokens):
                due = began + number / rate
                time.sleep(max(0.0, due - time.perf_counter()))
                posted.append(pool.submit(self._post, token, due))
            return [one.result() for one in posted]

    def at_once(
        self, callers: int, tokens: Iterable[str], show: Callable[[int], None] = lambda _: None
    ) -> list[Outcome]:
        """Let so many callers post one call after the other.

        :param show: is told how many calls are done.
        """
        waiting: Iterator[str] = iter(tokens)
        lock, outcomes = threading.Lock(), list[Outcome]()

        def call_on() -> None:
            while True:
                with lock:
                    token = next(waiting, None)
                if token is None:
                    return
                outcome = self._post(token, time.perf_counter())
                with lock:
                    outcomes.append(outcome)
                    show(len(outcomes))

        with ThreadPoolExecutor(callers) as pool:
            for ended in [pool.submit(call_on) for _ in range(callers)]:
                ended.result()
        return outcomes

    def _post(self, token: str, due: float) -> Outcome:
        body = urlencode(self._fields | {"event_token": token})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_SECONDS)
            self._own.connection = connection
        try:
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            said = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            # Not posted again: Bitrix24 would not either.
            connection.close()
            self._own.connection = None
            return Outcome(token, 0, None, spooled=False, seconds=time.perf_counter() - due)
        run_id, spooled = said.get("run_id"), said.get("spooled", False)
        return Outcome(token, response.status, run_id, spooled, time.perf_counter() - due)


def tokens(series: str, count: int | None = None) -> Iterator[str]:
    """Make event tokens of calls that differ; without a count they have no end."""
    numbers = itertools.count() if count is None else range(count)
    return (f"67e3db8e581121.{series}{number:06}|A1_2_3|{number}.signature" for number in numbers)


def statuses(outcomes: Iterable[Outcome]) -> str:
    counted = Counter(outcome.status or "no answer" for outcome in outcomes)
    return ", ".join(f"{count} x {status}" for status, count in sorted(counted.items(), key=str))
