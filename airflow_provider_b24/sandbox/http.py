"""The portal's front door: reads requests, applies faults and moves, writes answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_b24.sandbox import oauth, rest
from airflow_provider_b24.sandbox.disk import Content
from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.faults import (
    AnswerHtml,
    AnswerStatus,
    Delay,
    DropConnection,
    TruncateJson,
)
from airflow_provider_b24.sandbox.forms import parse_form
from airflow_provider_b24.sandbox.journal import Request
from airflow_provider_b24.sandbox.received import Received

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.faults import Fault
    from airflow_provider_b24.sandbox.method import Portal
    from airflow_provider_b24.sandbox.server import AsgiApp, Receive, Scope, Send

_JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Exchange:
    # One request with the means to answer it.
    scope: Scope
    receive: Receive
    send: Send
    request: Request
    begun: float

    async def respond(
        self, status: int, content: bytes, content_type: str = _JSON, location: str | None = None
    ) -> None:
        self.request.status = status
        self.request.seconds = time.perf_counter() - self.begun
        fields = {"content-type": content_type, "content-length": str(len(content))}
        fields |= self.request.reply_headers
        if location is not None:
            fields["location"] = location
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})

    async def disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


#: Does what a request asks for; returns the status, and JSON, a file or, as text, where to redirect to.
_Work = Callable[[], tuple[int, Mapping[str, Any] | Content | str]]


class FrontDoor:
    """The ASGI application of a portal.

    :param make_pages: makes the application that answers everything but REST and OAuth, when someone asks for that.
    :param drop: closes the connection of a client, given by its address and port.
    """

    def __init__(
        self, portal: Portal, make_pages: Callable[[], AsgiApp], drop: Callable[[Any], None]
    ) -> None:
        self._portal = portal
        self._make_pages = make_pages
        self._drop_connection = drop
        self._pages: AsgiApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        # Only the server's end cancels a request, after it has closed the connection: nobody is left to tell.
        with contextlib.suppress(asyncio.CancelledError):
            await self._route(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith("/rest/"):
            route = self._rest
        elif path.rstrip("/") in ("/oauth/token", "/oauth/authorize"):
            route = self._oauth
        else:
            if self._pages is None:
                self._pages = self._make_pages()
            await self._pages(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return
        begun = time.perf_counter()
        request, work = route(scope, body)
        request.size = len(body)
        self._portal.record(request)
        try:
            await self._answer(_Exchange(scope, receive, send, request, begun), work)
        finally:
            self._portal.tell(request)

    def _rest(self, scope: Scope, body: bytes) -> tuple[Request, _Work]:
        portal = self._portal
        headers = _headers(scope)
        received = rest.read(scope["path"], scope["query_string"], headers, body)
        if headers.get("host", "").partition(":")[0].lower() in oauth.AUTHORIZATION_HOSTS:
            # The authorization server has one method, and it tells other things than the portal's.
            received.method = f"oauth.{received.method}"
        request = self._request(scope, headers, received)

        def work() -> tuple[int, Mapping[str, Any] | Content | str]:
            if portal.moved_to is not None:
                return 302, portal.moved_to + request.path
            client = scope["client"]
            answer = rest.answer(portal, received, client[0] if client else "")
            request.late, request.reply_headers = received.late, received.reply_headers
            return answer

        return request, work

    def _oauth(self, scope: Scope, body: bytes) -> tuple[Request, _Work]:
        portal = self._portal
        parameters = {**parse_form(scope["query_string"]), **parse_form(body)}
        method = "oauth." + scope["path"].strip("/").removeprefix("oauth/")
        request = self._request(scope, _headers(scope), Received(method, parameters))

        def work() -> tuple[int, Mapping[str, Any] | str]:
            try:
                if method == "oauth.authorize":
                    return 302, oauth.authorize(portal, parameters)
                return 200, oauth.token(portal, parameters)
            except RestError as error:
                return error.status, error.body()

        return request, work

    def _request(self, scope: Scope, headers: dict[str, str], received: Received) -> Request:
        query: bytes = scope["query_string"]
        return Request(
            method=received.method,
            verb=scope["method"],
            path=scope["raw_path"].decode("latin-1") + (f"?{query.decode('latin-1')}" if query else ""),
            parameters=received.parameters,
            access_token=received.access_token,
            headers=headers,
            time=self._portal.clock.now(),
        )

    async def _answer(self, exchange: _Exchange, work: _Work) -> None:
        fault = self._portal.faults.take(exchange.request.method, exchange.request.parameters)
        if fault is not None:
            exchange.request.fault = type(fault).__name__
        if fault is not None and await self._spoil_before(fault, exchange):
            return
        with self._portal.changed:
            status, answer = work()
        if isinstance(answer, str):
            await exchange.respond(status, b"", "text/html", answer)
            return
        if isinstance(fault, DropConnection):
            await self._drop(exchange)
            return
        if isinstance(answer, Content):
            await self._give(answer, fault, exchange)
            return
        # Escaped beyond ASCII, as PHP writes it.
        content = json.dumps(answer, separators=(",", ":")).encode("ascii")
        exchange.request.error = _error_code(answer)
        exchange.request.keep_response(content)
        if isinstance(fault, Delay) and fault.after_work:
            await asyncio.sleep(fault.seconds)
        await asyncio.sleep(exchange.request.late)
        if isinstance(fault, TruncateJson):
            content = content[: len(content) // 2]
        await exchange.respond(status, content)

    async def _give(self, file: Content, fault: Fault | None, exchange: _Exchange) -> None:
        exchange.request.status = 200
        exchange.request.seconds = time.perf_counter() - exchange.begun
        fields = {
            "content-type": "application/octet-stream",
            "content-length": str(len(file.data)),
            "content-disposition": f"attachment; filename*=utf-8''{quote(file.name)}",
        }
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        if isinstance(fault, TruncateJson):
            half = file.data[: len(file.data) // 2]
            await exchange.send({"type": "http.response.body", "body": half, "more_body": True})
            await self._drop(exchange)
            return
        await exchange.send({"type": "http.response.body", "body": file.data})

    async def _spoil_before(self, fault: Fault, exchange: _Exchange) -> bool:
        # Returns whether that was all there is to the answer.
        if isinstance(fault, Delay) and not fault.after_work:
            await asyncio.sleep(fault.seconds)
        elif isinstance(fault, DropConnection) and not fault.after_work:
            await self._drop(exchange)
            return True
        elif isinstance(fault, AnswerHtml):
            await exchange.respond(fault.status, fault.body.encode(), "text/html; charset=utf-8")
            return True
        elif isinstance(fault, AnswerStatus):
            body = RestError(fault.status, fault.code, fault.description).body()
            exchange.request.error = str(fault.code)
            await exchange.respond(fault.status, json.dumps(body).encode())
            return True
        return False

    async def _drop(self, exchange: _Exchange) -> None:
        self._drop_connection(exchange.scope["client"])
        # uvicorn answers for an application that returns without a word, unless it knows that nobody listens.
        await exchange.disconnected()


def _error_code(answer: Mapping[str, Any]) -> str:
    error = answer.get("error", "")
    # In REST 3.0 an error is an object.
    return str(error.get("code", "") if isinstance(error, Mapping) else error)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def _read(receive: Receive) -> bytes | None:
    # Half a body is none: a client that goes away while it sends has asked for nothing.
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
