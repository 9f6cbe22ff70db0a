"""The client for event loops: does with ``httpx`` what a conversation asks for. It holds no policy of its own."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow_provider_b24.rest.batch import AnyCall, Outcome, converse_batch
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.client import answer_params, open_session
from airflow_provider_b24.rest.conversation import converse
from airflow_provider_b24.rest.lists import converse_list
from airflow_provider_b24.rest.pacing import OPERATING_LIMIT
from airflow_provider_b24.rest.session import Patience
from airflow_provider_b24.rest.wire import (
    Action,
    Conversation,
    LoadTokens,
    NoResponse,
    Page,
    Request,
    Response,
    Send,
    Sleep,
    StoreFailed,
    Together,
    TransportFailure,
)

if TYPE_CHECKING:
    import ssl

    import httpx

    from airflow_provider_b24.rest.credentials import Credentials
    from airflow_provider_b24.rest.observer import Observer
    from airflow_provider_b24.rest.tokens import AsyncTokenStore, TokenStore

_T = TypeVar("_T")
_contexts: dict[bool | str, ssl.SSLContext] = {}


class AsyncBitrix24Client:
    """A client for one portal. Tasks of one event loop at a time may share it.

    :param credentials: a webhook or an OAuth application.
    :param token_store: where the application's tokens live; needed with ``OAuthApp``. A blocking
        :class:`~airflow_provider_b24.rest.tokens.TokenStore` is accepted, but blocks the event loop.
    :param tariff: the portal's plan, ``standard`` or ``enterprise``: how many requests it accepts.
    :param timeout: seconds to wait for a connection, and for each part of an answer; a batch may take twice as long.
    :param trusted_hosts: hosts, with or without port, that the portal may move to, besides others of its family
        ``*.bitrix24.xx``.
    :param deadline: seconds a call may take in all, waiting and repeating included; ``None`` for any time.
    :param verify: whether to check certificates, or the file of a certificate authority.
    :param observer: who is told about requests, waits and retries.
    :param patience: all settings of time and repetition at once, instead of ``timeout`` and ``deadline``.
    :param operating_limit: seconds of operating time after which a method is not called before its reset; ``None``
        for a self-hosted portal without this limit.
    :param clock: seconds that only grow; together with ``sleep`` for a portal whose clock can be moved.
    :param sleep: waits so many seconds.
    :param chance: random numbers from 0 to 1, for the delays.
    :raises ValueError: when the settings contradict each other.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        token_store: TokenStore | AsyncTokenStore | None = None,
        tariff: str = "standard",
        timeout: float = 30.0,
        trusted_hosts: Iterable[str] = (),
        deadline: float | None = None,
        verify: bool | str = True,
        observer: Observer | None = None,
        patience: Patience | None = None,
        operating_limit: float | None = OPERATING_LIMIT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._session = open_session(
            credentials,
            token_store,
            tariff=tariff,
            patience=patience or Patience(timeout=timeout, deadline=deadline),
            trusted_hosts=trusted_hosts,
            observer=observer,
            operating_limit=operating_limit,
            clock=clock,
            chance=chance,
        )
        self._store = token_store
        self._verify = verify
        self._sleep = sleep
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transports: dict[str, httpx.AsyncHTTPTransport] = {}

    @property
    def portal(self) -> str:
        """The portal's host, the new one when it has moved."""
        return self._session.portal

    def waiting_time(self) -> float:
        """Seconds until the portal's limit has room for one more request of this process."""
        return self._session.pacer.waiting_time()

    async def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        deadline: float | None = None,
        repeatable: bool | None = None,
    ) -> Reply:
        """Call one method.

        :param method: the REST method, such as ``crm.deal.get``.
        :param params: its parameters.
        :param deadline: seconds this call may take in all; ``None`` for the client's own deadline.
        :param repeatable: see :class:`Call`.
        :return: the portal's reply.
        :raises Bitrix24Error: when the call has failed for good.
        :raises ValueError: when it cannot be sent as it is.
        """
        return await self._hold(
            converse(Call(method, params or {}, repeatable), self._session, deadline=deadline)
        )

    async def batch(
        self, calls: Iterable[AnyCall], *, halt: bool = False, deadline: float | None = None
    ) -> list[Outcome]:
        """Make any number of calls, 50 in a request.

        :param calls: calls, or pairs of method and parameters.
        :param halt: in order, and none after the first that fails.
        :param deadline: seconds it may take in all; ``None`` for the client's own deadline.
        :return: for each call, in order, its reply or its error.
        :raises ValueError: when one of them cannot be sent as it is; nothing was sent.

        Documentation: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/batch.html
        """
        return await self._hold(converse_batch(calls, self._session, halt=halt, deadline=deadline))

    async def iterate(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id_field: str = "ID",
        limit: int | None = None,
        deadline: float | None = None,
    ) -> AsyncIterator[Any]:
        """Read a list from its first to its last record, with few requests and little memory.

        :param method: the list method, such as ``crm.deal.list``.
        :param params: its parameters, without ``start``; a filter may hold ``>ID`` to go on where an earlier
            reading stopped.
        :param id_field: name of the field that numbers the records.
        :param limit: stop after so many records.
        :param deadline: seconds each request may take in all, waiting included.
        :return: the records, in ascending order of ``id_field`` unless ``params`` order otherwise.
        :raises Bitrix24Error: while reading, when a page has failed for good.
        :raises ValueError: when the parameters cannot be sent as they are.

        Documentation: https://apidocs.bitrix24.com/settings/performance/huge-data.html
        """
        conversation = converse_list(
            Call(method, params or {}), self._session, id_field=id_field, limit=limit, deadline=deadline
        )
        try:
            action = next(conversation)
            while True:
                if isinstance(action, Page):
                    for record in action.records:
                        yield record
                    del action
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
        """Answer a robot's or activity's call: the process that waits goes on.

        The portal answers ``True`` also for a step that was answered before or has timed out while its process goes
        on, and ignores the answer then.

        :param event_token: the call's event token.
        :param return_values: the values for the process, by the robot's return properties.
        :param log_message: a line for the process's log.
        :param deadline: seconds it may take in all; ``None`` for the client's own deadline.
        :return: ``True`` when the answer has arrived.
        :raises ProcessEndedError: when the process is over.
        :raises EventTokenError: when the token is invalid; by the documentation also when it has expired or was used.
        :raises ProcessLockedError: when the portal worked on the process for longer than the call may take.
        :raises Bitrix24Error: when the call has failed for good.

        Documentation: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-event-send.html
        """
        params = answer_params(event_token, return_values, log_message)
        return bool((await self.call("bizproc.event.send", params, deadline=deadline)).result)

    async def close(self) -> None:
        """Close the connections. The client can be used again afterwards."""
        transports, self._transports = self._transports, {}
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
        if isinstance(action, Sleep):
            return await self._sleep(action.seconds)
        if isinstance(action, Together):
            return await self._together(action)
        if self._store is None or isinstance(action, Page):
            raise RuntimeError(
                f"A conversation asked for {type(action).__name__}, which is not possible here"
            )
        try:
            outcome = (
                self._store.load() if isinstance(action, LoadTokens) else self._store.store(action.tokens)
            )
            return await outcome if inspect.isawaitable(outcome) else outcome
        except Exception as error:
            return StoreFailed(type(error).__name__)

    async def _together(self, action: Together) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._hold(conversation)) for conversation in action.conversations]
        return [task.result() for task in tasks]

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
                verify=_trust(self._verify) if host.startswith("https://") else False,
                limits=httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0),
                proxy=_proxy_for(host),
            )
        return self._transports[host]

    async def _send(self, request: Request) -> Response | NoResponse:
        import httpx

        url = request.url
        transport = self._transport(url[: url.find("/", 8)])
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), request.timeout)
        message = httpx.Request(
            request.verb, url, headers=request.headers, content=request.body, extensions={"timeout": timeout}
        )
        try:
            response = await transport.handle_async_request(message)
            try:
                body = await response.aread()
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

        import httpx

        _contexts[verify] = (
            ssl.create_default_context(cafile=verify)
            if isinstance(verify, str)
            else httpx.create_ssl_context()
        )
    return _contexts[verify]


def _proxy_for(host: str) -> str | None:
    """Give the proxy that the environment names for this host, as ``requests`` does for the blocking client."""
    from urllib.request import getproxies, proxy_bypass

    scheme, _, name = host.partition("://")
    if proxy_bypass(name):
        return None
    proxies = getproxies()
    return proxies.get(scheme) or proxies.get("all")


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
