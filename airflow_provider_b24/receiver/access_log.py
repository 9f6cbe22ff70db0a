"""Keeps capabilities out of access logs: result references in the path, authorization codes in the query."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PAGES_WITH_CODES = ("/install", "/oauth/callback")
_REFERENCE = re.compile(r"(/results/)[^/]+")


class ConcealedReferences:
    """Replaces the reference in the request's path as soon as the path has done its work.

    Airflow's access log and uvicorn's read the path from the same ``scope`` when the response starts or ends.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""

        async def conceal_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                conceal(scope)
            await send(message)

        try:
            await self._app(scope, receive, conceal_and_send if scope["type"] == "http" else send)
        finally:
            conceal(scope)


def conceal(scope: Any) -> None:
    """Take the reference out of the path of a request, and the query away from a page that is given codes."""
    path = scope.get("path", "")
    if path.rstrip("/").endswith(_PAGES_WITH_CODES):
        scope["query_string"] = b""
    if "/results/" in path:
        scope["path"] = _REFERENCE.sub(r"\1***", path)
        scope["raw_path"] = scope["path"].encode()
