"""All values of one field in one text: parts of them are found at the speed at which memory is searched."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

# Between two values; no value that somebody looks for has it.
_BETWEEN = "\0"


class Texts:
    """The values of a field, by the numbers of their records.

    :param values: in the order of `numbers`.
    """

    def __init__(self, numbers: Sequence[int], values: Iterable[str]) -> None:
        self._numbers = list(numbers)
        parts = list(values)
        self._all = _BETWEEN.join(parts)
        self._starts = [0]
        for part in parts:
            self._starts.append(self._starts[-1] + len(part) + 1)

    def having(self, part: str) -> list[int]:
        """Return the numbers of the records whose value has this part, which is not empty."""
        if not part or _BETWEEN in part:
            raise ValueError(f"{part!r} is no part of a value")
        find, starts, numbers = self._all.find, self._starts, self._numbers
        found: list[int] = []
        following = 0
        at = find(part)
        while at >= 0:
            following = bisect_right(starts, at, following)
            found.append(numbers[following - 1])
            at = find(part, starts[following])
        return found
