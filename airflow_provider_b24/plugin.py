"""What this package adds to Airflow itself: the receiver's routes, the macro for result URLs, the deadline of calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_b24.robots.deadline import CallDeadline
from airflow_provider_b24.sensors.result_reference import result_url

_Message = MutableMapping[str, Any]


@cache
def _receiver() -> Any:
    from airflow_provider_b24.receiver.app import create_app

    return create_app()


class _MountedReceiver:
    """Makes the application where it is asked for: in the API server, not in every worker that loads plugins."""

    def __get__(self, instance: object, owner: type | None = None) -> list[dict[str, Any]]:
        return [{"app": _receiver(), "url_prefix": "/bitrix24", "name": "Bitrix24 receiver"}]


class ReplayWhileServing:
    """Runs the replay of spooled calls from the API server's start to its end.

    A mounted application is not told of either, and calls that a crash left in the spool cannot wait for the
    next request.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Pass everything on; start and stop with the server."""
        if scope["type"] != "lifespan":
            return await self._app(scope, receive, send)
        replay = _receiver().state.replay

        async def follow(message: _Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                replay.start()
            elif message["type"].startswith("lifespan.shutdown"):
                replay.stop()
            await send(message)

        return await self._app(scope, receive, follow)


class Bitrix24Plugin(AirflowPlugin):
    """Mounts the receiver, gives templates ``macros.bitrix24.result_url(ti)``, knows the deadlines of calls."""

    name = "bitrix24"
    macros = [result_url]  # noqa: RUF012
    deadline_references = [CallDeadline]  # noqa: RUF012 - Airflow before 3.2 does not look for it
    fastapi_apps = _MountedReceiver()
    fastapi_root_middlewares = [  # noqa: RUF012
        {"name": "Bitrix24 receiver: replay of spooled calls", "middleware": ReplayWhileServing}
    ]
