"""When a call that failed is sent again: which methods may be, how often, after what delay."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_b24.exceptions import (
    Bitrix24Error,
    EventTokenError,
    ExpiredTokenError,
    OperationTimeLimitError,
    ProcessLockedError,
    RateLimitError,
    ServerError,
)
from airflow_provider_b24.rest.call import Call, Reply

if TYPE_CHECKING:
    from airflow_provider_b24.rest.credentials import Tokens
    from airflow_provider_b24.rest.session import Session

logger = logging.getLogger("airflow_provider_b24.rest")

_SAFE_LAST_WORDS = frozenset({
    # Reading changes nothing.
    "list", "getlist", "get", "gettypes", "types", "fields", "getfields", "getfieldslist", "search", "count",
    "instances", "current", "info", "time", "history", "counters", "getavailable",
    # Doing these twice leaves the same state as doing them once.
    "update", "set", "delete", "terminate", "kill", "bind", "unbind", "clear",
})  # fmt: skip
_SAFE_METHODS = frozenset({
    "profile", "scope", "methods", "method.get", "events", "feature.get", "server.time", "app.info",
    # A step takes one answer: a repetition is ignored or refused, and a refusal after an ambiguous failure means
    # delivered.
    "bizproc.event.send",
})  # fmt: skip
# `get` by its name, but each call hands out the next portion.
_UNSAFE_METHODS = frozenset({"event.offline.get"})
_LONGEST_LOCK_DELAY = 10.0
"""Seconds. A process is locked while one request works on it, a minute at most: waiting longer gains nothing."""


def is_safe_to_repeat(call: Call) -> bool:
    """Whether a call may be sent again although the portal may have carried it out already.

    Reading and setting may be; creating (``*.add``, ``bizproc.workflow.start``) and everything unknown may not.
    :attr:`Call.repeatable` overrules.
    """
    if call.repeatable is not None:
        return call.repeatable
    method = call.method.lower()
    if method in _UNSAFE_METHODS:
        return False
    return method in _SAFE_METHODS or method.rpartition(".")[2] in _SAFE_LAST_WORDS


class Again(NamedTuple):
    """Send the call again.

    :param delay: after so many seconds, besides what the portal's limits demand.
    :param cause: why, in the observer's words.
    """

    delay: float
    cause: str


class Progress:
    """How far one call has come: its attempts, its time, and whether the portal may already have done it.

    :param deadline: seconds the call may take in all; ``None`` for the session's own deadline.
    """

    def __init__(self, call: Call, session: Session, deadline: float | None = None) -> None:
        self.call = call
        self.attempt = 0
        self.used: Tokens | None = None
        self.portal_now = 0.0
        self._session = session
        self._failures = 0
        self._refusals = 0
        self._locks = 0
        self._maybe_done = False
        limit = session.patience.deadline if deadline is None else deadline
        self._ends = None if limit is None else session.clock() + limit

    def remaining(self) -> float | None:
        """Seconds left until the deadline, ``None`` if there is none."""
        return None if self._ends is None else max(0.0, self._ends - self._session.clock())

    def judge(self, error: Bitrix24Error) -> Again | Reply | Bitrix24Error:
        """Decide what a failure means.

        :return: whether to send the call again; or that it had arrived after all; or the error to report.
        """
        if isinstance(error, EventTokenError) and self._maybe_done and self._is_answer():
            logger.warning(
                "%s at %s: the answer was refused (%s) when it was repeated after a failure without a response. The "
                "first copy had arrived: it counts as delivered.",
                self.call.method,
                self._session.portal,
                error.code,
            )
            return Reply(result=True)
        self._maybe_done |= error.ambiguous
        error.ambiguous = self._maybe_done
        if self._maybe_done and not is_safe_to_repeat(self.call):
            error.retryable = False
        # A token that is still called expired after its renewals does not become good by asking again.
        if not error.retryable or isinstance(error, ExpiredTokenError):
            return error
        return self._next_attempt(error)

    def _is_answer(self) -> bool:
        return self.call.method.lower() == "bizproc.event.send"

    def _next_attempt(self, error: Bitrix24Error) -> Again | Bitrix24Error:
        patience = self._session.patience
        if isinstance(error, OperationTimeLimitError):
            # The wait for the reset is the pacer's affair.
            self._refusals += 1
            return Again(0.0, "operating_time") if self._refusals < patience.limit_attempts else error
        longest = patience.longest_delay
        if isinstance(error, RateLimitError):
            self._refusals += 1
            tries, bound = self._refusals, patience.limit_attempts
        elif isinstance(error, ProcessLockedError):
            self._locks += 1
            tries, bound, longest = self._locks, patience.lock_attempts, min(longest, _LONGEST_LOCK_DELAY)
        else:
            self._failures += 1
            tries, bound = self._failures, patience.attempts
        delay = self._session.chance() * min(longest, patience.first_delay * 2 ** (tries - 1))
        remaining = self.remaining()
        if tries >= bound or (remaining is not None and delay >= remaining):
            return error
        return Again(delay, _cause(error))


def _cause(error: Bitrix24Error) -> str:
    if isinstance(error, RateLimitError):
        return "rate_limit"
    if isinstance(error, ProcessLockedError):
        return "locked"
    return "server" if isinstance(error, ServerError) else "transport"
