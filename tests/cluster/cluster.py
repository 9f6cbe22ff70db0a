"""A distributed Airflow: CeleryExecutor on Redis, PostgreSQL, two of everything that may be there twice."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.testing.airflow_api import AirflowApi, wait_until
from airflow_provider_b24.testing.local_airflow import free_ports
from benchmarks._postgresql import NoPostgreSqlError, programs
from tests.cluster.balancer import Balancer
from tests.cluster.services import Service, Services, initialize_postgresql
from tests.cluster.variants import TEAM, Variant, environment, secrets_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

START_SECONDS = 300
SLOTS = 3
"""Tasks that a worker does at a time."""

# Airflow's own times for noticing that something is dead are minutes. A run of some minutes cannot wait for them.
IMPATIENT = {
    "SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "3",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "30",
}


class ClusterError(Exception):
    """The cluster cannot be run; the text says why."""


class MissingProgramError(ClusterError):
    """A program that the cluster needs is not installed."""


class Cluster(AirflowApi):
    """Runs it on free ports and in a folder of its own, and ends everything when the block ends.

    :param dags: the folder of DAG files.
    :param env: more environment for Airflow's processes.
    :param variant: how it is deployed.
    :param number: how many there are of each part but the DAG processor.
    :param tell: is told what happens.
    """

    def __init__(
        self,
        dags: Path,
        *,
        env: Mapping[str, str] | None = None,
        variant: Variant = "usual",
        number: int = 2,
        tell: Callable[[str], None] = print,
    ) -> None:
        missing_programs()
        self.dags_folder = dags
        self.tell = tell
        self._number, self._variant = number, variant
        # Not below the folders of pytest: the user postgres may not enter them.
        self.home = Path(tempfile.mkdtemp(prefix="airflow-b24-cluster-"))
        self.home.chmod(0o755)
        port, self._database_port, self._redis_port, self._log_port, *self._server_ports = free_ports(
            4 + number
        )
        super().__init__(f"http://127.0.0.1:{port}")
        self.balancer = Balancer(port, self._server_ports)
        self.services = Services(tell)
        self.env = self._environment() | environment(variant, self.home, dags) | dict(env or {})
        self._stack = ExitStack()

    def __enter__(self) -> Cluster:
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.home, ignore_errors=True)
            self.tell(f"everything is in {self.home}")
            stack.enter_context(self.services)
            stack.enter_context(self.balancer)
            self._start_database()
            self._start_redis()
            self.run("-m", "airflow", "db", "migrate")
            if self._variant == "teams":
                self.run("-m", "airflow", "teams", "create", TEAM)
            self._start_airflow()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, *arguments: str) -> str:
        """Run Python beside this Airflow.

        :return: what it printed.
        :raises ClusterError: when it fails.
        """
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home,
        )
        if done.returncode:
            raise ClusterError(f"{' '.join(arguments)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def connect(self, conn_id: str, connection: Mapping[str, Any]) -> None:
        """Keep a connection where this Airflow has its own."""
        if self._variant == "slow-secrets":
            secrets_file(self.home).write_text(json.dumps({conn_id: connection}))
        else:
            owner = {"team_name": TEAM} if self._variant == "teams" else {}
            self.add_connection(conn_id, {**connection, **owner})

    def calls(self) -> list[dict[str, Any]]:
        """Read the table of calls as people do."""
        listed: list[dict[str, Any]] = json.loads(
            self.run("-m", "airflow_provider_b24.cli", "calls", "--json")
        )
        return listed

    def wait_until_healthy(self) -> None:
        """Wait until all parts are there and all DAG files are parsed.

        :raises ClusterError: when they are not in time.
        """
        began, wanted = time.monotonic(), len(list(self.dags_folder.glob("*.py")))

        def is_healthy() -> bool:
            import requests

            try:
                files = {dag["relative_fileloc"] for dag in self.dags().values()}
                return not self.unhealthy() and len(files) == wanted and all(map(is_open, self._server_ports))
            except (requests.RequestException, KeyError):
                return False

        if not wait_until(is_healthy, START_SECONDS, poll=1):
            tails = "\n".join(f"--- {service.name}\n{service.tail(10)}" for service in self.services)
            raise ClusterError(f"Airflow is not healthy after {START_SECONDS} s:\n{tails}")
        self.tell(f"Airflow is healthy after {time.monotonic() - began:.0f} s")

    def server_is_up(self, service: Service) -> bool:
        """Tell whether an API server takes connections."""
        return is_open(self._server_ports[self.services.of("api-server").index(service)])

    def _start_database(self) -> None:
        folder = self.home / "postgresql"
        folder.mkdir()
        command = initialize_postgresql(folder, programs())
        command += ["-p", str(self._database_port), "-h", "127.0.0.1", "-k", str(folder), "-N", "300"]
        self._add("postgresql", "postgresql", command)
        if not wait_until(lambda: is_open(self._database_port), 60):
            raise ClusterError("PostgreSQL does not start")
        self.run("-c", _CREATE_DATABASE.format(port=self._database_port))

    def _start_redis(self) -> None:
        folder = self.home / "redis"
        folder.mkdir()
        # What it was told survives its crash, too.
        command = [
            "redis-server",
            "--port",
            str(self._redis_port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
        ]
        self._add(
            "redis", "redis", [*command, "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        )

    def _start_airflow(self) -> None:
        for number in range(1, self._number + 1):
            port = str(self._server_ports[number - 1])
            self._add_airflow(f"api-server-{number}", "api-server", "--port", port)
            self._add_airflow(f"scheduler-{number}", "scheduler", "--skip-serve-logs")
            of_team = ("--team-name", TEAM) if self._variant == "teams" else ()
            self._add_airflow(f"triggerer-{number}", "triggerer", "--skip-serve-logs", *of_team)
            name, pid = f"worker-{number}", str(self.home / f"worker-{number}.pid")
            options = ("--celery-hostname", f"{name}@localhost", "--pid", pid, "--skip-serve-logs")
            self._add_airflow(
                name, "worker", "--concurrency", str(SLOTS), *options, command=("celery", "worker")
            )
        self._add_airflow("dag-processor", "dag-processor")

    def _add_airflow(self, name: str, part: str, *options: str, command: tuple[str, ...] = ()) -> None:
        self._add(name, part, [sys.executable, "-m", "airflow", *(command or (part,)), *options])

    def _add(self, name: str, part: str, command: list[str]) -> None:
        self.services.add(Service(name, part, command, self.env, self.home / f"{name}.log"))

    def _environment(self) -> dict[str, str]:
        database = f"airflow@127.0.0.1:{self._database_port}/airflow"
        redis = f"redis://127.0.0.1:{self._redis_port}/0"
        options = {
            "CORE__DAGS_FOLDER": str(self.dags_folder),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__EXECUTOR": "CeleryExecutor",
            # Tasks that find no free slot wait as scheduled: the time for which they may be queued does not run.
            "CORE__PARALLELISM": str(self._number * SLOTS),
            "CORE__FERNET_KEY": _key(32),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "API__HOST": "127.0.0.1",
            "API__BASE_URL": self.url,
            "API__SECRET_KEY": _key(32),
            "API__WORKERS": "1",
            "API_AUTH__JWT_SECRET": _key(64),
            "BITRIX24__SPOOL_FOLDER": str(self.home / "spool"),
            "CELERY__BROKER_URL": redis,
            "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{database}",
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "DATABASE__EXTERNAL_DB_MANAGERS": "airflow_provider_b24.calls.database.CallsDBManager",
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(self._log_port),
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "WORKERS__EXECUTION_API_TIMEOUT": "30",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        env = {
            name: text for name, text in os.environ.items() if not name.startswith(("AIRFLOW_", "_AIRFLOW_"))
        }
        env |= {f"AIRFLOW__{option}": value for option, value in (options | IMPATIENT).items()}
        env |= {"AIRFLOW_HOME": str(self.home / "airflow"), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
        return env


_CREATE_DATABASE = """
import psycopg2, time
for _ in range(60):
    try:
        server = psycopg2.connect(host="127.0.0.1", port={port}, user="airflow", dbname="postgres")
        break
    except psycopg2.OperationalError:
        time.sleep(0.5)
server.autocommit = True
server.cursor().execute("CREATE DATABASE airflow")
"""


def missing_programs() -> None:
    """Look for what the cluster needs beside Python packages.

    :raises MissingProgramError: naming what is not there.
    """
    from importlib.util import find_spec

    try:
        programs()
    except NoPostgreSqlError as error:
        raise MissingProgramError(str(error)) from None
    if shutil.which("redis-server") is None:
        raise MissingProgramError("redis-server was not found in the path")
    for package in ("airflow.providers.celery", "psycopg2", "redis"):
        if find_spec(package) is None:
            raise MissingProgramError(f"{package} is not installed: it is in the dependency group `cluster`")


def is_open(port: int) -> bool:
    """Tell whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _key(length: int) -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(length)).decode()
