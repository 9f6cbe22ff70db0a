"""A PostgreSQL server of the benchmark's own, which it may stop and start: the machine's server is left alone."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Literal

from airflow_provider_b24.testing.local_airflow import free_ports

SUPERUSER = "airflow"


class NoPostgreSqlError(Exception):
    """PostgreSQL's programs are not installed."""


class PostgreSqlServer:
    """A server on a free loopback port with its data in a temporary folder, gone when the block ends."""

    def __init__(self) -> None:
        self._programs = programs()
        (self._port,) = free_ports(1)
        self._folder = Path(tempfile.mkdtemp(prefix="airflow-b24-postgresql-"))
        # PostgreSQL refuses to run as root.
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self._user:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)

    @property
    def url(self) -> str:
        """The address of its one database, as Airflow takes it."""
        return f"postgresql+psycopg2://{SUPERUSER}@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> PostgreSqlServer:
        try:
            self._run("initdb", "--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8")
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def start(self) -> None:
        options = f"-p {self._port} -h 127.0.0.1 -k {self._folder}"
        self._run("pg_ctl", "start", "--wait", "--log", str(self._folder / "log"), "--options", options)

    def stop(self, how: Literal["fast", "immediate"] = "fast") -> None:
        """End the server with all its connections; `immediate` is what a crash does."""
        self._run("pg_ctl", "stop", "--wait", "--mode", how)

    def restart_after(self, seconds: float, how: Literal["fast", "immediate"] = "fast") -> None:
        self.stop(how)
        time.sleep(seconds)
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "--pgdata", self._folder / "data", *arguments],
            check=True,
            # The server inherits what pg_ctl prints to, and would keep a pipe open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            cwd="/",
            **({"user": self._user.pw_uid, "group": self._user.pw_gid} if self._user else {}),
        )

    def _remove(self) -> None:
        if (self._folder / "data" / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)


def programs() -> Path:
    """Find the folder of the newest installed version; Debian keeps them out of the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3])
    )
    if not versions:
        raise NoPostgreSqlError("initdb was found neither in the path nor below /usr/lib/postgresql")
    return versions[-1].parent
