"""The fixtures for people who test their own DAGs, used as they would use them: in a project of their own."""

import os
import re
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
from airflow_provider_b24._airflow.versions import airflow_version
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


def test_the_failing_robot_answers_too(run_robot, capsys):
    dag = DAGS["failing_robot"]
    callbacks = [list(task.on_failure_callback or ()) for task in dag.tasks]
    assert run_robot(dag, reason="holiday") == {"verdict": "not scored"}
    *_, failed, why = capsys.readouterr().out.rstrip().splitlines()
    assert failed == "The DAG failing_robot has failed; its process got on_failure."
    if airflow_version() < (3, 3):
        assert why == "  task work: its log says why"
    else:
        assert why.startswith("  task work: RuntimeError: no work today: holiday (")
        assert "failing_robot.py:" in why
    assert [list(task.on_failure_callback or ()) for task in dag.tasks] == callbacks


def test_properties_that_do_not_fit_are_answered_without_a_run(run_robot, capsys):
    dag = DAGS["example_bitrix24_score_lead"]
    assert "verdict" in run_robot(dag, budget="a lot", source="fair")
    *_, last = capsys.readouterr().out.rstrip().splitlines()
    assert last.startswith("No run of example_bitrix24_score_lead, its process got on_failure. ")
    assert "budget: 'a lot' is no number" in last


def test_an_ordinary_dag_is_refused(run_robot):
    with pytest.raises(TypeError, match="example_bitrix24_answer_without_robot_dag.* is no robot"):
        run_robot(DAGS["example_bitrix24_answer_without_robot_dag"])
"""


def documented(page: str, file: str) -> str:
    """Give a file as a page of the documentation prints it."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    found = re.search(rf"```python\n# {file}\n(.+?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in (example_dags(), Path(__file__).parent / "dags"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(folder, tmp_path / "dags", dirs_exist_ok=True, ignore=ignored)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["airflow_provider_b24.testing"]\n')
    (tmp_path / "test_robots.py").write_text(TESTS)
    (tmp_path / "dags" / "score_lead.py").write_text(documented("robots.md", "dags/score_lead.py"))
    (tmp_path / "test_score_lead.py").write_text(documented("testing.md", "test_score_lead.py"))
    return tmp_path


def test_a_project_of_its_own_can_test_its_robots(project: Path) -> None:
    env = {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}
    env |= {
        "AIRFLOW_HOME": str(project / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }

    def run(*command: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=project,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    pytest_ = ("pytest", "-q", "-p", "no:cacheprovider")
    code, said = run(*pytest_, "-k", "test_the_robot_answers")
    assert code == 1
    # Airflow before 3.1 makes no folder for the database while it is imported.
    missing = r"(has no tables|cannot be read \(OperationalError\))"
    assert re.search(
        rf"run_robot needs Airflow's database, and it {missing}\. Run `airflow db migrate` once", said
    ), said
    assert f"AIRFLOW_HOME is {project / 'airflow'} here" in said
    assert "Traceback" not in said
    for command in (("airflow", "db", "migrate"), pytest_):
        code, said = run(*command)
        assert code == 0, said
    assert "9 passed" in said
    robot = "example_bitrix24_score_lead"
    code, said = run("airflow", "dags", "test", robot, "--conf", '{"budget": 60000, "source": "fair"}')
    assert code == 0, said
    assert "no process waits. The answer would be: score=80, verdict='hot'" in said
