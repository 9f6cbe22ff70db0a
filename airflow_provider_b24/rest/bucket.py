"""The leaky bucket of a portal, as those who share it keep it: how full it is, and what refusals have taught.

A portal lets requests leak out once per second, and nobody can know when in that second. What keeps to it whatever
the moment: in any ``t`` seconds send no more than the threshold and what leaks in ``t`` *whole* seconds. So the bucket
is kept as lanes, one for each request that leaks out in a second. A lane is empty after as many seconds as it holds
requests.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import NamedTuple


class Tariff(NamedTuple):
    """What a portal's plan allows.

    :param threshold: requests the bucket holds.
    :param leak: requests that leak out of it per second.
    """

    threshold: int
    leak: int


TARIFFS = {"standard": Tariff(50, 2), "enterprise": Tariff(250, 5)}
MARGIN = 0.25
"""Seconds by which requests may come closer together at the portal than they were sent."""
_RECOVERY = 30.0
"""Seconds in which a share that refusals have halved doubles again."""
_SMALLEST_SHARE = 1 / 128
_PAUSE = 2.0
"""Seconds that those who have all of the bucket pause at most after a refusal; who has a part, so much longer."""
_SOON = 60.0
"""Seconds. A refusal so soon after the last one says that others use the bucket, too; before, it may be chance."""


class Slot(NamedTuple):
    """A reserved place in the bucket.

    :param wait: seconds until it may be used.
    :param epoch: the state of knowledge it was given under, see :meth:`Bucket.is_current`.
    :param lane: where it is.
    :param cost: seconds by which it fills its lane.
    """

    wait: float
    epoch: int
    lane: int = 0
    cost: float = 1.0


@dataclass(slots=True)
class Bucket:
    """The state of one bucket. Times are seconds of whatever clock its keeper has.

    :param lanes: when each lane is empty.
    :param threshold: requests all lanes hold together.
    :param epoch: how often all slots became void.
    :param share: what part of the bucket those who keep this may use, when a portal last refused: 1 is all of it.
    :param refused: when that was.
    :param at: when this was written.
    """

    lanes: list[float]
    threshold: int
    epoch: int = 0
    share: float = 1.0
    refused: float = -math.inf
    at: float = 0.0

    @classmethod
    def empty(cls, tariff: Tariff, now: float) -> Bucket:
        """Make a bucket that nothing has flown into."""
        return cls([now] * tariff.leak, tariff.threshold)

    @classmethod
    def from_json(cls, text: str) -> Bucket:
        """Read what :meth:`to_json` has written.

        :raises ValueError: when it is something else.
        """
        try:
            bucket = cls(**json.loads(text))
            numbers = [*bucket.lanes, bucket.threshold, bucket.epoch, bucket.share, bucket.at]
            usable = all(math.isfinite(number) for number in numbers) and not math.isnan(bucket.refused)
            usable = usable and len(bucket.lanes) <= bucket.threshold and 0 < bucket.share <= 1
        except (TypeError, OverflowError, RecursionError) as error:
            raise ValueError("no bucket") from error
        if not (usable and bucket.lanes):
            raise ValueError("no bucket")
        return bucket

    def to_json(self, now: float) -> str:
        """Write the bucket."""
        self.at = now
        return json.dumps(asdict(self))

    def fit(self, tariff: Tariff, now: float) -> None:
        """Keep the limits of a tariff from now on: what is in the bucket stays in it, and slots become void."""
        if (len(self.lanes), self.threshold) != (tariff.leak, tariff.threshold):
            level = sum(max(0.0, empty - now) for empty in self.lanes)
            self.lanes = [now + level / tariff.leak] * tariff.leak
            self.threshold = tariff.threshold
            self.epoch += 1

    def wait(self, now: float) -> float:
        """Seconds until a request may be sent if it were reserved now."""
        return self._wait(min(self.lanes), now)

    def reserve(self, now: float, longest_wait: float | None) -> Slot | float:
        """Take the next place.

        :return: the slot; or, when it would come later than ``longest_wait``, the seconds it would have taken, and
            nothing is reserved.
        """
        lane = min(range(len(self.lanes)), key=self.lanes.__getitem__)
        wait = self._wait(self.lanes[lane], now)
        if longest_wait is not None and wait > longest_wait:
            return wait
        cost = 1 / self._share_at(now)
        self.lanes[lane] = max(self.lanes[lane], now + wait) + cost
        return Slot(wait, self.epoch, lane, cost)

    def _wait(self, empty: float, now: float) -> float:
        # Below a microsecond it is rounding, not waiting.
        return max(0.0, round(empty + MARGIN - self._depth + 1 - now, 6))

    @property
    def _depth(self) -> float:
        """Requests that a lane holds, and so the seconds that it takes to leak out."""
        return self.threshold / len(self.lanes)

    def is_current(self, slot: Slot) -> bool:
        """Whether a slot that was waited for still holds: a refusal in between makes all of them void."""
        return slot.epoch == self.epoch

    def release(self, slot: Slot) -> None:
        """Take back a slot that was not used."""
        if self.is_current(slot):
            self.lanes[slot.lane] -= slot.cost

    def overflow(self, now: float, slot: Slot | None, chance: float) -> None:
        """Take note that the portal has refused a request: its bucket is full, whatever this one says.

        Those who wait queue up behind the corrected level. If it is not the first refusal for a while, others use the
        bucket who are not seen here: a smaller share of it is used then, which grows again with time.

        :param slot: what was refused. What was sent under knowledge that has been corrected since teaches nothing.
        :param chance: from 0 to 1, so that those who do not see each other do not come back together.
        """
        if slot is not None and not self.is_current(slot):
            return
        share = self._share_at(now)
        if now - self.refused < _SOON:
            share = max(_SMALLEST_SHARE, share / 2)
        self.share, self.refused = share, now
        self.lanes = [now + self._depth + _PAUSE * chance / share] * len(self.lanes)
        self.epoch += 1

    def _share_at(self, now: float) -> float:
        # Not 2 to the power of anything larger: that overflows.
        doublings = min((now - self.refused) / _RECOVERY, 10.0)
        return min(1.0, self.share * 2**doublings)

    def move(self, seconds: float) -> None:
        """Count by another clock from now on, which shows so many seconds more."""
        self.lanes = [empty + seconds for empty in self.lanes]
        self.refused += seconds
        self.at += seconds
