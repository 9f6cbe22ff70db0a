"""The processes of a cluster: each with all that it starts, ended together and started again when it ends.

What Kubernetes or systemd does for a deployment, :class:`Services` does here: at a crash of the database scheduler,
triggerer and DAG processor end by themselves, and something must start them again.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_b24.testing.process_tree import ProcessInfo, ProcessTree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_SECONDS_BETWEEN_LOOKS = 0.5
_PAUSE = 2.0
"""How long a service that has ended is left alone: one that cannot start must not keep a core busy."""


@dataclass(eq=False)
class Service:
    """One of the cluster's programs.

    :param name: unique.
    :param part: what it is; several services may be the same.
    :param command: program and arguments.
    :param env: its whole environment.
    :param output: the file with what it prints.
    """

    name: str
    part: str
    command: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    output: Path
    killed: int = 0
    ended: int = 0
    _tree: ProcessTree | None = None

    def start(self) -> None:
        self._tree = ProcessTree(self.command, env=self.env, output=self.output, cwd=self.output.parent)

    @property
    def runs(self) -> bool:
        return self._tree is not None and self._tree.exit_code() is None

    def processes(self) -> list[ProcessInfo]:
        """List its processes, its main one first."""
        found = sorted(self._tree.processes(), key=lambda one: one.pid) if self._tree else []
        known = {one.pid for one in found}
        return sorted(found, key=lambda one: one.parent in known)

    def kill(self, whole: bool = True) -> None:
        """Kill it with SIGKILL.

        :param whole: with all its processes, as when its machine or container dies; else the main one, and what is left
            is asked to end, as systemd does.
        """
        self.killed += 1
        for one in self.processes()[: None if whole else 1]:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)

    def stop(self) -> None:
        if self._tree is not None:
            self._tree.stop()

    def tail(self, lines: int = 30) -> str:
        """Read the last lines it has printed."""
        printed = self.output.read_text(errors="replace") if self.output.exists() else ""
        return "\n".join(printed.splitlines()[-lines:])


class Services:
    """Runs services, and starts again what has ended, until the block ends.

    :param tell: is told of each that has ended.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._services: list[Service] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="services", daemon=True)

    def __enter__(self) -> Services:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        # All at once: each takes some seconds. The database last, or the others would complain.
        threads = [threading.Thread(target=service.stop) for service in self._services[1:]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for service in self._services[:1]:
            service.stop()

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._services)

    def add(self, service: Service) -> None:
        """Start a service and watch over it."""
        service.start()
        self._services.append(service)

    def of(self, part: str) -> list[Service]:
        """Give all services that are the same."""
        return [service for service in self._services if service.part == part]

    def _watch(self) -> None:
        ended: dict[Service, float] = {}
        while not self._over.wait(_SECONDS_BETWEEN_LOOKS):
            for service in list(self._services):
                if service.runs:
                    continue
                now = time.monotonic()
                if service not in ended:
                    ended[service] = now
                    service.ended += 1
                elif now - ended[service] > _PAUSE:
                    del ended[service]
                    service.start()
                    self._tell(f"{service.name} is started again")


def initialize_postgresql(folder: Path, programs: Path) -> list[str]:
    """Make an empty cluster of databases below a folder.

    :param folder: must be reachable by the user ``postgres`` where this is root, whom PostgreSQL refuses.
    :param programs: the folder of ``initdb``.
    :return: how to run the server: program and first arguments.
    """
    prefix: list[str] = []
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    data = str(folder / "data")
    subprocess.run(
        [*prefix, str(programs / "initdb"), "-D", data, "-U", "airflow", "-A", "trust", "-E", "UTF8"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    return [*prefix, str(programs / "postgres"), "-D", data]
