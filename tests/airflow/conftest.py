"""One real Airflow for all tests that need one, connected to one sandbox portal with the robots applied."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_b24.demo import example_dags
from airflow_provider_b24.demo.appraiser import Appraiser
from airflow_provider_b24.sandbox import Call, Process, SandboxPortal
from airflow_provider_b24.testing.local_airflow import LocalAirflow
from airflow_provider_b24.testing.sandbox_connection import oauth_connection

CONN_ID = "bitrix24_default"


@pytest.fixture(scope="session")
def live_portal() -> Iterator[SandboxPortal]:
    """The portal that the real Airflow is connected to."""
    with SandboxPortal() as portal:
        yield portal


@pytest.fixture(scope="session")
def appraiser() -> Iterator[Appraiser]:
    """The external worker of the example DAG."""
    with Appraiser() as appraiser:
        yield appraiser


@pytest.fixture(scope="session")
def live_airflow(
    live_portal: SandboxPortal, appraiser: Appraiser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalAirflow]:
    """A real scheduler, triggerer, DAG processor and API server with the example DAGs and those of the tests."""
    dags = tmp_path_factory.mktemp("dags")
    for folder in (example_dags(), Path(__file__).parent / "dags"):
        shutil.copytree(folder, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    home = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(dags, home=home, env={"AIRFLOW_VAR_APPRAISER_URL": appraiser.url}) as airflow:
        airflow.add_connection(CONN_ID, oauth_connection(live_portal))
        command = [sys.executable, "-m", "airflow_provider_b24.cli", "robots", "apply", "--yes"]
        applied = subprocess.run(command, env=airflow.env, capture_output=True, text=True, check=False)
        assert applied.returncode == 0, applied.stdout + applied.stderr
        yield airflow


@pytest.fixture(scope="session")
def call_of(live_portal: SandboxPortal) -> Callable[[Process], Call]:
    """The robot call of a process, once it has been accepted: tests share the portal, and its calls."""

    def find(process: Process) -> Call:
        [call] = [call for call in live_portal.calls if call.fields["workflow_id"] == process.id]
        call.wait(30)
        assert call.status == 202, f"{call.error} {call.answer}"
        return call

    return find
