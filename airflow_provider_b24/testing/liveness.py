"""Parts of a local Airflow that end or hang are started again, as a service manager or Kubernetes does elsewhere.

`airflow standalone` starts each part once. A part that is gone, or whose heartbeat has stopped, is missing until
somebody starts all of Airflow again, and what it should have done waits as long.
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
SECONDS_TO_START = 60.0
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
    """Looks after the parts of an Airflow that is up.

    A part that had to be started again is said in a warning: something is wrong with it, and Airflow's output may tell.

    :param airflow: its parts all run, and are healthy.
    :param clock: seconds that only grow.
    """

    def __init__(self, airflow: Watched, clock: Callable[[], float] = time.monotonic) -> None:
        self._airflow = airflow
        self._clock = clock
        self._patient_until: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="airflow-liveness", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when nothing will be started any longer."""
        self._over.set()
        self._thread.join()

    def look(self) -> None:
        """Look once, and start again what has to be."""
        running, unhealthy, now = self._airflow.processes(), self._unhealthy(), self._clock()
        for part, name in PARTS.items():
            if not running[part]:
                if now >= self._patient_until.get(part, now):
                    self._start_again(part, "has ended")
            elif name not in unhealthy:
                self._patient_until.pop(part, None)
            elif now >= self._patient_until.setdefault(part, now + SECONDS_TO_RECOVER):
                for process in running[part]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                self._start_again(part, "was not heard of any more")

    def _unhealthy(self) -> list[str]:
        import requests

        try:
            return self._airflow.unhealthy()
        except (AirflowApiError, requests.RequestException):
            return []  # the API server has no heartbeat but its answers; a busy one gives none

    def _start_again(self, part: str, why: str) -> None:
        self._patient_until[part] = self._clock() + SECONDS_TO_START
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
