"""What all tests share: an Airflow configuration of their own, and the event loop that Airflow runs on."""

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Before anything imports Airflow: nothing of the user's own Airflow may reach the tests, nor the other way round.
_home = tempfile.TemporaryDirectory(prefix="airflow-b24-tests-")
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "_AIRFLOW_"))]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__BITRIX24__SHARED_LIMITS"] = os.path.join(_home.name, "limits")
os.environ["AIRFLOW__CORE__FERNET_KEY"] = "dGVzdHMgZW5jcnlwdCB3aXRoIHRoaXMgZml4ZWQga2U="

# Tests start some two hundred processes of Airflow.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parent / "start"), *filter(None, [os.environ.get("PYTHONPATH")])]
)

SECRETS_MASKERS = (
    "airflow._shared.secrets_masker",
    "airflow.sdk._shared.secrets_masker",
    "airflow.sdk.execution_time.secrets_masker",  # Airflow 3.0
)

# A busy machine is no fault of a test.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_xdist_auto_num_workers() -> int:
    """Use more workers than processors: two of them wait for a real Airflow most of the time."""
    return len(os.sched_getaffinity(0)) + 3


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Airflow's triggerer and API server run on asyncio, so the tests do too."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _forget_secrets() -> Iterator[None]:
    """Have Airflow mask what belongs to one test: with each new secret it compiles all that it has met again."""
    yield
    for name in SECRETS_MASKERS:
        if reset := getattr(sys.modules.get(name), "reset_secrets_masker", None):
            reset()


# Where tasks and the API server keep the backend: names in a module since Airflow 3.3, before of a class.
STATS = ("airflow.sdk._shared.observability.metrics.stats", "airflow._shared.observability.metrics.stats")


def keepers_of_stats() -> Iterator[tuple[Any, str, str]]:
    """Give what keeps a backend of metrics, and the names of what makes it and of what was made."""
    try:
        modules = [import_module(name) for name in STATS]
    except ImportError:  # before Airflow 3.2 one for all
        modules = [import_module("airflow.stats")]
    for module in modules:
        if hasattr(module, "incr"):
            yield module, "_factory", "_backend"
        else:
            yield module.Stats, "factory", "instance"


@pytest.fixture
def report_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have Airflow make its metrics backend with a function, for tasks and for the API server."""

    def replace(factory: Callable[[], Any]) -> None:
        for keeper, makes, made in keepers_of_stats():
            monkeypatch.setattr(keeper, makes, factory)
            monkeypatch.setattr(keeper, made, None)

    return replace


class Recorder:
    """A backend of Airflow's metrics that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, float, dict[str, str]]] = []

    def incr(self, stat: str, count: int = 1, rate: float = 1, *, tags: Any = None) -> None:
        self.told.append(("counter", stat, count, tags or {}))

    def timing(self, stat: str, dt: Any, *, tags: Any = None) -> None:
        self.told.append(("timer", stat, dt.total_seconds(), tags or {}))

    def gauge(
        self, stat: str, value: float, rate: float = 1, delta: bool = False, *, tags: Any = None
    ) -> None:
        self.told.append(("gauge", stat, value, tags or {}))


@pytest.fixture
def told(
    report_to: Callable[[Callable[[], Any]], None],
) -> list[tuple[str, str, float, dict[str, str]]]:
    """Everything that Airflow's metrics are told: kind, name, value (timers in seconds), tags."""
    recorder = Recorder()
    report_to(lambda: recorder)
    return recorder.told


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy that all encrypted connections go through: it lets none pass, and keeps whom they were meant for."""
    asked: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                asked.append(client.recv(4096).split()[1].decode())
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")
    yield asked
    listener.close()
