"""The client for an event loop: does with ``httpx`` what a conversation asks for. It holds no policy of its own."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow_provider_b24.rest._base_client import NO_AUTHORITIES, BaseClient, authorities
from airflow_provider_b24.rest.batch import AnyCall, converse_batch
from airflow_provider_b24.rest.call import Call, Reply, answer_params
from airflow_provider_b24.rest.conversation import converse
from airflow_provider_b24.rest.files import PartFile
from airflow_provider_b24.rest.tokens import AsyncTokenStore, TokenStore
from airflow_provider_b24.rest.wire import (
    CHUNK,
    Action,
    Consult,
    Conversation,
    LoadCredentials,
    LoadTokens,
    NoResponse,
    Page,
    Receive,
    Request,
    Response,
    Send,
    Sleep,
    StoreFailed,
    StoreTokens,
    Together,
    TransportFailure,
    Whole,
)

if TYPE_CHECKING:
    import ssl

    import httpx

    from airflow_provider_b24.rest.apis import ApiVersion
    from airflow_provider_b24.rest.batch_items import OnOutcome
    from airflow_provider_b24.rest.exchange import Outcome

_T = TypeVar("_T")
_contexts: dict[bool | str, ssl.SSLContext] = {}


class AsyncBitrix24Client(BaseClient[TokenStore | AsyncTokenStore]):
    """A client for one portal, see :class:`~airflow_provider_b24.rest._base_client.BaseClient`.

    Tasks of one event loop at a time may share it.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _transports: dict[str, httpx.AsyncHTTPTransport]

    async def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        deadline: float | None = None,
        repeatable: bool | None = None,
        api: ApiVersion = "v2",
        idempotency_key: str | None = None,
    ) -> Reply:
        """Call one method: see :meth:`Bitrix24Client.call`."""
        call = Call(method, params or {}, repeatable, deadline, api, idempotency_key)
        return await self._hold(converse(call, self._session))

    async def batch(
        self,
        calls: Iterable[AnyCall],
        *,
        halt: bool = False,
        deadline: float | None = None,
        on_outcome: OnOutcome | None = None,
        api: ApiVersion = "v2",
    ) -> list[Outcome]:
        """Make any number of calls, 50 in a request: see :meth:`Bitrix24Client.batch`.

        :param on_outcome: is told the number of a call and its outcome as soon as it has one.
        """
        conversation = converse_batch(
            calls, self._session, halt=halt, deadline=deadline, on_outcome=on_outcome, api=api
        )
        return await self._hold(conversation)

    async def iterate(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id_field: str = "ID",
        limit: int | None = None,
        deadline: float | None = None,
        api: ApiVersion = "v2",
    ) -> AsyncIterator[Any]:
        """Read a list from its first to its last record: see :meth:`Bitrix24Client.iterate`."""
        pages = self.pages(method, params, id_field=id_field, limit=limit, deadline=deadline, api=api)
        async with aclosing(pages):
            async for page in pages:
                for record in page:
                    yield record

    async def pages(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id_field: str = "ID",
        limit: int | None = None,
        deadline: float | None = None,
        api: ApiVersion = "v2",
    ) -> AsyncGenerator[list[Any]]:
        """Read a list page by page: see :meth:`Bitrix24Client.pages`."""
        conversation = self._listing(method, params, id_field, limit, deadline, api)
        try:
            action = next(conversation)
            while True:
                if isinstance(action, Page):
                    yield action.records
                    action = next(conversation)
                else:
                    action = conversation.send(await self._perform(action))
        except StopIteration:
            return
        finally:
            conversation.close()

    async def send_event(
        self,
        event_token: str,
        return_values: Mapping[str, Any] | None = None,
        log_message: str | None = None,
        *,
        deadline: float | None = None,
    ) -> bool:
        """Answer a robot's or activity's call: see :meth:`Bitrix24Client.send_event`."""
        params = answer_params(event_token, return_values, log_message)
        return bool((await self.call("bizproc.event.send", params, deadline=deadline)).result)

    async def download(
        self,
        source: int | str,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        deadline: float | None = None,
    ) -> int:
        """Download a file: see :meth:`Bitrix24Client.download`."""
        with PartFile(path, max_bytes) as file:
            return await self._hold(self._download(source, file, deadline))

    async def close(self) -> None:
        """Close the connections. The client can be used again afterwards."""
        transports, self._transports = getattr(self, "_transports", {}), {}
        if self._loop is asyncio.get_running_loop():
            for transport in transports.values():
                await transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _hold(self, conversation: Conversation[_T]) -> _T:
        """Hold a conversation that hands out no pages."""
        try:
            action = next(conversation)
            while True:
                action = conversation.send(await self._perform(action))
        except StopIteration as end:
            result: _T = end.value
            return result
        finally:
            conversation.close()

    async def _perform(self, action: Action) -> Any:
        if isinstance(action, Send):
            return await self._send(action.request)
        if isinstance(action, Receive):
            return await self._send(action.request, action.write)
        if isinstance(action, Sleep):
            return await (self._sleep or asyncio.sleep)(action.seconds)
        if isinstance(action, Consult):
            return await asyncio.to_thread(action.work)
        if isinstance(action, Together):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._hold(conversation)) for conversation in action.conversations]
            return [task.result() for task in tasks]
        if isinstance(action, Whole):
            return await self._whole(action.conversation)
        if isinstance(action, (LoadTokens, StoreTokens)):
            store = self._store_to_use(action)
            try:
                outcome = store.load() if isinstance(action, LoadTokens) else store.store(action.tokens)
                return await outcome if inspect.isawaitable(outcome) else outcome
            except Exception as error:
                return StoreFailed(type(error).__name__)
        if isinstance(action, LoadCredentials):
            try:
                found = self._reconnect() if self._reconnect else None
                return self._reconnected(await found if inspect.isawaitable(found) else found)
            except Exception as error:
                return StoreFailed(type(error).__name__)
        return None

    def _forget_connections(self) -> None:
        self._loop, self._transports = None, {}

    async def _whole(self, conversation: Conversation[Any]) -> Any:
        """Hold a conversation in a task of its own; whoever is cancelled meanwhile waits until it is done."""
        task = asyncio.create_task(self._hold(conversation))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                await asyncio.wait([task])
            raise

    def _transport(self, host: str) -> httpx.AsyncHTTPTransport:
        """Give the connections to a host, of this event loop: those of another loop cannot be used here.

        The transport is used without ``httpx.AsyncClient`` around it, which would log URLs and follow cookies.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._transports = loop, {}
        if host not in self._transports:
            import httpx

            self._transports[host] = httpx.AsyncHTTPTransport(
                verify=_trust(authorities(self._verify, host)) if host.startswith("https://") else False,
                limits=httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0),
                proxy=_proxy_for(host),
            )
        return self._transports[host]

    async def _send(
        self, request: Request, write: Callable[[bytes], Any] | None = None
    ) -> Response | NoResponse:
        import httpx

        url = request.url
        try:
            transport = self._transport(url[: url.find("/", 8)])
        except OSError:
            return NoResponse(TransportFailure.UNTRUSTED, NO_AUTHORITIES)
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            return NoResponse(TransportFailure.REFUSED, f"the proxy cannot be used: {type(error).__name__}")
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), request.timeout)
        message = httpx.Request(
            request.verb, url, headers=request.headers, content=request.body, extensions={"timeout": timeout}
        )
        try:
            response = await transport.handle_async_request(message)
            try:
                if write is None or response.status_code != 200:
                    body = await response.aread()
                else:
                    body = b""
                    async for chunk in response.aiter_bytes(CHUNK):
                        await asyncio.to_thread(write, chunk)
            finally:
                await response.aclose()
            return Response(response.status_code, response.headers, body)
        except (httpx.TransportError, httpx.DecodingError) as error:
            return _no_response(error)


def _trust(verify: bool | str) -> ssl.SSLContext | bool:
    """Load the certificate authorities once: it takes long."""
    if not verify:
        return False
    if verify not in _contexts:
        import ssl
        from pathlib import Path

        import httpx

        if isinstance(verify, str):
            folder = Path(verify).is_dir()
            _contexts[verify] = ssl.create_default_context(
                cafile=None if folder else verify, capath=verify if folder else None
            )
        else:
            _contexts[verify] = httpx.create_ssl_context()
    return _contexts[verify]


def _proxy_for(host: str) -> str | None:
    """Give the proxy that the environment names for this host, as ``requests`` does for the blocking client."""
    from urllib.request import getproxies, proxy_bypass

    scheme, _, name = host.partition("://")
    if proxy_bypass(name):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _no_response(error: Exception) -> NoResponse:
    """Tell apart what was never sent and what may have arrived; the exception's text goes no further."""
    import ssl

    import httpx

    reason = type(error).__name__
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)):
        cause: BaseException | None = error
        while cause is not None:
            # Another error of TLS may be a connection that breaks off while it is made secure.
            if isinstance(cause, ssl.SSLCertVerificationError):
                return NoResponse(TransportFailure.UNTRUSTED, "the secure connection was refused")
            cause = cause.__cause__ or cause.__context__
        return NoResponse(TransportFailure.REFUSED, reason)
    if isinstance(error, httpx.UnsupportedProtocol):
        return NoResponse(TransportFailure.UNTRUSTED, reason)
    if isinstance(error, httpx.TimeoutException):
        return NoResponse(TransportFailure.TIMEOUT, reason)
    return NoResponse(TransportFailure.BROKEN, reason)
