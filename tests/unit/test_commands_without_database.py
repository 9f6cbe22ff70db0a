"""What the commands say when Airflow's database is of no use: what to do."""

import json
import os
import subprocess
import sys

import pytest

CONNECTION = {
    "conn_type": "bitrix24",
    "host": "http://127.0.0.1:9",
    "extra": {"client_id": "app.1", "client_secret": "s3cret", "access_token": "a", "refresh_token": "r"},
}


@pytest.fixture
def run(tmp_path):
    """Run a command with a database that was never migrated, or that is nowhere."""
    (tmp_path / "dags").mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    env |= {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_CRM": json.dumps(CONNECTION),
    }

    def run(*arguments, folder="."):
        database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / folder}/airflow.db"}
        command = [sys.executable, "-m", "airflow_provider_b24.cli", *arguments]
        return subprocess.run(command, env=env | database, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("command", [("robots", "list", "--conn-id", "crm"), ("calls",), ("connect", "crm")])
def test_a_command_says_what_to_do(run, command):
    done = run(*command)
    [last] = done.stderr.splitlines()[-1:]
    assert done.returncode == 1, done.stderr
    assert last.startswith("Error: Airflow's database cannot be read or written (OperationalError).")
    assert "airflow db migrate" in last
    assert "s3cret" not in done.stdout + done.stderr


def test_the_doctor_finds_it(run):
    done = run("doctor", "crm", "--json", folder="nowhere")
    report = json.loads(done.stdout[done.stdout.index("{\n") :])  # Airflow logs the same to the terminal
    assert (done.returncode, report["healthy"]) == (1, False)
    [finding] = [one for one in report["findings"] if one["verdict"] == "failed"]
    assert finding["check"] == "database"
    assert "airflow db migrate" in json.dumps(finding)
