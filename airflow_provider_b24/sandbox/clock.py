"""The portal's clock: real time plus an offset that a test moves."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """What the portal takes for the present moment.

    :param frozen: stand still between calls of :meth:`advance`, so that nothing leaks, expires or
        times out by itself.
    :param start: Unix time to begin with, the real one by default.
    """

    def __init__(self, *, frozen: bool = False, start: float | None = None) -> None:
        self.frozen = frozen
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        base = time.time() if start is None else start
        self._offset = base if frozen else base - time.time()

    def now(self) -> float:
        """Return the present moment as Unix time in seconds."""
        return self._offset if self.frozen else time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward; whatever falls due happens before this returns.

        :param seconds: how far, not negative.
        :raises ValueError: for a negative distance.
        """
        if seconds < 0:
            raise ValueError(f"A clock moves forward only, not by {seconds} seconds")
        with self._lock:
            self._offset += seconds
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every :meth:`advance`."""
        with self._lock:
            self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[], None]) -> None:
        """Forget a listener; one that is not known is no error."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
