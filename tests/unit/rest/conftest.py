"""A conversation without a network: outcomes go in by hand, time is a number."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_b24.rest.credentials import OAuthApp, Tokens, Webhook
from airflow_provider_b24.rest.session import Patience, Session
from airflow_provider_b24.rest.wire import (
    LoadCredentials,
    LoadTokens,
    NoResponse,
    Page,
    Request,
    Response,
    Send,
    Sleep,
    StoreFailed,
    StoreTokens,
    Together,
    Whole,
)


class HandClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class HandDriver:
    """Performs a conversation's actions with outcomes given beforehand, and remembers them."""

    clock: HandClock
    respond: Callable[[Request], Response | NoResponse]
    stored: Tokens | None = None
    store_failures: int = 0
    requests: list[Request] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    records: list[Any] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    credentials: Any = None
    on_sleep: Callable[[float], None] | None = None

    def hold(self, conversation):
        try:
            action = next(conversation)
            while True:
                action = conversation.send(self.perform(action))
        except StopIteration as end:
            return end.value
        finally:
            conversation.close()

    def perform(self, action):
        self.log.append(type(action).__name__)
        if isinstance(action, Send):
            self.requests.append(action.request)
            return self.respond(action.request)
        if isinstance(action, Sleep):
            self.sleeps.append(action.seconds)
            self.clock.now += action.seconds
            if self.on_sleep:
                self.on_sleep(action.seconds)
            return None
        if isinstance(action, Together):
            return [self.hold(conversation) for conversation in action.conversations]
        if isinstance(action, Whole):
            return self.hold(action.conversation)
        if isinstance(action, Page):
            self.records += action.records
            return None
        if isinstance(action, LoadTokens):
            return self.stored
        if isinstance(action, LoadCredentials):
            return self.credentials
        assert isinstance(action, StoreTokens)
        if self.store_failures:
            self.store_failures -= 1
            return StoreFailed("OSError")
        self.stored = action.tokens
        return None

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.requests if request.body is not None]


def _answer(data: Any, status: int = 200, **headers: str) -> Response:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Response(status, headers, body)


@pytest.fixture
def answer():
    """Makes an HTTP answer from JSON data or bytes."""
    return _answer


@pytest.fixture
def ok():
    """Makes the answer to a call that succeeded."""

    def make(result: Any = True, **more: Any) -> Response:
        return _answer({"result": result, **more})

    return make


@pytest.fixture
def refusal():
    """Makes the answer to a call that the portal refused."""

    def make(status: int, code: str, description: str = "") -> Response:
        return _answer({"error": code, "error_description": description}, status)

    return make


@pytest.fixture
def hand_clock():
    return HandClock()


@pytest.fixture
def webhook():
    return Webhook("https://example.bitrix24.com", "1", "s3cr3tcode")


@pytest.fixture
def oauth_app():
    return OAuthApp("https://example.bitrix24.com", "local.app", "client-s3cr3t")


@pytest.fixture
def token_pair():
    return Tokens("access-0", "refresh-0", None, "member-1")


@pytest.fixture
def open_session(hand_clock, webhook):
    """Makes a session on the hand clock; chance is 1 unless given, so that each delay is its own bound."""

    def make(credentials=None, **options):
        patience = {
            name: options.pop(name) for name in list(options) if name in Patience.__dataclass_fields__
        }
        options.setdefault("chance", lambda: 1.0)
        return Session(credentials or webhook, patience=Patience(**patience), clock=hand_clock, **options)

    return make


@pytest.fixture
def drive(hand_clock):
    """Makes a driver that gives these outcomes, one for each request, or asks a function."""

    def make(outcomes: Iterable[Any] | Callable[[Request], Any], **options) -> HandDriver:
        if callable(outcomes):
            return HandDriver(hand_clock, outcomes, **options)
        queue = list(outcomes)

        def respond(request: Request):
            assert queue, f"one request too many: {request.url}"
            return queue.pop(0)

        return HandDriver(hand_clock, respond, **options)

    return make
