"""When a call that failed is sent again: how often, after what delay, and never what must not be done twice."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_b24.exceptions import (
    Bitrix24Error,
    EventTokenError,
    ExpiredTokenError,
    OperationTimeLimitError,
    ProcessLockedError,
    RateLimitError,
    ServerError,
    TransportError,
)
from airflow_provider_b24.rest._errors import SYSTEM_ERRORS
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.methods import Effect

if TYPE_CHECKING:
    from airflow_provider_b24.rest.bucket import Slot
    from airflow_provider_b24.rest.credentials import Tokens
    from airflow_provider_b24.rest.session import Session

logger = logging.getLogger("airflow_provider_b24.rest")

_LONGEST_LOCK_DELAY = 10.0
"""Seconds. A process is locked while one request works on it, a minute at most: waiting longer gains nothing."""
_LONGEST_RUN = 60.0
"""Seconds a portal works on a request, at most. Until then a second one with the same key may run beside the first."""
_NOTHING_LEFT = re.compile(r"not.?found|not.?exist|не найден|не существует|^404$", re.IGNORECASE)
"""How portals say that there is nothing to end: there is no one code for it."""


class Again(NamedTuple):
    """Send the call again.

    :param delay: after so many seconds, besides what the portal's limits demand.
    :param cause: why, in the observer's words.
    """

    delay: float
    cause: str


class Progress:
    """How far one call has come: its attempts, its time, and whether the portal may already have done it.

    :param deadline: seconds the call may take in all, where it has no deadline of its own; ``None`` for the session's.
    """

    def __init__(self, call: Call, session: Session, deadline: float | None = None) -> None:
        self.call = call
        self.effect = session.effect_of(call)
        self.attempt = 0
        self.used: Tokens | None = None
        self.slot: Slot | None = None
        """The place in the portal's bucket that the last request had."""
        self.portal_now = 0.0
        self.seconds = 0.0
        """How long the last request took."""
        self._session = session
        self._failures = 0
        self._refusals = 0
        self._locks = 0
        self.maybe_done = False
        """Whether an attempt may have done the work although no good response came."""
        limits = (call.deadline, deadline, session.patience.deadline)
        limit = next((seconds for seconds in limits if seconds is not None), None)
        self._ends = None if limit is None else session.clock() + limit

    def remaining(self) -> float | None:
        """Seconds left until the deadline, ``None`` if there is none."""
        return None if self._ends is None else max(0.0, self._ends - self._session.clock())

    def judge(self, error: Bitrix24Error) -> Again | Reply | Bitrix24Error:
        """Decide what a failure means.

        :return: whether to send the call again; or that it was done by an earlier attempt; or the error to report.
        """
        if self.maybe_done and self.effect is Effect.ENDS and _says_nothing_is_left(error):
            logger.warning(
                "%s at %s: repeated after a failure without a response, it was told that there is nothing left to do "
                "(%s). The first copy had arrived: it counts as %s.",
                self.call.method, self._session.portal, error.code,
                "delivered" if isinstance(error, EventTokenError) else "done",
            )  # fmt: skip
            return Reply(result=True)
        lost = error.ambiguous and isinstance(error, TransportError)
        self.maybe_done |= error.ambiguous
        error.ambiguous = self.maybe_done
        if self.maybe_done and self.effect is Effect.CREATES:
            error.retryable = False
        # A token that is still called expired after its renewals does not become good by asking again.
        if not error.retryable or isinstance(error, ExpiredTokenError):
            return error
        by_key = self.effect is Effect.SETS and self._session.keeps_result(self.call)
        return self._next_attempt(error, _LONGEST_RUN - self.seconds if lost and by_key else 0.0)

    def _next_attempt(self, error: Bitrix24Error, shortest_delay: float) -> Again | Bitrix24Error:
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
        delay = max(delay, shortest_delay)
        remaining = self.remaining()
        if tries >= bound or (remaining is not None and delay >= remaining):
            return error
        return Again(delay, _cause(error))


def _says_nothing_is_left(error: Bitrix24Error) -> bool:
    if isinstance(error, EventTokenError):
        return True
    if type(error) is not Bitrix24Error or error.code.upper() in SYSTEM_ERRORS:
        return False
    return bool(_NOTHING_LEFT.search(error.code) or _NOTHING_LEFT.search(error.description))


def _cause(error: Bitrix24Error) -> str:
    if isinstance(error, RateLimitError):
        return "rate_limit"
    if isinstance(error, ProcessLockedError):
        return "locked"
    return "server" if isinstance(error, ServerError) else "transport"
