"""The fixtures for people who test their own DAGs, used as they would use them: in a project of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_b24.demo import example_dags

TESTS = """
from pathlib import Path

import pytest
from airflow.models import DagBag
from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

DAGS = DagBag("dags").dags


def test_a_portal_is_there(sandbox_portal):
    assert sandbox_portal.url.startswith("http://127.0.0.1:")


def test_the_default_connection_is_the_portal(sandbox_portal, bitrix24_connection):
    with Bitrix24Hook(bitrix24_connection) as hook:
        assert hook.call("profile")["ADMIN"]
    assert [request.method for request in sandbox_portal.requests] == ["profile"]


def test_the_robot_answers(run_robot, sandbox_portal):
    dag = DAGS["example_bitrix24_score_lead"]
    assert run_robot(dag, budget=60000, source="fair") == {"score": "80", "verdict": "hot"}
    assert len(sandbox_portal.answers) == 1


def test_the_failing_robot_answers_too(run_robot):
    assert run_robot(DAGS["failing_robot"], reason="holiday") == {"verdict": "not scored"}


def test_an_ordinary_dag_is_refused(run_robot):
    with pytest.raises(TypeError, match="example_bitrix24_answer_without_robot_dag.* is no robot"):
        run_robot(DAGS["example_bitrix24_answer_without_robot_dag"])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in (example_dags(), Path(__file__).parent / "dags"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(folder, tmp_path / "dags", dirs_exist_ok=True, ignore=ignored)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["airflow_provider_b24.testing"]\n')
    (tmp_path / "test_robots.py").write_text(TESTS)
    return tmp_path


def test_a_project_of_its_own_can_test_its_robots(project: Path) -> None:
    env = {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}
    env |= {
        "AIRFLOW_HOME": str(project / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    for command in (["airflow", "db", "migrate"], ["pytest", "-q", "-p", "no:cacheprovider"]):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=project,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    assert "5 passed" in done.stdout
