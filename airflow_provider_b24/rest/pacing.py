"""A portal's two limits as this process sees them: the leaky bucket and the operating time of each method.

Every client of a portal in this process shares one :class:`Pacer`, whatever thread or event loop it lives in. The
pacer never sleeps: it hands out reservations and says how long to wait.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

Clock = Callable[[], float]


class Tariff(NamedTuple):
    """What a portal's plan allows.

    :param threshold: requests the bucket holds.
    :param leak: requests that leak out of it per second.
    """

    threshold: int
    leak: float


TARIFFS = {"standard": Tariff(50, 2.0), "enterprise": Tariff(250, 5.0)}
OPERATING_LIMIT = 480.0
_BASKET = 60.0
# The portal names the reset in whole seconds, without the fraction that is still to pass.
_ROUNDING = 1.0


class Slot(NamedTuple):
    """A reserved place in the bucket.

    :param wait: seconds until it may be used.
    :param epoch: the state of knowledge it was given under, see :meth:`Pacer.is_current`.
    """

    wait: float
    epoch: int


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
    :param clock: seconds that only grow.
    """

    def __init__(
        self,
        tariff: Tariff,
        *,
        operating_limit: float | None = OPERATING_LIMIT,
        clock: Clock = time.monotonic,
    ) -> None:
        self._tariff = tariff
        self._operating_limit = operating_limit
        self._clock = clock
        # The portal lets the bucket leak once per second, not continuously: up to one second's leak may still be
        # in it when ours is gone already.
        self._room = tariff.threshold - tariff.leak
        self._empty_at = clock()
        self._epoch = 0
        self._operating: dict[tuple[str, str], _Operating] = {}
        self._lock = threading.Lock()

    def adopt(self, tariff: Tariff, operating_limit: float | None) -> None:
        """Keep other limits from now on: what was used up stays used up."""
        with self._lock:
            if tariff != self._tariff:
                now = self._clock()
                level = max(0.0, self._empty_at - now) * self._tariff.leak
                self._tariff, self._room = tariff, tariff.threshold - tariff.leak
                self._empty_at = now + level / tariff.leak
                self._epoch += 1
            self._operating_limit = operating_limit

    def waiting_time(self) -> float:
        """Seconds until a request could be sent if it were reserved now."""
        with self._lock:
            return self._wait(self._clock())

    def reserve(self, longest_wait: float | None = None) -> Slot | float:
        """Take the next place in the bucket.

        :param longest_wait: seconds the caller can wait; ``None`` for any time.
        :return: the slot; or, when it would come later than ``longest_wait``, the seconds it would have taken, and
            nothing is reserved.
        """
        with self._lock:
            now = self._clock()
            wait = self._wait(now)
            if longest_wait is not None and wait > longest_wait:
                return wait
            self._empty_at = max(self._empty_at, now) + 1 / self._tariff.leak
            return Slot(wait, self._epoch)

    def _wait(self, now: float) -> float:
        level = max(0.0, self._empty_at - now) * self._tariff.leak
        # Below a microsecond it is rounding, not waiting.
        return max(0.0, round((level + 1 - self._room) / self._tariff.leak, 6))

    def is_current(self, slot: Slot) -> bool:
        """Whether a slot that was waited for still holds: a refusal in between makes all of them void."""
        return slot.epoch == self._epoch

    def release(self, slot: Slot) -> None:
        """Give back a slot that was not used."""
        with self._lock:
            if slot.epoch == self._epoch:
                self._empty_at -= 1 / self._tariff.leak

    def overflow(self) -> None:
        """Take note that the portal refused a request: its bucket is full, whatever this one says.

        All outstanding slots become void, so that those who wait queue up behind the corrected level instead of
        running into the same wall one after the other.
        """
        with self._lock:
            self._empty_at = self._clock() + self._tariff.threshold / self._tariff.leak
            self._epoch += 1

    def note_operating(
        self, owner: str, method: str, used: float, reset_at: float | None, portal_now: float
    ) -> None:
        """Remember the operating time a reply reported.

        :param owner: whose limit it is: an application or a webhook.
        :param portal_now: the portal's clock when it replied; only the difference counts, so that a clock that is
            wrong on either side does no harm.
        """
        resets = self._clock() + (
            max(0.0, reset_at - portal_now) + _ROUNDING if reset_at and portal_now else _BASKET
        )
        with self._lock:
            self._operating[owner, method.lower()] = _Operating(used, resets, reset_at, refused=False)

    def close(self, owner: str, method: str) -> None:
        """Take note that the portal refused a method for its operating time."""
        key = (owner, method.lower())
        with self._lock:
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

    def _forget_lock(self) -> None:
        self._lock = threading.Lock()


_pacers: dict[tuple[str, Clock], Pacer] = {}
_registry_lock = threading.Lock()


def pacer_for(
    host: str,
    tariff: str = "standard",
    *,
    operating_limit: float | None = OPERATING_LIMIT,
    clock: Clock = time.monotonic,
) -> Pacer:
    """Give the pacer that every client of this portal in this process shares.

    :param host: the portal's host, with its port if it is not the usual one.
    :param tariff: ``standard`` or ``enterprise``; the client made last decides for all.
    :raises ValueError: for an unknown tariff.
    """
    if tariff not in TARIFFS:
        raise ValueError(f"Unknown tariff {tariff!r}: expected one of {', '.join(sorted(TARIFFS))}")
    with _registry_lock:
        pacer = _pacers.get((host.lower(), clock))
        if pacer is None:
            pacer = Pacer(TARIFFS[tariff], operating_limit=operating_limit, clock=clock)
            _pacers[host.lower(), clock] = pacer
        else:
            pacer.adopt(TARIFFS[tariff], operating_limit)
        return pacer


def share_pacer(pacer: Pacer, host: str, clock: Clock) -> None:
    """Let a portal that has moved keep its pacer under its new address."""
    with _registry_lock:
        _pacers.setdefault((host.lower(), clock), pacer)


def _after_fork() -> None:
    """Replace the locks: one that another thread held during the fork would stay locked for ever."""
    global _registry_lock  # noqa: PLW0603
    _registry_lock = threading.Lock()
    for pacer in _pacers.values():
        pacer._forget_lock()


os.register_at_fork(after_in_child=_after_fork)
