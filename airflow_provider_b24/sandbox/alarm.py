"""Wakes processes up whose patience ends while nobody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from airflow_provider_b24.sandbox.clock import Clock
    from airflow_provider_b24.sandbox.processes import ProcessEngine


class Alarm:
    """One timer in the portal's event loop, always set to the next deadline."""

    def __init__(self, engine: ProcessEngine, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._clock = clock
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        clock.add_listener(self.ring)

    def set(self) -> None:
        """Set the timer again, as the next deadline or the clock has changed."""
        if not self._clock.frozen:
            self._loop.call_soon_threadsafe(self._set)

    def ring(self) -> None:
        """Let processes go on whose patience has ended."""
        self._engine.pass_deadlines()
        self.set()

    def stop(self) -> None:
        """Never ring again."""
        self._clock.remove_listener(self.ring)

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._engine.next_deadline()
        if deadline is not None:
            self._timer = self._loop.call_later(max(0.0, deadline - self._clock.now()), self.ring)
