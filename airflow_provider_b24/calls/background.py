"""A thread that does small steps again and again, as long as its process lives: see :class:`Background`."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Sequence

from airflow_provider_b24._airflow.database import is_away

log = logging.getLogger(__name__)

_PAUSE = 1.0
_LONGEST_PAUSE = 10.0

Step = Callable[[], bool]
"""Does something, and tells whether there is more to do at once."""


class Background:
    """Does steps about once a second, and at once when it is woken.

    What a step raises is logged and does not end the thread: calls would wait for the next restart.

    :param steps: what to do, in order.
    :param pause: seconds between two rounds.
    """

    def __init__(self, steps: Sequence[Step], pause: float = _PAUSE) -> None:
        self._steps = steps
        self._pause = pause
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self.run, name="bitrix24-dispatcher", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Begin the next round at once."""
        self._woken.set()

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread after what it is doing."""
        self._ended.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def run(self) -> None:
        """Do the steps until :meth:`stop`."""
        pause = self._pause
        while not self._ended.is_set():
            self._woken.clear()
            results = [self._do(step) for step in self._steps]
            if None in results:
                pause = min(pause * 2, _LONGEST_PAUSE)
                self._ended.wait(pause)
                continue
            pause = self._pause
            if not any(results):
                self._woken.wait(pause)

    @staticmethod
    def _do(step: Step) -> bool | None:
        """Do a step.

        :return: ``None`` when it has failed.
        """
        try:
            return step()
        except Exception as error:
            if is_away(error):
                log.warning("Airflow's database is away, calls wait: %s", type(error).__name__)
            else:
                # Never the error's own text: it may quote a call.
                place = "".join(traceback.format_tb(error.__traceback__)[-3:])
                log.error("The work on calls failed, it is tried again: %s\n%s", type(error).__name__, place)
            return None
