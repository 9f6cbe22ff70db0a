"""What the commands say when Airflow's database is of no use: what to do."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

CONNECTION = {
    "conn_type": "bitrix24",
    "host": "http://127.0.0.1:9",
    "extra": {
        "client_id": "app.1",
        "client_secret": "s3cret-of-the-application",
        "access_token": "access-token-1",
        "refresh_token": "refresh-token-1",
    },
}
NOT_MIGRATED = "sqlite:///{home}/airflow.db"
NO_FOLDER = "sqlite:///{home}/nowhere/airflow.db"
AWAY = pytest.param(
    "postgresql+psycopg2://airflow:passw0rd@127.0.0.1:9/airflow",
    marks=pytest.mark.skipif(find_spec("psycopg2") is None, reason="needs a driver for PostgreSQL"),
)
NO_ADDRESS = "airflow:passw0rd"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run a command in an Airflow of its own, with the database that the test names."""
    (tmp_path / "dags").mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    env |= {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": request.param.format(home=tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_CRM": json.dumps(CONNECTION),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "airflow_provider_b24.cli", *arguments]
        return subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize(
    ("run", "command"),
    [
        (NOT_MIGRATED, "robots list --conn-id crm"),
        (NOT_MIGRATED, "robots plan --conn-id crm"),
        (NOT_MIGRATED, "calls --json"),
        (NOT_MIGRATED, "connect crm"),
        (NO_FOLDER, "calls"),
        pytest.param(*AWAY.values, "robots apply --conn-id crm --json", marks=AWAY.marks),
        (NO_ADDRESS, "calls"),
    ],
    indirect=["run"],
)
def test_a_command_says_what_to_do(run: Run, command: str) -> None:
    done = run(*command.split())

    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert re.search(
        r"^Error: Airflow's database cannot be read or written \(\w+Error\)\.", done.stderr, re.M
    )
    assert "`airflow db migrate`" in done.stderr
    assert_tells_no_more(done)


@pytest.mark.parametrize("run", [NOT_MIGRATED, AWAY], indirect=True)
def test_the_doctor_still_prints_json(run: Run) -> None:
    done = run("doctor", "crm", "--json")

    report = json.loads(done.stdout)
    assert (done.returncode, report["healthy"]) == (1, False)
    [failed] = [finding for finding in report["findings"] if finding["verdict"] == "failed"]
    assert failed["check"] == "database"
    assert "`airflow db migrate`" in failed["advice"]
    assert_tells_no_more(done)


@pytest.mark.parametrize("run", [NOT_MIGRATED], indirect=True)
def test_nothing_of_airflows_log_is_in_the_way(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dags" / "one.py").write_text("from airflow.sdk import dag\n")
    done = run("doctor", "crm")

    assert done.stdout.splitlines()[0].split() == ["Check", "Finding"]
    assert done.stderr == ""


def assert_tells_no_more(done: subprocess.CompletedProcess[str]) -> None:
    told = done.stdout + done.stderr
    assert not [
        word for word in ("Traceback", "SELECT", "FROM ", "passw0rd", "s3cret", "-token-1") if word in told
    ]
