"""What an API server does beside answering requests: tables at its start, warming up, and the work on calls."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_b24._airflow.root_app import ASGIApp, Message, Receive, Scope, Send, let_in_directly
from airflow_provider_b24.calls.background import Background, Step
from airflow_provider_b24.calls.database import make_tables
from airflow_provider_b24.calls.dispatcher import Dispatcher, Every
from airflow_provider_b24.calls.intake import Intake, put_on_record

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)

MOUNT = "/bitrix24"
_SECONDS_BETWEEN_LOOKS = 5.0
_SECONDS_TO_WARM_UP = 60.0
# The first request to each builds what all others need: 2.4 s and more in which no call would be answered.
_TO_WARM_UP = ("/execution/health", "/api/v2/version", "/bitrix24/health")


class Serving:
    """Begins with the API server and ends with it.

    :param receiver: the receiver's application.
    :param dispatches: whether this process starts runs and sends answers, ``[bitrix24] dispatcher = api_server``.
    """

    def __init__(self, receiver: FastAPI, *, dispatches: bool) -> None:
        self._receiver = receiver
        self._dispatcher = Dispatcher() if dispatches else None
        self._look = Every(_SECONDS_BETWEEN_LOOKS)
        self._has_tables = False
        steps: list[Step] = [self._make_tables, self._bring_spool]
        if self._dispatcher is not None:
            steps.append(self._dispatch)
        self._background = Background(steps)
        self._intake.committed = self._background.wake

    async def start(self, server: ASGIApp) -> None:
        """Make ready for calls, before the server says that it is up.

        :param server: Airflow's own application, to be warmed up.
        """
        try:
            await asyncio.wait_for(self._make_ready(server), _SECONDS_TO_WARM_UP)
        except Exception as error:
            log.warning("The receiver starts without having been warmed up: %s", type(error).__name__)
        self._background.start()

    def let_calls_in(self, server: Any) -> None:
        """Take robot calls before Airflow's middleware, which takes longer than to put them on record.

        :param server: Airflow's application.
        """
        let_in_directly(server, MOUNT, self._receiver, _is_robot_call)

    async def stop(self) -> None:
        """End after what is being done."""
        await asyncio.to_thread(self._background.stop)
        if self._dispatcher is not None:
            await asyncio.to_thread(self._dispatcher.stop)

    async def _make_ready(self, server: ASGIApp) -> None:
        await asyncio.to_thread(self._try_to_make_tables)
        await self._receiver.state.portals.learn()
        for path in _TO_WARM_UP:
            await _get(server, path)
        # Airflow's heap is large, and a full collection of it holds up every call for a third of a second.
        gc.collect()
        gc.freeze()

    @property
    def _intake(self) -> Intake:
        intake: Intake = self._receiver.state.intake
        return intake

    def _try_to_make_tables(self) -> None:
        try:
            make_tables(tries=5)
            self._has_tables = True
        except Exception as error:
            log.error("The tables of calls cannot be made yet: %s", type(error).__name__)

    def _make_tables(self) -> bool:
        if not self._has_tables:
            make_tables(tries=1)
            self._has_tables = True
        return False

    def _bring_spool(self) -> bool:
        if not self._look.is_due():
            return False
        gone = self._intake.spool.drain(put_on_record)
        if gone:
            log.info("%d calls were brought from the spool into the table.", gone)
        self._intake.note_refusals()
        return gone > 0

    def _dispatch(self) -> bool:
        return self._dispatcher is not None and self._has_tables and self._dispatcher.turn()


def _is_robot_call(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and "/robots/" in scope["path"])


async def _get(app: ASGIApp, path: str) -> None:
    """Request a path of an application, without a network."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80),
        "state": {},
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Message) -> None:
        return None

    try:
        await app(scope, receive, send)
    except Exception as error:
        log.debug("Warming up %s: %s", path, type(error).__name__)


class ServingWithTheServer:
    """Middleware of Airflow's API server: tells the receiver when the server starts and ends.

    A mounted application is not told of either by every version of Airflow, and calls that a crash has left cannot
    wait for the next request.

    :param serving: makes what begins and ends with the server.
    """

    def __init__(self, app: ASGIApp, serving: Callable[[], Serving]) -> None:
        self._app = app
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; start and stop with the server."""
        if scope["type"] != "lifespan":
            return await self._app(scope, receive, send)
        serving = self._serving()

        async def follow(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await serving.start(self._app)
                serving.let_calls_in(scope.get("app"))
            elif message["type"].startswith("lifespan.shutdown"):
                await serving.stop()
            await send(message)

        await self._app(scope, receive, follow)
        return None
