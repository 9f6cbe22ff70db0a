"""A balancer before two API servers, of the kind that docs/receiver.md recommends, in a few lines for one machine.

It hands connections to the servers in turn, and passes over one that refuses them. A robot's call is read whole and
posted to the other server when the first one dies with it or answers 502 or 503: the same call is never two rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

ROBOT_CALL = re.compile(rb"POST /bitrix24/[^/ ]+/robots/")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
_LONGEST_HEAD = 1 << 20
_SECONDS_TO_CONNECT = 2.0
_SECONDS_TO_ANSWER = 8.0
"""More than a receiver takes that finds its database away."""


class Balancer:
    """Listens on one loopback port for several.

    :param port: where it listens.
    :param backends: the servers' ports.
    """

    def __init__(self, port: int, backends: Sequence[int]) -> None:
        self.port = port
        self.repeated = 0
        """How many robot calls were posted to a second server after the first had taken them."""
        self._backends = list(backends)
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="balancer", daemon=True)

    def __enter__(self) -> Balancer:
        self._thread.start()
        listening = asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=_LONGEST_HEAD, backlog=512
        )
        asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _close(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What ends with this balancer ends without a word.
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            if ROBOT_CALL.match(head):
                writer.write(await self._post(head, reader))
                await writer.drain()
            else:
                await self._pass_on(head, reader, writer)
        writer.close()

    def _in_turn(self) -> list[int]:
        self._turn += 1
        middle = self._turn % len(self._backends)
        return self._backends[middle:] + self._backends[:middle]

    async def _post(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length else b""
        request = _CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n" + body
        has_taken_it = False
        for port in self._in_turn():
            with contextlib.suppress(OSError, TimeoutError):
                server = await asyncio.wait_for(
                    asyncio.open_connection("127.0.0.1", port), _SECONDS_TO_CONNECT
                )
                self.repeated += has_taken_it
                has_taken_it = True
                response = await asyncio.wait_for(_exchange(*server, request), _SECONDS_TO_ANSWER)
                if b"\r\n\r\n" in response and response.split(b" ", 2)[1] not in (b"502", b"503"):
                    return response
        return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in self._in_turn():
            with contextlib.suppress(OSError, TimeoutError):
                server = await asyncio.wait_for(
                    asyncio.open_connection("127.0.0.1", port), _SECONDS_TO_CONNECT
                )
                break
        else:
            return
        server[1].write(head)
        await asyncio.gather(_pump(reader, server[1]), _pump(server[0], writer))


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    try:
        writer.write(request)
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
