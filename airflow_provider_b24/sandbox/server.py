"""A portal's HTTP server: uvicorn in a thread of its own, which starts and stops at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    import socket
    from pathlib import Path

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_START_PATIENCE = 10.0


class Server:
    """Serves one ASGI application.

    :param certificate: PEM files of certificate and key, for TLS.
    """

    def __init__(self, app: AsgiApp, sock: socket.socket, certificate: tuple[Path, Path] | None) -> None:
        self._socket = sock
        self._transports: dict[Any, asyncio.Transport] = {}
        config = uvicorn.Config(
            app,
            http=_protocol(self._transports),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            # The limits are counted by the address a request really comes from.
            proxy_headers=False,
            # A client's pooled connection must not be closed under it just as it sends again.
            timeout_keep_alive=300,
            ssl_certfile=certificate[0] if certificate else None,
            ssl_keyfile=certificate[1] if certificate else None,
        )
        self._server = _Server(config, self._transports)
        self._thread = threading.Thread(target=self._run, name="bitrix24-sandbox", daemon=True)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop it runs in."""
        return self._server.loop

    def start(self) -> None:
        """Start serving; return when requests are accepted."""
        self._thread.start()
        if not self._server.listening.wait(_START_PATIENCE):
            raise RuntimeError("The sandbox portal could not start its HTTP server")

    def stop(self) -> None:
        """Close every connection and release the port."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._server.over.set)
            self._thread.join()

    def drop(self, client: Any) -> None:
        """Close the connection of a client without another word."""
        transport = self._transports.get(client)
        if transport is not None:
            transport.abort()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


class _Server(uvicorn.Server):
    # uvicorn looks ten times a second whether to stop, and then lets its clients finish.
    # A portal for tests starts and stops by the dozen: it waits for an event and lets nobody finish.

    def __init__(self, config: uvicorn.Config, transports: dict[Any, asyncio.Transport]) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self._transports = transports

    async def main_loop(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.over = asyncio.Event()
        await self.on_tick(0)
        self.listening.set()
        await self.over.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for transport in list(self._transports.values()):
            transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _protocol(transports: dict[Any, asyncio.Transport]) -> type[asyncio.Protocol]:
    # The application knows a connection by the client's address only; to drop it, its transport is needed.
    class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            transports[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            transports.pop(self.client, None)
            super().connection_lost(exc)

    return Protocol
