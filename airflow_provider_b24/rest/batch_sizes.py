"""How many calls a request may carry: fewer after one that took too long, more again when it goes well."""

from __future__ import annotations

from collections.abc import Collection

MAX_CALLS = 50
"""Calls in one batch, at most: the portal's own limit."""
_GROWTH = 1.25


class BatchSizes:
    """The sizes that one client has found to work, by method: a slow one does not hold up the others.

    :param largest: calls in one request, at most.
    :raises ValueError: when ``largest`` is not between 1 and 50.
    """

    def __init__(self, largest: int = MAX_CALLS) -> None:
        if not 1 <= largest <= MAX_CALLS:
            raise ValueError(f"A batch holds 1 to {MAX_CALLS} calls, not {largest}")
        self._largest = largest
        self._sizes: dict[str, int] = {}

    def of(self, method: str) -> int:
        """Tell how many calls of a method one request may carry."""
        return self._sizes.get(method.lower(), self._largest)

    def succeeded(self, methods: Collection[str], size: int, seconds: float, timeout: float) -> None:
        """Learn from a request that was answered: the next is meant to take half its timeout, at most.

        :param seconds: how long the response took.
        """
        if size == 1:
            # Alone, each request has the timeout for itself: what it took is no reason for or against two.
            seconds = min(seconds, timeout / 2 / _GROWTH)
        factor = min(_GROWTH, timeout / 2 / seconds) if seconds > 0 else _GROWTH
        for method in methods:
            # One that was not full says nothing about a larger one.
            if factor < 1 or size >= self.of(method):
                self._sizes[method.lower()] = max(1, min(self._largest, round(size * factor + 0.49)))

    def failed(self, methods: Collection[str], size: int) -> None:
        """Learn from a request that was too large, or too slow to be answered."""
        for method in methods:
            self._sizes[method.lower()] = max(1, size // 2)
