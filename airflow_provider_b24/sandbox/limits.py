"""The portal's two limits: how many requests, and how much execution time.

Documented on https://apidocs.bitrix24.com/limits.html.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_b24.sandbox.errors import RestError

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.clock import Clock

#: Requests a bucket holds, and how many leave it once per second, by tariff.
TARIFFS = {"standard": (50, 2), "enterprise": (250, 5)}
#: Seconds of execution time one method may use within ten minutes.
OPERATING_LIMIT = 480.0
_BASKET_LIFE = 600.0
# A call below this counts as nothing: the documentation's own replies show `operating: 0` after 20 ms.
_FREE_SECONDS = 0.1


class LeakyBuckets:
    """One bucket for each source address.

    The level falls by the whole rate once per second, as documented, not by a fraction every moment:
    who counts on fractions is refused here as he would be there.
    """

    def __init__(self, clock: Clock, tariff: str) -> None:
        if tariff not in TARIFFS:
            raise ValueError(f"No tariff {tariff!r}: choose one of {', '.join(TARIFFS)}")
        self._clock = clock
        self.threshold, self.rate = TARIFFS[tariff]
        self._levels: dict[str, tuple[int, float]] = {}

    def pour(self, source: str) -> None:
        """Count one request.

        :param source: the caller's address.
        :raises RestError: `503 QUERY_LIMIT_EXCEEDED` when the bucket is full, which counts no further.
        """
        now = self._clock.now()
        level, since = self._levels.get(source, (0, now))
        seconds = math.floor(now - since)
        if seconds > 0:
            level = max(0, level - seconds * self.rate)
            since = since + seconds if level else now
        if level >= self.threshold:
            self._levels[source] = (level, since)
            raise RestError(503, "QUERY_LIMIT_EXCEEDED", "Too many requests")
        self._levels[source] = (level + 1, since if level else now)

    def level(self, source: str) -> int:
        """Return how full a bucket is now."""
        now = self._clock.now()
        level, since = self._levels.get(source, (0, now))
        return max(0, level - math.floor(now - since) * self.rate)

    def empty(self) -> None:
        """Empty all buckets."""
        self._levels.clear()

    def levels(self) -> dict[str, int]:
        """Return how full each bucket was when it was last used."""
        return {source: level for source, (level, _) in self._levels.items()}


@dataclass(slots=True)
class _Basket:
    minute: int
    opened: float
    seconds: float


class OperatingTime:
    """Execution time by caller and method, in one-minute baskets that count for ten minutes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._baskets: dict[tuple[str, str], list[_Basket]] = {}

    def check(self, caller: str, method: str) -> None:
        """Refuse a call whose method has used up its time.

        :raises RestError: `429 OPERATION_TIME_LIMIT`.
        """
        if sum(basket.seconds for basket in self._live(caller, method)) > OPERATING_LIMIT:
            raise RestError(429, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.")

    def spend(self, caller: str, method: str, seconds: float) -> tuple[float, int]:
        """Add what a call took; return the accumulated seconds and when the oldest of them are forgotten."""
        now = self._clock.now()
        baskets = self._live(caller, method)
        minute = int(now // 60)
        if not baskets or baskets[-1].minute != minute:
            baskets.append(_Basket(minute, now, 0.0))
        if seconds >= _FREE_SECONDS:
            baskets[-1].seconds += seconds
        total = sum(basket.seconds for basket in baskets)
        return total, int(baskets[0].opened + _BASKET_LIFE)

    def used(self) -> dict[tuple[str, str], float]:
        """Return the seconds that count now, by caller and method, where there are any."""
        sums = {key: sum(basket.seconds for basket in self._live(*key)) for key in list(self._baskets)}
        return {key: seconds for key, seconds in sums.items() if seconds}

    def forget(self) -> None:
        """Forget what was used."""
        self._baskets.clear()

    def _live(self, caller: str, method: str) -> list[_Basket]:
        baskets = self._baskets.setdefault((caller, method), [])
        horizon = self._clock.now() - _BASKET_LIFE
        while baskets and baskets[0].opened <= horizon:
            baskets.pop(0)
        return baskets
