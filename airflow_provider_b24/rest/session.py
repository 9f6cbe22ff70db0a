"""What the conversations of one client share: whom they talk to, as whom, how patiently, and what they have learned."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote_plus, urlsplit

from airflow_provider_b24 import __version__
from airflow_provider_b24.exceptions import Bitrix24Error, OperationTimeLimitError
from airflow_provider_b24.rest.apis import APIS
from airflow_provider_b24.rest.batch_sizes import MAX_CALLS, BatchSizes
from airflow_provider_b24.rest.credentials import (
    Credentials,
    OAuthApp,
    Tokens,
    Webhook,
    parse_portal_address,
    portal_host,
)
from airflow_provider_b24.rest.methods import Effect, MethodFacts, facts_of
from airflow_provider_b24.rest.observer import Observer
from airflow_provider_b24.rest.pacing import OPERATING_LIMIT, Pacer, pacer_for, share_pacer
from airflow_provider_b24.rest.wire import Consult, Conversation, Sleep

if TYPE_CHECKING:
    from airflow_provider_b24.rest.call import Call, ReplyTime
    from airflow_provider_b24.rest.shared_limit import SharedLimit

_T = TypeVar("_T")
logger = logging.getLogger("airflow_provider_b24.rest")

HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "Content-Type": "application/json",
    "User-Agent": f"airflow-provider-b24/{__version__}",
}
_WAITS = {
    "rate_limit": "the portal's request limit leaves no room before",
    "operating_time": "the method has used up its operating time",
    "retry": "then it is sent again",
    "renewal": "another process may be renewing the tokens",
}
"""What a wait is for, by its cause, for the log."""
_SHORT_WAIT = 1.0
"""Seconds. A shorter wait is not worth a line."""
_SILENCE = 10.0
"""Seconds between two lines, unless a wait ends so much later than what was announced."""
_CLOUD_PORTAL = re.compile(r"[a-z0-9-]+\.bitrix24\.(?:com|[a-z]{2}|com\.[a-z]{2})\Z")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client tries.

    :param timeout: seconds to wait for a connection, and for each part of an answer; a batch may take twice as long.
    :param deadline: seconds a whole call may take, waiting and repeating included; ``None`` for any time.
    :param attempts: how often a call is sent at most when the connection or the portal fails.
    :param limit_attempts: how often a call is sent at most when the portal's limits refuse it.
    :param lock_attempts: how often an answer is sent at most while the portal works on its process.
    :param first_delay: the delay after the first failure is random between 0 and this many seconds; the bound doubles
        with each failure.
    :param longest_delay: bound of that growth; 10 seconds at most where a process is locked.
    """

    timeout: float = 30.0
    deadline: float | None = None
    attempts: int = 6
    limit_attempts: int = 30
    lock_attempts: int = 40
    first_delay: float = 0.5
    longest_delay: float = 30.0


