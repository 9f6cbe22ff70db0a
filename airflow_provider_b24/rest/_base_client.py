"""What both clients are: the session, and the conversation for each thing that can be asked."""

from __future__ import annotations

import os
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

from airflow_provider_b24.rest.batch_sizes import MAX_CALLS
from airflow_provider_b24.rest.call import Call
from airflow_provider_b24.rest.credentials import OAUTH_SERVERS, Credentials, OAuthApp, Webhook
from airflow_provider_b24.rest.lists import converse_list
from airflow_provider_b24.rest.lists_v3 import converse_list_v3
from airflow_provider_b24.rest.pacing import OPERATING_LIMIT
from airflow_provider_b24.rest.redaction import redact_http_logs
from airflow_provider_b24.rest.session import Patience, Session

if TYPE_CHECKING:
    from airflow_provider_b24.rest.apis import ApiVersion
    from airflow_provider_b24.rest.files import PartFile
    from airflow_provider_b24.rest.methods import MethodFacts
    from airflow_provider_b24.rest.observer import Observer
    from airflow_provider_b24.rest.shared_limit import SharedLimit
    from airflow_provider_b24.rest.wire import Conversation

_Store = TypeVar("_Store")
NO_AUTHORITIES = "the file or folder of the authorities to trust cannot be read"


class BaseClient(ABC, Generic[_Store]):
    """A client for one portal.

    :param credentials: a webhook or an OAuth application.
    :param token_store: where the application's tokens live; needed with
        :class:`~airflow_provider_b24.rest.credentials.OAuthApp`. In an event loop a blocking
        :class:`~airflow_provider_b24.rest.tokens.TokenStore` is accepted, but blocks the loop.
    :param tariff: the portal's plan, ``standard`` or ``enterprise``: how many requests it accepts.
    :param timeout: seconds to wait for a connection, and for each part of a response; a batch may take twice as long.
    :param trusted_hosts: hosts, with or without port, that the portal may move to, besides others of its family
        ``*.bitrix24.xx``.
    :param deadline: seconds a call may take in all, waiting and repeating included; ``None`` for any time.
    :param verify: whether to check certificates, or the file or folder of the authorities to trust instead of those
        that the environment names (``REQUESTS_CA_BUNDLE``, ``SSL_CERT_FILE``, …) or that come with Python's HTTP
        libraries. It does not concern Bitrix24's own authorization servers: an application's secret goes to no other.
    :param reconnect: looks the credentials up again, with the token store, when the portal refuses them: someone may
        have replaced them. Others for the same portal are called with from then on. In an event loop it may be a
        coroutine function.
    :param observer: who is told about requests, waits and retries.
    :param patience: all settings of time and repetition at once, instead of ``timeout`` and ``deadline``.
    :param operating_limit: seconds of operating time after which a method is not called before its reset; ``None``
        for a self-hosted portal without this limit.
    :param batch_size: calls in one request, at most 50. Requests get smaller by themselves when they take too long.
    :param methods: what the caller knows about methods, or about groups whose names end in a dot; see
        :mod:`airflow_provider_b24.rest.methods`.
    :param shared_limit: where the portal's request limit is shared with other processes, see
        :mod:`airflow_provider_b24.rest.shared_limit`; ``None`` keeps it in this one.
    :param clock: seconds that only grow; together with ``sleep`` for a portal whose clock can be moved.
    :param sleep: waits so many seconds.
    :param chance: random numbers from 0 to 1, for the delays.
    :raises ValueError: when the settings contradict each other.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        token_store: _Store | None = None,
        tariff: str = "standard",
        timeout: float = 30.0,
        trusted_hosts: Iterable[str] = (),
        deadline: float | None = None,
        verify: bool | str = True,
        reconnect: Callable[[], Any] | None = None,
        observer: Observer | None = None,
        patience: Patience | None = None,
        operating_limit: float | None = OPERATING_LIMIT,
        batch_size: int = MAX_CALLS,
        methods: Mapping[str, MethodFacts] | None = None,
        shared_limit: SharedLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not isinstance(credentials, (Webhook, OAuthApp)):
            raise ValueError(f"Credentials are a Webhook or an OAuthApp, not {type(credentials).__name__}")
        if isinstance(credentials, OAuthApp) and token_store is None:
            raise ValueError("An OAuth application needs a token store: its tokens change every hour")
        redact_http_logs()
        self._session = Session(
            credentials,
            tariff=tariff,
            patience=patience or Patience(timeout=timeout, deadline=deadline),
            trusted_hosts=tuple(trusted_hosts),
            observer=observer,
            operating_limit=operating_limit,
            batch_size=batch_size,
            methods=methods,
            store_key=getattr(token_store, "key", None),
            shared_limit=shared_limit,
            clock=clock,
            chance=chance,
        )
        self._store = token_store
        self._verify = verify
        self._reconnect = reconnect
        self._sleep = sleep
        self._lock = threading.Lock()
        _clients.add(self)

    @property
    def portal(self) -> str:
        """The portal's host, the new one when it has moved."""
        return self._session.portal

    def waiting_time(self) -> float:
        """Seconds until the portal's limit has room for one more request."""
        return self._session.pacer.waiting_time()

    def takes_event_token(self, method: str) -> bool:
        """Tell whether a method speaks to a process that waits."""
        return self._session.facts(method).takes_event_token

    def _listing(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        id_field: str,
        limit: int | None,
        deadline: float | None,
        api: ApiVersion,
    ) -> Conversation[None]:
        if api == "v3":
            call = Call(method, params or {}, repeatable=True, deadline=deadline, api=api)
            return converse_list_v3(call, self._session, id_field=id_field, limit=limit)
        call = Call(method, params or {}, api=api)
        return converse_list(call, self._session, id_field=id_field, limit=limit, deadline=deadline)

    def _download(self, source: int | str, file: PartFile, deadline: float | None) -> Conversation[int]:
        from airflow_provider_b24.rest.downloads import converse_download

        return converse_download(source, self._session, file, deadline=deadline)

    def _reconnected(self, found: tuple[Credentials, _Store | None] | None) -> Credentials | None:
        """Take what was looked up."""
        if found is None:
            return None
        credentials, store = found
        if store is not None:
            self._store = store
        return credentials

    def _after_fork(self) -> None:
        """Share nothing with the parent process: of one connection each would read the other's responses."""
        self._lock = threading.Lock()
        self._session.forget_locks()
        self._forget_connections()

    @abstractmethod
    def _forget_connections(self) -> None:
        """Let go of the connections, without closing them: they are the parent's."""

    def _store_to_use(self, action: object) -> _Store:
        if self._store is None:
            raise RuntimeError(
                f"A conversation asked for {type(action).__name__}, which is not possible here"
            )
        return self._store


_clients: WeakSet[BaseClient[Any]] = WeakSet()


def _after_fork() -> None:
    for client in _clients:
        client._after_fork()


os.register_at_fork(after_in_child=_after_fork)


def authorities(verify: bool | str, host: str) -> bool | str:
    """Give the certificate authorities to trust, the same for both HTTP libraries.

    :param verify: what the client was told.
    :param host: scheme and host of where the request goes.
    :return: ``False`` for none, a file or directory, or ``True`` for those that the HTTP library brings.
    """
    from os import environ

    if verify is not True and host not in OAUTH_SERVERS:
        return verify
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
    return next((environ[name] for name in names if environ.get(name)), True)
