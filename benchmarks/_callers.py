"""Many callers at once: robot calls posted at a steady rate, or as fast as they are answered.

They speak plain HTTP on connections that are kept, with as little work as can be: they share the processors with what
is measured.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

CALLERS = 32
TIMEOUT_SECONDS = 90.0


def tokens(series: str, count: int | None = None) -> Iterator[str]:
    """Make so many event tokens, or without end."""
    numbers = itertools.count() if count is None else range(count)
    return (f"67e3db8e581121.{series}{number:06}|A1_2_3|{number}.signature" for number in numbers)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call.

    :param status: of the response; 0 when there was none.
    :param call: the id under which it is on record.
    :param spooled: whether it went into the spool first.
    :param seconds: from the moment the call was due until its response.
    """

    status: int
    call: str | None
    spooled: bool
    seconds: float

    @property
    def accepted(self) -> bool:
        return self.status in (200, 202) and self.call is not None


class Callers:
    """Posts calls that differ in their event tokens.

    :param url: the robot's route.
    :param fields: the call's form.
    """

    def __init__(self, url: str, fields: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path
        self._body = f"{urlencode(fields)}&event_token="

    def at_rate(self, rate: float, tokens: Iterable[str]) -> list[Outcome]:
        """Post so many calls a second, whether the earlier ones are answered or not, as long as a caller is free."""
        began = time.perf_counter()
        due = (began + number / rate for number in itertools.count())
        return asyncio.run(self._post_all(CALLERS * 4, tokens, due))

    def at_once(
        self, callers: int, tokens: Iterable[str], show: Callable[[int], None] = lambda _: None
    ) -> list[Outcome]:
        """Let so many callers post one call after the other."""
        return asyncio.run(self._post_all(callers, tokens, None, show))

    async def _post_all(
        self,
        callers: int,
        tokens: Iterable[str],
        due: Iterator[float] | None,
        show: Callable[[int], None] = lambda _: None,
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        waiting = iter(tokens)

        async def call_on() -> None:
            connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
            for token in waiting:
                moment = time.perf_counter() if due is None else next(due)
                await asyncio.sleep(max(0.0, moment - time.perf_counter()))
                try:
                    connection = connection or await asyncio.open_connection(self._host, self._port)
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        status, said = await self._post(*connection, token)
                except (OSError, EOFError, TimeoutError, ValueError):
                    # Not posted again: Bitrix24 would not either.
                    connection, status, said = None, 0, {}
                took = time.perf_counter() - moment
                outcomes.append(Outcome(status, said.get("call"), bool(said.get("spooled")), took))
                show(len(outcomes))
            if connection is not None:
                connection[1].close()

        await asyncio.gather(*(call_on() for _ in range(callers)))
        return outcomes

    async def _post(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
    ) -> tuple[int, dict[str, object]]:
        body = (self._body + token).encode()
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        said = json.loads(await reader.readexactly(int(headers["content-length"])))
        return int(lines[0].split()[1]), said


def statuses(outcomes: Iterable[Outcome]) -> str:
    """Count the responses by their status."""
    counted = Counter(outcome.status or "no response" for outcome in outcomes)
    return ", ".join(f"{count} x {status}" for status, count in sorted(counted.items(), key=str))
