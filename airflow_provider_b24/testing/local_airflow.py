"""A real Airflow for one machine: `airflow standalone` on SQLite in its own home, ended with all it starts."""

from __future__ import annotations

import base64
import logging
import os
import random
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_b24.testing.airflow_api import POLL_SECONDS, AirflowApi, AirflowApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from airflow_provider_b24.testing.liveness import Liveness
    from airflow_provider_b24.testing.process_tree import ProcessTree

log = logging.getLogger(__name__)

_DEFINES_A_DAG = re.compile(rb"^\s*@\w*dag\b|\bDAG\(", re.MULTILINE)
_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
# Airflow 3.0 takes a file that it reads for a callback for parsed, and its DAGs, which were parsed longer than
# `[dag_processor] stale_dag_threshold` ago, for gone.
_KEEPS_PARSED_DAGS = not version("apache-airflow-core").startswith("3.0.")
_TITLES = {
    "scheduler": re.compile(r"airflow scheduler$"),
    "dag-processor": re.compile(r"airflow dag-processor$"),
    "api-server": re.compile(r"airflow api[_-]server\b"),
    "triggerer": re.compile(r"airflow triggerer$"),
    "worker": re.compile(r"airflow worker -- (?!LocalExecutor)|airflow supervisor"),
}


class LocalAirflowError(Exception):
    """Airflow did not start; the text ends with the last lines it printed."""