class Session:
    """The state that the conversations of one client share.

    :param credentials: webhook or OAuth application.
    :param tariff: ``standard`` or ``enterprise``.
    :param patience: how long to try.
    :param trusted_hosts: hosts, with or without port, that the portal may move to.
    :param observer: who is told about requests and waits.
    :param operating_limit: see :class:`~airflow_provider_b24.rest.pacing.Pacer`.
    :param batch_size: calls in one request, at most.
    :param methods: what the caller knows about methods, before :data:`airflow_provider_b24.rest.methods.METHODS`.
    :param store_key: names the pair of tokens for all clients of this process.
    :param shared_limit: where the portal's request limit is shared with other processes.
    :param clock: seconds that only grow.
    :param chance: random numbers from 0 to 1.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        tariff: str = "standard",
        patience: Patience | None = None,
        trusted_hosts: tuple[str, ...] = (),
        observer: Observer | None = None,
        operating_limit: float | None = OPERATING_LIMIT,
        batch_size: int = MAX_CALLS,
        methods: Mapping[str, MethodFacts] | None = None,
        store_key: str | None = None,
        shared_limit: SharedLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.credentials = credentials
        self.patience = patience or Patience()
        self.trusted_hosts = frozenset(host.lower() for host in trusted_hosts)
        self.observer = observer or Observer()
        self.clock = clock
        self.chance = chance
        self.sizes = BatchSizes(batch_size)
        self._last_line = self._announced_until = float("-inf")
        self._methods = {name.lower(): facts for name, facts in (methods or {}).items()}
        self._facts: dict[str, MethodFacts] = {}
        self.tokens: Tokens | None = None
        self.unsaved: Tokens | None = None
        self.dead_refresh_token: str | None = None
        self.portal_url = credentials.portal_url
        self.portal = portal_host(self.portal_url)
        self.pacer: Pacer = pacer_for(
            self.portal, tariff, operating_limit=operating_limit, shared=shared_limit, clock=clock
        )
        self.owner, self._caller = _owner_and_caller(credentials)
        self._keeps_results: dict[str, bool] = {}
        self.look_again_at = float("-inf")
        """When credentials that are refused are looked up again, at the earliest."""
        self.lookup_lock = threading.Lock()
        self._former: list[str] = []
        self._renewal_key = store_key or f"{self.portal} {self.owner}"
        self.renewal_lock = _renewal_lock(self._renewal_key)

    @property
    def app(self) -> OAuthApp | None:
        """The OAuth application, ``None`` for a webhook."""
        return self.credentials if isinstance(self.credentials, OAuthApp) else None

    def forget_locks(self) -> None:
        """Take new locks after a fork: one that another thread held would stay locked forever."""
        self.lookup_lock = threading.Lock()
        self.renewal_lock = _renewal_lock(self._renewal_key)

    def adopt(self, credentials: Credentials, tokens: Tokens | None) -> bool:
        """Call with other credentials from now on, if they are for the same portal.

        :param tokens: the application's stored pair.
        """
        if portal_host(credentials.portal_url) not in (self.portal, portal_host(self.credentials.portal_url)):
            return False
        self._former += self._secrets()
        self.credentials, self.tokens, self.unsaved, self.dead_refresh_token = credentials, tokens, None, None
        self.owner, self._caller = _owner_and_caller(credentials)
        return True

    def facts(self, method: str) -> MethodFacts:
        """Tell what is known about a method."""
        facts = self._facts.get(method)
        if facts is None:
            facts = self._facts[method] = facts_of(method, self._methods)
        return facts

    def effect_of(self, call: Call) -> Effect:
        """Tell what it does to make a call twice, by what the caller or the table says, or by its key."""
        effect = self.facts(call.method).effect_if(call.repeatable)
        if effect is Effect.CREATES and call.repeatable is None and self.keeps_result(call):
            return Effect.SETS
        return effect

    def keeps_result(self, call: Call) -> bool:
        """Tell whether the portal keeps what it answers to a call, so that a second one with its key does no harm.

        Of methods that add, the documentation and the portal's code say so; of others the portal's answer tells.
        """
        if call.idempotency_key is None:
            return False
        method = call.method.lower()
        return self._keeps_results.get(method, method.endswith(".add"))

    def note_key(self, call: Call, confirmed: str | None) -> None:
        """Remember whether the portal has taken notice of a call's key.

        :param confirmed: the key that it answered with.
        """
        if call.idempotency_key is None:
            return
        method = call.method.lower()
        keeps = confirmed == call.idempotency_key
        if not keeps and self._keeps_results.get(method) is not False:
            logger.warning(
                "%s at %s: the portal takes no notice of the idempotency key, so a repetition would be a second call.",
                call.method, self.portal,
            )  # fmt: skip
        self._keeps_results[method] = keeps

    def timeout_of(self, method: str) -> float:
        """Seconds to wait for each part of a response: a batch may take twice as long."""
        return self.patience.timeout * (2 if method == "batch" else 1)

    def wait(self, seconds: float, cause: str, method: str) -> Conversation[None]:
        """Wait, and say so.

        :param cause: in the observer's words.
        """
        self.observer.on_wait(seconds, cause)
        self.announce(seconds, cause, method)
        yield Sleep(seconds)

    def announce(self, seconds: float, cause: str, method: str) -> None:
        """Write a line about a wait at INFO, unless it is short or lines about others cover it.

        :param cause: in the observer's words, or ``renewal``.
        """
        now = self.clock()
        ends = now + seconds
        is_covered = now < self._last_line + _SILENCE and ends < self._announced_until + _SILENCE
        if seconds < _SHORT_WAIT or is_covered:
            return
        self._last_line, self._announced_until = now, ends
        logger.info("%s at %s waits for %.1f s: %s.", method, self.portal, seconds, _WAITS[cause])

    def ask_limit(self, question: Callable[[Pacer], _T]) -> Conversation[_T]:
        """Ask the pacer what another machine may have to be asked about."""
        if self.pacer.is_remote:
            answer: _T = yield Consult(lambda: question(self.pacer))
            return answer
        return question(self.pacer)

    def url(self, call: Call) -> str:
        """Where a call is made; with a webhook this is a secret."""
        return f"{self.portal_url}{self._path(call)}"

    def _path(self, call: Call) -> str:
        return f"{APIS[call.api].path}{self._caller}{call.method}"

    def follow(self, location: str, call: Call) -> Bitrix24Error | None:
        """Go where the portal says it has moved to, if that may be trusted.

        :param location: the redirect's target.
        :param call: what was answered so.
        :return: why not; ``None`` when the session now talks to the new address.
        """
        host, method = "", call.method
        try:
            parts = urlsplit(location)
            host = parts.hostname or ""
            new_url = parse_portal_address(f"{parts.scheme}://{parts.netloc}").url if parts.netloc else ""
        except ValueError:
            where = f"{host[:100]}, but" if host else "somewhere,"
            return self._refusal(
                method,
                f"{self.portal} redirects to {where} not to a secure address of a portal; nothing was sent there.",
            )
        if not new_url:
            return self._refusal(
                method, f"{self.portal} redirects to another page of its own; is it a portal?"
            )
        new_portal = portal_host(new_url)
        if not self.trusts(new_portal):
            return self._refusal(
                method,
                f"{self.portal} redirects to {new_portal}, which is not known to be the same portal; nothing was sent "
                f"there. If it is, name {new_portal} in the connection's host or in its trusted_hosts.",
            )
        if parts.path.rstrip("/") != self._path(call):
            return self._refusal(
                method, f"{self.portal} redirects to a page of {new_portal} that is not this method."
            )
        self.portal_url, self.portal = new_url, new_portal
        share_pacer(self.pacer, new_portal, self.clock)
        return None

    def trusts(self, portal: str) -> bool:
        """Tell whether a host may be the portal's new address."""
        name = portal.rpartition(":")[0] or portal
        if portal in self.trusted_hosts or name in self.trusted_hosts:
            return True
        return bool(_CLOUD_PORTAL.match(self.portal) and _CLOUD_PORTAL.match(portal))

    def _refusal(self, method: str, text: str) -> Bitrix24Error:
        return Bitrix24Error("untrusted_redirect", text, None, method, self.portal)

    def note_reply(self, method: str, reply_time: ReplyTime | None, portal_now: float) -> None:
        """Remember the operating time that a reply reported.

        :param portal_now: the portal's clock when the answer arrived.
        """
        if reply_time is not None and reply_time.operating is not None:
            # A number that is not the method's own closes nothing; where the portal does, its reset is still good.
            used = reply_time.operating if self.facts(method).reports_operating else 0.0
            reset_at = reply_time.operating_reset_at
            self.pacer.note_operating(self.owner, method, used, reset_at, portal_now)

    def note_error(self, method: str, error: Bitrix24Error) -> None:
        """Take note that the portal has refused a call for its method's operating time."""
        if isinstance(error, OperationTimeLimitError):
            self.pacer.close(self.owner, method)
            closed = self.pacer.closed(self.owner, method)
            if closed is not None:
                error.reset_at, error.retry_after = closed.reset_at, closed.seconds

    def scrub(self, text: str, *secrets: str) -> str:
        """Take this client's secrets, and those named, out of a text that came from outside."""
        for secret in (*secrets, *self._secrets(), *self._former):
            if secret:
                # In a batch it travels in a query.
                text = text.replace(secret, "***").replace(quote_plus(secret), "***")
        return text[:500]

    def knows_secret_in(self, text: str) -> bool:
        """Tell whether one of this client's secrets is in a text."""
        return any(secret and secret in text for secret in (*self._secrets(), *self._former))

    def _secrets(self) -> list[str]:
        own = self.credentials
        secrets = [own.code if isinstance(own, Webhook) else own.client_secret]
        for tokens in (self.tokens, self.unsaved):
            if tokens is not None:
                secrets += [tokens.access_token, tokens.refresh_token]
        return secrets


def _owner_and_caller(credentials: Credentials) -> tuple[str, str]:
    """Tell whose limits count, and what stands in front of the method where one is called."""
    if isinstance(credentials, Webhook):
        secret = f"{credentials.user_id}/{credentials.code}"
        return hashlib.sha256(secret.encode()).hexdigest()[:16], f"{secret}/"
    return credentials.client_id, ""


_renewal_locks: dict[str, threading.Lock] = {}
_registry_lock = threading.Lock()


def _renewal_lock(key: str) -> threading.Lock:
    with _registry_lock:
        return _renewal_locks.setdefault(key, threading.Lock())


def _after_fork() -> None:
    """Replace the locks: one that another thread held during the fork would stay locked forever."""
    global _registry_lock  # noqa: PLW0603
    _registry_lock = threading.Lock()
    _renewal_locks.clear()


os.register_at_fork(after_in_child=_after_fork)
