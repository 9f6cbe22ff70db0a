"""A portal's two limits as this process sees them: the leaky bucket and the operating time of each method.

Every client of a portal in this process shares one :class:`Pacer`, whatever thread or event loop it lives in, and may
share the bucket with other processes. The pacer never sleeps: it hands out reservations and says how long to wait.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from airflow_provider_b24.rest.bucket import TARIFFS, Bucket, Slot, Tariff

if TYPE_CHECKING:
    from airflow_provider_b24.rest.shared_limit import SharedLimit

logger = logging.getLogger("airflow_provider_b24.rest")

Clock = Callable[[], float]
_T = TypeVar("_T")

OPERATING_LIMIT = 480.0
_BASKET = 60.0
_BASKETS = 10
# The portal names the reset in whole seconds, without the fraction that is still to pass.
_ROUNDING = 1.0
_ALONE = 10.0
"""Seconds for which a process goes on by itself after what it shares could not be used."""


class Closed(NamedTuple):
    """A method that has used up its operating time.

    :param seconds: seconds until it opens.
    :param reset_at: the same as Unix time by the portal's clock, ``None`` if the portal never said.
    """

    seconds: float
    reset_at: float | None


class _Operating(NamedTuple):
    used: float
    resets: float
    reset_at: float | None
    refused: bool


class Pacer:
    """One portal's limits.

    :param tariff: the portal's plan.
    :param operating_limit: seconds of operating time after which a method is known to be closed; ``None`` to
        believe refusals only (a self-hosted portal whose limit is off).
    :param portal: the portal's host, under which the bucket is shared.
    :param shared: where the bucket is shared with other processes; ``None`` keeps it in this one.
    :param clock: seconds that only grow.
    """

    def __init__(
        self,
        tariff: Tariff,
        *,
        operating_limit: float | None = OPERATING_LIMIT,
        portal: str = "",
        shared: SharedLimit | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._tariff = tariff
        self._operating_limit = operating_limit
        self._portal = portal
        self._shared = shared
        self._clock = clock
        self._own = Bucket.empty(tariff, clock())
        self._alone_until = float("-inf")
        self._told = False
        self._operating: dict[tuple[str, str], _Operating] = {}
        self._lock = threading.Lock()
        self._operating_lock = threading.Lock()

    def adopt(self, tariff: Tariff, operating_limit: float | None, shared: SharedLimit | None) -> None:
        """Keep other limits from now on: what was used up stays used up."""
        with self._lock:
            self._tariff = tariff
            self._operating_limit = operating_limit
            self._shared = shared or self._shared

    @property
    def is_remote(self) -> bool:
        """Whether asking about the bucket may take a while, because it is shared by way of another machine."""
        return self._shared is not None and self._shared.is_remote and self._clock() >= self._alone_until

    def waiting_time(self) -> float:
        """Seconds until a request could be sent if it were reserved now; by what is known without asking elsewhere."""
        if self.is_remote:
            return self._own.wait(self._clock())
        return self._look(lambda bucket, now: bucket.wait(now))

    def reserve(self, longest_wait: float | None = None) -> Slot | float:
        """Take the next place in the bucket.

        :param longest_wait: seconds the caller can wait; ``None`` for any time.
        :return: the slot; or, when it would come later than ``longest_wait``, the seconds it would have taken, and
            nothing is reserved.
        """
        return self._change(lambda bucket, now: bucket.reserve(now, longest_wait))

    def is_current(self, slot: Slot) -> bool:
        """Whether a slot that was waited for still holds: a refusal in between makes all of them void."""
        return self._look(lambda bucket, _: bucket.is_current(slot))

    def release(self, slot: Slot) -> None:
        """Give back a slot that was not used."""
        self._change(lambda bucket, _: bucket.release(slot))

    def overflow(self, slot: Slot | None = None, chance: float = 0.0) -> None:
        """Take note that the portal refused a request: its bucket is full, whatever this one says.

        All outstanding slots become void, so that those who wait queue up behind the corrected level instead of
        running into the same wall one after the other.

        :param slot: the place that was refused.
        :param chance: from 0 to 1, see :meth:`Bucket.overflow`.
        """
        self._change(lambda bucket, now: bucket.overflow(now, slot, chance))

    def _look(self, use: Callable[[Bucket, float], _T]) -> _T:
        return self._with_bucket(use, keep=False)

    def _change(self, use: Callable[[Bucket, float], _T]) -> _T:
        return self._with_bucket(use, keep=True)

    def _with_bucket(self, use: Callable[[Bucket, float], _T], *, keep: bool) -> _T:
        with self._lock:
            if self._shared is not None and self._clock() >= self._alone_until:
                try:
                    return self._with_shared(self._shared, use, keep=keep)
                except Exception as error:
                    self._go_on_alone(error)
            now = self._clock()
            self._own.fit(self._tariff, now)
            return use(self._own, now)

    def _with_shared(self, shared: SharedLimit, use: Callable[[Bucket, float], _T], *, keep: bool) -> _T:
        def change(text: str | None, now: float) -> tuple[str | None, _T]:
            bucket = self._read(text, now)
            bucket.fit(self._tariff, now)
            result = use(bucket, now)
            record = bucket.to_json(now) if keep else None
            # If it cannot be used the next time, this process begins with what it knows.
            bucket.move(self._clock() - now)
            self._own = bucket
            return record, result

        return shared.update(self._portal, change)

    def _read(self, text: str | None, now: float) -> Bucket:
        if text is None:
            return Bucket.empty(self._tariff, now)
        try:
            bucket = Bucket.from_json(text)
        except ValueError:
            self._tell(
                "The record of the request limit of %s cannot be read, and is started again.", self._portal
            )
            return Bucket.empty(self._tariff, now)
        if now < bucket.at:
            bucket.move(now - bucket.at)  # Someone has put the clock back.
        return bucket

    def _go_on_alone(self, error: Exception) -> None:
        self._alone_until = self._clock() + _ALONE
        # The words of others may hold a password.
        place = f" at {error.filename}" if isinstance(error, OSError) and error.filename else ""
        self._tell(
            "The request limit of %s cannot be shared with other processes now (%s%s), so this one keeps it by itself.",
            self._portal, type(error).__name__, place,
        )  # fmt: skip

    def _tell(self, text: str, *values: object) -> None:
        if not self._told:
            self._told = True
            logger.warning(text, *values)

    def note_operating(
        self, owner: str, method: str, used: float, reset_at: float | None, portal_now: float
    ) -> None:
        """Remember the operating time a reply reported.

        :param owner: whose limit it is: an application or a webhook.
        :param portal_now: the portal's clock when it replied; only the difference counts, so that a clock that is
            wrong on either side does no harm.
        """
        resets = self._clock() + (
            # No basket is kept for longer, whatever a portal says.
            min(max(0.0, reset_at - portal_now), _BASKETS * _BASKET) + _ROUNDING
            if reset_at and portal_now
            else _BASKET
        )
        with self._operating_lock:
            self._operating[owner, method.lower()] = _Operating(used, resets, reset_at, refused=False)

    def close(self, owner: str, method: str) -> None:
        """Take note that the portal refused a method for its operating time."""
        key = (owner, method.lower())
        with self._operating_lock:
            now = self._clock()
            known = self._operating.get(key)
            if known is not None and known.resets > now:
                self._operating[key] = known._replace(refused=True)
            else:
                # Nothing was ever reported, or the oldest basket is gone and the rest is still too much: the next
                # basket empties within a minute.
                reset_at = None if known is None or known.reset_at is None else known.reset_at + _BASKET
                self._operating[key] = _Operating(0.0, now + _BASKET, reset_at, refused=True)

    def closed(self, owner: str, method: str) -> Closed | None:
        """How long a method is known to stay closed, ``None`` when it is open."""
        known = self._operating.get((owner, method.lower()))
        if known is None:
            return None
        over = self._operating_limit is not None and known.used >= self._operating_limit
        if not (known.refused or over):
            return None
        seconds = known.resets - self._clock()
        return Closed(seconds, known.reset_at) if seconds > 0 else None

    def _forget_locks(self) -> None:
        self._lock, self._operating_lock = threading.Lock(), threading.Lock()


_pacers: dict[tuple[str, Clock], Pacer] = {}
_registry_lock = threading.Lock()


def pacer_for(
    host: str,
    tariff: str = "standard",
    *,
    operating_limit: float | None = OPERATING_LIMIT,
    shared: SharedLimit | None = None,
    clock: Clock = time.monotonic,
) -> Pacer:
    """Give the pacer that every client of this portal in this process shares.

    :param host: the portal's host, with its port if it is not the usual one.
    :param tariff: ``standard`` or ``enterprise``; the client made last decides for all.
    :param shared: where the bucket is shared with other processes; the client made last that says so decides for all.
    :raises ValueError: for an unknown tariff.
    """
    if tariff not in TARIFFS:
        raise ValueError(f"Unknown tariff {tariff!r}: expected one of {', '.join(sorted(TARIFFS))}")
    with _registry_lock:
        pacer = _pacers.get((host.lower(), clock))
        if pacer is None:
            pacer = Pacer(
                TARIFFS[tariff],
                operating_limit=operating_limit,
                portal=host.lower(),
                shared=shared,
                clock=clock,
            )
            _pacers[host.lower(), clock] = pacer
        else:
            pacer.adopt(TARIFFS[tariff], operating_limit, shared)
        return pacer


def share_pacer(pacer: Pacer, host: str, clock: Clock) -> None:
    """Let a portal that has moved keep its pacer under its new address."""
    with _registry_lock:
        _pacers.setdefault((host.lower(), clock), pacer)


def _after_fork() -> None:
    """Replace the locks: one that another thread held during the fork would stay locked forever."""
    global _registry_lock  # noqa: PLW0603
    _registry_lock = threading.Lock()
    for pacer in _pacers.values():
        pacer._forget_locks()


os.register_at_fork(after_in_child=_after_fork)