class LocalAirflow(AirflowApi):
    """A complete Airflow (scheduler, triggerer, DAG processor, API server, local executor) for tests.

    ``with LocalAirflow("dags/") as airflow: run_id = airflow.trigger("my_dag")``

    It listens on free loopback ports, everybody is its administrator, and it knows nothing of the user's own
    Airflow: no `AIRFLOW…` variable of the environment reaches it. When the block ends, and also when this
    process is killed, every process it started ends.

    :param dags_folder: where the DAG files are. Changed files are parsed again within seconds.
    :param env: more environment for all of its processes: `AIRFLOW_CONN_…`, `AIRFLOW__SECTION__OPTION`.
    :param home: `AIRFLOW_HOME` to use and to keep; without one it is temporary.
    :param start_timeout: seconds after which it is given up, unless something that was waited for has come in the last
        fifth of that time. Ten minutes are for a machine with much other work; it takes half a minute on an idle one.
    :param revive: whether a part that ends or hangs is started again, with a warning; not for tests that end one.
        While Airflow starts, a part that ends is always started again.
    """

    def __init__(
        self,
        dags_folder: Path | str,
        *,
        env: Mapping[str, str] | None = None,
        home: Path | str | None = None,
        start_timeout: float = 600,
        revive: bool = True,
    ) -> None:
        self.dags_folder = Path(dags_folder).resolve()
        self._extra_env = dict(env or {})
        self._is_temporary = home is None
        self.home = Path(home).resolve() if home else Path(tempfile.mkdtemp(prefix="airflow-b24-"))
        self.start_timeout = start_timeout
        self.revive = revive
        self._ports = free_ports(3)
        self._tree: ProcessTree | None = None
        self._liveness: Liveness | None = None
        super().__init__(f"http://127.0.0.1:{self._ports[0]}")

    @property
    def output(self) -> Path:
        """The file with everything that Airflow's processes print."""
        return self.home / "standalone.log"

    @property
    def logs(self) -> Path:
        """The folder of task and DAG processor logs."""
        return self.home / "logs"

    @property
    def env(self) -> dict[str, str]:
        """The environment of Airflow's processes, for a command that is to act on this Airflow."""
        port, worker_log_port, trigger_log_port = self._ports
        options = {
            "CORE__DAGS_FOLDER": str(self.dags_folder),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__EXECUTOR": "LocalExecutor",
            # Each is a process forked at the start: the default of 32 takes seconds on a small machine.
            "CORE__PARALLELISM": "8",
            "CORE__FERNET_KEY": self._secret("fernet_key"),
            "CORE__TEST_CONNECTION": "Enabled",
            "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(port),
            "API__BASE_URL": self.url,
            "API__SECRET_KEY": self._secret("api_secret_key"),
            "API__WORKERS": "1",
            "API_AUTH__JWT_SECRET": self._secret("jwt_secret", 64),
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            "LOGGING__WORKER_LOG_SERVER_PORT": str(worker_log_port),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log_port),
            # Look for changed files often, but parse the unchanged ones once: the processors have other work.
            "DAG_PROCESSOR__REFRESH_INTERVAL": "2",
            "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600" if _KEEPS_PARSED_DAGS else "30",
            # It would say so at every look, and drown what matters.
            "LOGGING__NAMESPACE_LEVELS": "airflow.dag_processing.manager.DagFileProcessorManager=WARNING",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            # How late a task's supervisor notices its end. A deferred task that is resumed within this time may be
            # failed by the scheduler (https://github.com/apache/airflow/issues/72716); the default is 5.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            # On a machine with other work the API server may take its time.
            "WORKERS__EXECUTION_API_TIMEOUT": "30",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
            # A sandbox portal may listen where another one has listened a moment ago.
            "BITRIX24__SHARED_LIMITS": str(self.home / "bitrix24_limits"),
        }
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW_", "_AIRFLOW_"))
        }
        env |= {f"AIRFLOW__{option}": value for option, value in options.items()}
        env |= {"AIRFLOW_HOME": str(self.home), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        # `airflow standalone` starts its parts as `airflow …`: it must find the one of this Python.
        env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
        env |= self._extra_env
        if env[_DATABASE].startswith("sqlite"):
            # Drivers of other databases know no such argument.
            env.setdefault(f"{_DATABASE}ECT_ARGS", f"{__package__}.sqlite_patience.CONNECT_ARGS")
        return env

    def _secret(self, name: str, length: int = 32) -> str:
        """Make a key that stays the same for one home: a kept database can be read again later."""
        file = self.home / f".{name}"
        if not file.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(base64.urlsafe_b64encode(secrets.token_bytes(length)).decode())
        return file.read_text()

    def __enter__(self) -> LocalAirflow:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, progress: Callable[[str], None] = log.info) -> None:
        """Start Airflow and wait until it answers, all its parts are healthy and the DAG files are parsed.

        :param progress: is told what is waited for, whenever that changes; by default the log of this module.
        :raises LocalAirflowError: when it ends, takes too long, or a DAG file cannot be imported.
        """
        from airflow_provider_b24.testing.liveness import Liveness
        from airflow_provider_b24.testing.process_tree import ProcessTree

        command = [sys.executable, "-m", "airflow", "standalone"]
        self._tree = ProcessTree(command, env=self.env, output=self.output, cwd=self.home)
        self._liveness = Liveness(self)
        self._liveness.start()
        self._wait(progress)
        if not self.revive:
            self._liveness.stop()

    def stop(self) -> None:
        """End Airflow and everything it started; a temporary home is deleted."""
        if self._liveness is not None:
            self._liveness.stop()
        if self._tree is not None:
            self._tree.stop()
        if self._liveness is not None:
            self._liveness.join()
        self._liveness = self._tree = None
        if self._is_temporary:
            shutil.rmtree(self.home, ignore_errors=True)

    def processes(self) -> dict[str, list[int]]:
        """List process ids by part: `scheduler`, `triggerer`, `dag-processor`, `api-server`, `worker`.

        The first id of a part is its main process; a part that does not run has an empty list.
        A worker is a running task.
        """
        running = sorted(self._running_tree().processes(), key=lambda process: process.pid)
        return {part: [p.pid for p in running if title.search(p.title)] for part, title in _TITLES.items()}

    def start_part(self, part: str) -> None:
        """Start a part again that was killed: `scheduler`, `triggerer`, `dag-processor` or `api-server`."""
        self._running_tree().start([sys.executable, "-m", "airflow", part])

    def describe(self, dag_id: str, run_id: str, lines: int = 30) -> str:
        """Tell the state of a run as :meth:`AirflowApi.describe` does, and the state of Airflow."""
        running = self.processes()
        missing = [part for part in _TITLES if part != "worker" and not running[part]]
        parts = [f"NOT RUNNING: {', '.join(missing)}"] if missing else []
        parts += [f"{self.output} ends with:", self.tail(lines)]
        return "\n".join([super().describe(dag_id, run_id, lines), *parts])

    def tail(self, lines: int = 40, part: str = "") -> str:
        """Read the last lines that Airflow's processes printed, or one part of it since its first start."""
        if not self.output.exists():
            return ""
        printed = self.output.read_text(errors="replace").splitlines()
        return "\n".join([line for line in printed if line.startswith(part)][-lines:])

    def _running_tree(self) -> ProcessTree:
        if self._tree is None:
            raise LocalAirflowError("Airflow is not running: use it in a `with` block")
        return self._tree

    def _wait(self, progress: Callable[[str], None]) -> None:
        began = changed = time.monotonic()
        waited_for = ""
        while missing := self._missing():
            now = time.monotonic()
            if missing != waited_for:
                waited_for, changed = missing, now
                progress(f"waiting for {missing}")
            if now > max(began + self.start_timeout, changed + self.start_timeout / 5):
                self._fail(f"Airflow was not ready after {now - began:.0f} s, waiting for {missing}")
            time.sleep(POLL_SECONDS)

    def _missing(self) -> str:
        """Name what a complete Airflow lacks at this moment; empty when it is complete."""
        import requests

        if (code := self._running_tree().exit_code()) is not None:
            self._fail(f"Airflow ended with exit code {code} while starting")
        try:
            if unhealthy := self.unhealthy():
                return ", ".join(unhealthy)
            if errors := self.import_errors():
                broken = "\n".join(f"{file}:\n{trace}" for file, trace in errors.items())
                raise LocalAirflowError(f"DAG files cannot be imported:\n{broken}")
            parsed = {dag["relative_fileloc"] for dag in self.dags().values()}
        except (requests.RequestException, AirflowApiError):
            return "the API server" if self.processes()["api-server"] else "the metadata database"
        unparsed = dag_files(self.dags_folder) - parsed
        return f"DAG files to be parsed: {', '.join(sorted(unparsed))}" if unparsed else ""

    def _fail(self, what: str) -> None:
        raise LocalAirflowError(f"{what}; {self.output} ends with:\n{self.tail()}")


def dag_files(folder: Path) -> set[str]:
    """Files below a folder that visibly define a DAG, relative to it."""
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*.py")
        if _DEFINES_A_DAG.search(file.read_bytes())
    }


def free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on, below the range that outgoing connections are given."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(15000, 32000)  # noqa: S311 - no secret, only spread
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if port not in found and probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found
