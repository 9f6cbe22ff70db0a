"""A sandbox portal, and one way to call it three times: by hand, blocking, and in an event loop."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, OAuthApp, Patience, Tokens, Webhook
from airflow_provider_b24.rest.conversation import converse
from airflow_provider_b24.rest.session import Session
from airflow_provider_b24.rest.wire import NoResponse, Response, Send, TransportFailure
from airflow_provider_b24.sandbox import SandboxPortal

QUICK = {"timeout": 5.0, "attempts": 4, "first_delay": 0.01, "longest_delay": 0.05}


@pytest.fixture
def portal() -> Iterator[SandboxPortal]:
    """A portal whose limits do not hold up tests; those about limits make their own."""
    with SandboxPortal(limits=False) as running:
        yield running


@pytest.fixture
def portal_webhook(portal) -> Webhook:
    return Webhook.from_url(portal.webhook.url)


@pytest.fixture
def portal_app(portal) -> OAuthApp:
    return OAuthApp(
        portal.url, portal.application.client_id, portal.application.client_secret, portal.oauth_url
    )


@pytest.fixture
def portal_tokens(portal) -> Tokens:
    application = portal.application
    return Tokens(application.access_token, application.refresh_token, None, portal.member_id)


def own_clock() -> Callable[[], float]:
    """A clock like the usual one that is nobody else's, so that no pacer is shared with other tests."""
    return time.monotonic


class FreeClock:
    """A clock that runs on instead of letting anybody sleep: for portals without limits."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        self._skipped += seconds

    async def asleep(self, seconds: float) -> None:
        self._skipped += seconds
        await asyncio.sleep(0)


def by_hand(credentials, call, options):
    """Perform a conversation with the standard library alone."""
    patience = Patience(
        **{name: options.pop(name) for name in list(options) if name in Patience.__dataclass_fields__}
    )
    conversation = converse(call, Session(credentials, patience=patience, clock=own_clock(), **options))
    try:
        action = next(conversation)
        while True:
            action = conversation.send(_send(action.request) if isinstance(action, Send) else None)
    except StopIteration as end:
        return end.value


def _send(request):
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=request.timeout)
    try:
        try:
            connection.connect()
        except OSError as error:
            return NoResponse(TransportFailure.REFUSED, type(error).__name__)
        try:
            connection.request(request.verb, parts.path, request.body, dict(request.headers))
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())
        except TimeoutError:
            return NoResponse(TransportFailure.TIMEOUT, "timeout")
        except (OSError, http.client.HTTPException) as error:
            return NoResponse(TransportFailure.BROKEN, type(error).__name__)
    finally:
        connection.close()


def blocking(credentials, call, options):
    patience = Patience(
        **{name: options.pop(name) for name in list(options) if name in Patience.__dataclass_fields__}
    )
    clock = FreeClock()
    with Bitrix24Client(credentials, patience=patience, clock=clock, sleep=clock.sleep, **options) as client:
        return client.call(call.method, call.params, repeatable=call.repeatable)


def in_a_loop(credentials, call, options):
    patience = Patience(
        **{name: options.pop(name) for name in list(options) if name in Patience.__dataclass_fields__}
    )
    clock = FreeClock()

    async def run():
        async with AsyncBitrix24Client(
            credentials, patience=patience, clock=clock, sleep=clock.asleep, **options
        ) as client:
            return await client.call(call.method, call.params, repeatable=call.repeatable)

    return asyncio.run(run())


@pytest.fixture(params=[by_hand, blocking, in_a_loop], ids=["generator", "blocking", "async"])
def hold(request):
    """Holds the conversation of one call, in each of the three ways."""

    def run(credentials, call, **options):
        return request.param(credentials, call, {**QUICK, **options})

    return run


@pytest.fixture
def quick() -> Patience:
    return Patience(**QUICK)


@pytest.fixture
def fresh_clock():
    return own_clock()


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens at."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def free_clock() -> FreeClock:
    return FreeClock()


class Blocking:
    """A client, asked without an event loop."""

    def __init__(self, credentials, clock, api="v2", **options):
        self._client = Bitrix24Client(credentials, clock=clock, sleep=clock.sleep, **options)
        self._api = {"api": api}

    def call(self, method, params=None, **options):
        return self._client.call(method, params, **self._api | options)

    def batch(self, calls, **options):
        return self._client.batch(calls, **self._api | options)

    def iterate(self, method, params=None, **options):
        return list(self._client.iterate(method, params, **self._api | options))


class InALoop:
    """The same in an event loop of its own each time."""

    def __init__(self, credentials, clock, api="v2", **options):
        self._client = AsyncBitrix24Client(credentials, clock=clock, sleep=clock.asleep, **options)
        self._api = {"api": api}

    def call(self, method, params=None, **options):
        return asyncio.run(self._client.call(method, params, **self._api | options))

    def batch(self, calls, **options):
        return asyncio.run(self._client.batch(calls, **self._api | options))

    def iterate(self, method, params=None, **options):
        async def read():
            return [record async for record in self._client.iterate(method, params, **self._api | options)]

        return asyncio.run(read())


@pytest.fixture(params=[Blocking, InALoop], ids=["blocking", "async"])
def make_any_client(request, free_clock):
    """Makes a client, of either kind, that is asked in the same way and waits for nothing."""

    def make(credentials, **options):
        options.setdefault("patience", Patience(timeout=5.0, attempts=4))
        return request.param(credentials, free_clock, **options)

    return make


class FirmStore:
    """A token store that threads may share, with a count of what was stored."""

    def __init__(self, tokens: Tokens) -> None:
        self._lock = threading.Lock()
        self._tokens = tokens
        self.stores = 0

    def load(self) -> Tokens:
        with self._lock:
            return self._tokens

    def store(self, tokens: Tokens) -> None:
        with self._lock:
            self._tokens = tokens
            self.stores += 1


@pytest.fixture
def firm_store(portal_tokens) -> FirmStore:
    return FirmStore(portal_tokens)
