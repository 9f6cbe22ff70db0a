"""Airflow's API server as an ASGI application: a way in that leaves its middleware out.

======  =====================================================================================================
3.0 on  ``scope["app"]`` of the lifespan is Airflow's own application; what it calls first is its attribute
        ``middleware_stack``. Its middleware (compression, renewal of sign-ins, access log) takes longer than to put a
        robot's call on record, and does nothing for it.
======  =====================================================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_HARMLESS = ("airflow.", "starlette.", "fastapi.", "airflow_provider_b24.")


def let_in_directly(
    server: Any, mount: str, application: ASGIApp, is_for_it: Callable[[Scope], bool]
) -> bool:
    """Hand some requests to a mounted application without Airflow's middleware.

    Nothing is changed where middleware of others is there, as it may guard the server.

    :param server: Airflow's application.
    :param mount: where the other one is mounted, such as ``/bitrix24``.
    :param is_for_it: tells whether a request, already known to be below the mount, is one of them.
    :return: whether it was done.
    """
    rest = getattr(server, "middleware_stack", None)
    middleware = getattr(server, "user_middleware", None)
    if rest is None or middleware is None:
        return False
    if not all(getattr(one.cls, "__module__", "").startswith(_HARMLESS) for one in middleware):
        return False

    async def way_in(scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        if (
            scope["type"] == "http"
            and scope["path"].removeprefix(root).startswith(f"{mount}/")
            and is_for_it(scope)
        ):
            await application({**scope, "root_path": root + mount, "path_params": {}}, receive, send)
        else:
            await rest(scope, receive, send)

    server.middleware_stack = way_in
    return True
