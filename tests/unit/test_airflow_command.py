"""`airflow bitrix24 …` beside `airflow-b24 …`, from Airflow 3.2 on; before, nothing of it is seen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_b24._airflow.versions import airflow_version

IS_KNOWN = airflow_version() >= (3, 2)
COMMANDS = ("robots", "calls", "dispatcher", "connect", "doctor")

since_3_2 = pytest.mark.skipif(not IS_KNOWN, reason="Airflow before 3.2 takes no commands of providers")


@pytest.fixture
def airflow(tmp_path: Path):
    """Run `airflow …` in an Airflow of its own, without a database."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    env |= {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "COLUMNS": "200"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@since_3_2
def test_it_has_the_same_parser(airflow) -> None:
    done = airflow("bitrix24", "--help")
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)

    ours = subprocess.run(
        [sys.executable, "-m", "airflow_provider_b24.cli", "robots", "apply", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    done = airflow("bitrix24", "robots", "apply", "--help")
    assert done.returncode == 0, done.stderr
    options = {word for word in ours.stdout.split() if word.startswith("--")}
    assert options
    assert options <= set(done.stdout.split())


@since_3_2
def test_it_says_and_returns_the_same(airflow) -> None:
    done = airflow("bitrix24", "calls", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error: Airflow's database cannot be read or written (OperationalError)." in done.stderr


@since_3_2
def test_json_is_all_that_is_printed(airflow) -> None:
    done = airflow("bitrix24", "doctor", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["healthy"] is False


def test_airflows_own_commands_say_nothing_of_it(airflow) -> None:
    done = airflow("version")
    assert done.returncode == 0
    assert "bitrix24" not in (done.stdout + done.stderr).lower().replace("airflow-provider-b24", "")


@pytest.mark.skipif(IS_KNOWN, reason="Airflow 3.2 and later has the command")
def test_an_older_airflow_does_not_know_it(airflow) -> None:
    assert airflow("bitrix24", "--help").returncode == 2
