"""Parts of a local Airflow that end or hang are started again, as a service manager or Kubernetes does elsewhere.

`airflow standalone` starts each part once. A part that is gone, or whose heartbeat has stopped, is missing until
someone starts all of Airflow again, and what it should have done waits as long.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import warnings
from typing import TYPE_CHECKING, Protocol

from airflow_provider_b24.testing.airflow_api import AirflowApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOOK_SECONDS = 5.0
SECONDS_TO_START = 120.0
"""How long a part that was started again may take until it has to be healthy."""
SECONDS_TO_RECOVER = 20.0
"""How long a part may be unhealthy, which Airflow says after half a minute without a heartbeat."""
PARTS = {
    "scheduler": "scheduler",
    "triggerer": "triggerer",
    "dag-processor": "dag_processor",
    "api-server": "",
}
"""Name of each part's command, and what Airflow's health answer calls it."""


class Watched(Protocol):
    """What is asked of a local Airflow."""

    def processes(self) -> Mapping[str, Sequence[int]]:
        """List process ids by part."""

    def unhealthy(self) -> list[str]:
        """Name the parts whose heartbeat is missing."""

    def start_part(self, part: str) -> None:
        """Start a part."""

    def tail(self, lines: int, part: str) -> str:
        """Read what a part printed last."""


class Liveness:
    """Looks after the parts of an Airflow.

    While Airflow starts, nobody knows how long it will take: a part that has run must not end, but it may be unhealthy
    until it has been healthy for the first time.
    A part that had to be started again is said in a warning: something is wrong with it, and Airflow's output may tell.

    :param airflow: may still be starting.
    :param clock: seconds that only grow.
    """

    def __init__(self, airflow: Watched, clock: Callable[[], float] = time.monotonic) -> None:
        self._airflow = airflow
        self._clock = clock
        self._patient_until: dict[str, float] = {}
        self._has_run: set[str] = set()
        self._has_been_healthy: set[str] = set()
        self._over = threading.Event()
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="airflow-liveness", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing any more; a look that is under way may still be waiting for Airflow's answer."""
        with self._starting:
            self._over.set()

    def join(self) -> None:
        """Wait until nobody looks any more."""
        self._thread.join()

    def look(self) -> None:
        """Look once, and start again what has to be."""
        running, unhealthy, now = self._airflow.processes(), self._unhealthy(), self._clock()
        for part, name in PARTS.items():
            if not running[part]:
                if part in self._has_run and now >= self._patient_until.get(part, now):
                    self._start_again(part, "has ended")
                continue
            self._has_run.add(part)
            if unhealthy is None:
                self._patient_until.pop(part, None)
            elif name not in unhealthy:
                self._has_been_healthy.add(part)
                self._patient_until.pop(part, None)
            elif part in self._has_been_healthy and now >= self._patient_until.setdefault(
                part, now + SECONDS_TO_RECOVER
            ):
                self._start_again(part, "was not heard of any more", running[part])

    def _unhealthy(self) -> list[str] | None:
        import requests

        try:
            return self._airflow.unhealthy()
        except (AirflowApiError, requests.RequestException):
            return None  # the API server has no heartbeat but its answers; a busy one gives none

    def _start_again(self, part: str, why: str, hanging: Sequence[int] = ()) -> None:
        self._patient_until[part] = self._clock() + SECONDS_TO_START
        with self._starting:
            if self._over.is_set():
                return
            for process in hanging:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            printed = self._airflow.tail(30, part)
            self._airflow.start_part(part)
        warnings.warn(
            f"Airflow's {part} {why} and was started again. It had printed:\n{printed}", stacklevel=2
        )

    def _run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                self.look()
            except BrokenPipeError:  # all of Airflow has ended
                return
