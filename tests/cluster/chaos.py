"""Kills parts of a cluster at random times, by a seed, and the database with all its connections in the middle."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from airflow_provider_b24.testing.airflow_api import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.cluster.cluster import Cluster
    from tests.cluster.services import Service

_SECONDS_TO_COME_BACK = 120


class Chaos:
    """Kills until the block ends.

    An API server is killed only while the other takes calls: with both gone Bitrix24 finds nobody, and does not post
    again.

    :param seconds: how long it goes on.
    :param pause: seconds between two kills, on average.
    :param crashes: how often the database crashes, spread over the time.
    """

    def __init__(self, cluster: Cluster, seed: int, *, seconds: float, pause: float, crashes: int) -> None:
        self.kills: Counter[str] = Counter()
        self._cluster = cluster
        self._random = random.Random(seed)
        self._seconds, self._pause, self._crashes = seconds, pause, crashes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._kill_all, name="chaos", daemon=True)

    def __enter__(self) -> Chaos:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _kill_all(self) -> None:
        began, victims = time.monotonic(), self._victims()
        crashes = [self._seconds * (number + 1) / (self._crashes + 1) for number in range(self._crashes)]
        while (passed := time.monotonic() - began) < self._seconds:
            if crashes and passed > crashes[0]:
                del crashes[0]
                self._crash_database()
            else:
                self._kill(next(victims))
            next_crash = crashes[0] - (time.monotonic() - began) if crashes else self._pause * 2
            if self._over.wait(max(min(self._random.uniform(0.5, 1.5) * self._pause, next_crash), 1)):
                return

    def _victims(self) -> Iterator[Service]:
        """Give all services but the database in a random order, again and again, and workers once more."""
        while True:
            every = [service for service in self._cluster.services if service.part != "postgresql"]
            every += self._cluster.services.of("worker")
            self._random.shuffle(every)
            yield from every

    def _kill(self, service: Service) -> None:
        whole = self._random.random() < 0.7
        if service.part == "api-server":
            others = [one for one in self._cluster.services.of("api-server") if one is not service]
            if not wait_until(lambda: all(map(self._cluster.server_is_up, others)), _SECONDS_TO_COME_BACK):
                self._cluster.tell(f"{service.name} is spared: the other does not come back")
                return
        if not service.runs:
            return
        what = "all of it" if whole else "its main process"
        self._cluster.tell(f"kill {service.name}, {what}")
        service.kill(whole)
        self.kills[service.part] += 1

    def _crash_database(self) -> None:
        for service in self._cluster.services.of("postgresql"):
            self._cluster.tell("the database crashes")
            service.kill()
            self.kills[service.part] += 1
