"""``airflow-b24 robots plan`` and ``apply`` beside an Airflow that has, or has not yet, parsed the DAG files."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from sqlalchemy import delete, update

from airflow_provider_b24 import cli

ROBOT = """
from airflow_provider_b24.robots import Property, robot_dag

@robot_dag(code="{code}", dag_id="{dag_id}", name="A robot", bitrix24_conn_id="{conn_id}", properties={properties})
def robot():
    pass

robot()
"""
NOT_PARSED = "Airflow has not parsed it yet: calls are held until then"
ANOTHER = (
    "Airflow has not parsed its present version yet, and the earlier one is not this robot: calls are held"
)
EARLIER = "Airflow has not parsed its present version yet: calls are checked against the earlier one"


@pytest.fixture
def dags_folder(tmp_path):
    folder = tmp_path / "dags"
    folder.mkdir()
    return folder


@pytest.fixture
def declare(dags_folder):
    """Write the DAG file of a robot."""

    def write(code: str, properties: str = "{}", *, dag_id: str | None = None, conn_id: str = "crm") -> None:
        dag_id = dag_id or code
        text = ROBOT.format(code=code, dag_id=dag_id, conn_id=conn_id, properties=properties)
        (dags_folder / f"{dag_id}.py").write_text(text)

    return write


@pytest.fixture
def parse(dags_folder, publish_dag):
    """Do what Airflow's DAG processor does with a DAG file."""

    def publish(dag_id: str) -> None:
        try:
            from airflow.dag_processing.dagbag import DagBag
        except ImportError:  # Airflow 3.0 and 3.1
            from airflow.models.dagbag import DagBag

        dag = DagBag(str(dags_folder / f"{dag_id}.py")).dags[dag_id]
        dag.relative_fileloc = f"{dag_id}.py"
        publish_dag(dag)

    return publish


@pytest.fixture
def change_dag(airflow_session):
    """Change the row that Airflow keeps of a DAG."""
    from airflow.models.dag import DagModel

    def change(dag_id: str, **values: Any) -> None:
        airflow_session.execute(update(DagModel).where(DagModel.dag_id == dag_id).values(**values))
        airflow_session.commit()

    return change


@pytest.fixture
def break_file(airflow_session):
    """Note an import error, as the DAG processor does."""
    from airflow.models.errors import ParseImportError

    def note(file: str) -> None:
        airflow_session.add(
            ParseImportError(
                filename=file,
                bundle_name="tests",
                stacktrace="Traceback\n  ...\nSyntaxError: '(' was never closed",
            )
        )
        airflow_session.commit()

    yield note
    airflow_session.execute(delete(ParseImportError))
    airflow_session.commit()


@pytest.fixture
def robots(bitrix, connect, dags_folder, served, capfd):
    """Run the command; returns its exit code, what it prints and what it says on the side."""
    tokens = bitrix.application.issue_tokens()
    connect(access_token=tokens.access_token, refresh_token=tokens.refresh_token)

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.main(
            ["robots", command, "--conn-id", "crm", "--dags-folder", str(dags_folder), *arguments]
        )
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run


def test_what_airflow_has_not_parsed_is_said_by_plan_and_apply(declare, parse, robots):
    declare("known")
    declare("new")
    parse("known")
    for command in ("plan", "apply"):
        code, out, _ = robots(command)
        assert code == 0
        assert [line for line in out.splitlines() if line.startswith("DAG ")] == [f"DAG new: {NOT_PARSED}."]
    told = {robot["code"]: robot["dag"] for robot in json.loads(robots("plan", "--json")[1])["robots"]}
    assert told == {
        "known": {"takes_calls": True, "paused": False, "obstacle": None},
        "new": {"takes_calls": False, "paused": False, "obstacle": NOT_PARSED},
    }


def test_what_keeps_a_dag_from_running_is_said(declare, parse, change_dag, break_file, robots):
    for code in ("broken", "gone", "paused"):
        declare(code)
        parse(code)
    break_file("broken.py")
    change_dag("gone", is_stale=True)
    change_dag("paused", is_paused=True)
    told = [line for line in robots("plan")[1].splitlines() if line.startswith("DAG ")]
    assert told == [
        "DAG broken: the DAG's file cannot be imported: SyntaxError: '(' was never closed; "
        "calls are held until this is fixed.",
        "DAG gone: the DAG is no longer in Airflow's DAG folder; calls are held until this is fixed.",
        "DAG paused: paused: its calls start runs that wait until it is unpaused.",
    ]


def test_an_earlier_version_is_told_from_the_present_one(declare, parse, robots):
    declare("score")
    parse("score")
    declare("score", "{'limit': Property.int('Limit')}")
    assert f"DAG score: {EARLIER}." in robots("plan")[1]
    parse("score")
    assert "DAG score" not in robots("plan")[1]


@pytest.mark.parametrize("earlier", [{"code": "old_code"}, {"code": "score", "conn_id": "another"}])
def test_an_earlier_version_that_is_another_robot_holds_calls(declare, parse, robots, earlier):
    declare(**earlier, dag_id="dag")
    parse("dag")
    declare("score", dag_id="dag")
    assert f"DAG dag: {ANOTHER}." in robots("plan")[1]


def test_an_earlier_version_that_is_no_robot_holds_calls(declare, dags_folder, parse, robots):
    (dags_folder / "score.py").write_text(
        "from airflow.sdk import dag\n\n@dag()\ndef score():\n    pass\n\nscore()\n"
    )
    parse("score")
    declare("score")
    assert f"DAG score: {ANOTHER}." in robots("plan")[1]


def test_a_dag_whose_stored_form_is_missing_is_not_parsed(declare, parse, robots, airflow_session):
    from airflow.models.serialized_dag import SerializedDagModel

    declare("score")
    parse("score")
    airflow_session.execute(delete(SerializedDagModel))
    airflow_session.commit()
    assert f"DAG score: {NOT_PARSED}." in robots("plan")[1]


def test_apply_waits_until_airflow_takes_the_calls(declare, parse, robots, bitrix, capfd):
    declare("score")
    asked = threading.Event()

    def parsed_later() -> None:
        while not bitrix.robots:
            asked.wait(0.05)
        parse("score")

    processor = threading.Thread(target=parsed_later)
    processor.start()
    code, _, err = robots("apply", "--wait")
    processor.join()
    assert code == 0
    assert "1 added" in err
    assert err.splitlines()[-1] == "Airflow takes the calls of all robots."
    assert robots("apply", "--wait", "0")[0] == 0


def test_apply_waits_until_the_receiver_of_this_machine_answers(declare, parse, robots, served, monkeypatch):
    declare("score")
    parse("score")
    unused = "http://127.0.0.1:9"
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", unused)
    code, _, err = robots("apply", "--wait", "0")
    assert code == 1
    assert f"Error: after 0 seconds there is no answer from the receiver {unused}." in err
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", served)
    code, _, err = robots("apply", "--wait", "0")
    assert code == 0
    assert "Airflow takes the calls of all robots." in err


def test_a_receiver_elsewhere_is_not_waited_for(declare, parse, robots, monkeypatch):
    declare("score")
    parse("score")
    monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", "https://nowhere.example.com/bitrix24")
    assert robots("apply", "--wait", "0")[0] == 0


def test_a_paused_dag_takes_calls_and_is_not_waited_for(declare, parse, change_dag, robots):
    declare("score")
    parse("score")
    change_dag("score", is_paused=True)
    code, out, _ = robots("apply", "--wait")
    assert code == 0
    assert "DAG score: paused" in out


def test_what_is_late_is_listed_and_the_exit_code_says_so(declare, parse, robots, bitrix):
    declare("known")
    declare("new")
    parse("known")
    code, out, err = robots("apply", "--wait", "0", "--json")
    assert code == 1
    assert {robot.code for robot in bitrix.robots} == {"known", "new"}
    assert err.splitlines()[-2:] == [
        "Error: after 0 seconds Airflow does not take the calls of 1 robots yet:",
        f"  new: {NOT_PARSED}",
    ]
    assert [robot["dag"]["takes_calls"] for robot in json.loads(out)["robots"]] == [True, False]


def test_a_database_that_is_away_for_a_moment_ends_no_waiting(declare, parse, robots, monkeypatch):
    from sqlalchemy.exc import OperationalError

    from airflow_provider_b24.robots import parsed_dags

    declare("score")
    real, looks = parsed_dags.robot_dags, []

    def ask(wanted: Any) -> Any:
        looks.append(1)
        if len(looks) == 2:
            raise OperationalError("SELECT", {}, Exception("away"))
        if len(looks) == 3:
            parse("score")
        return real(wanted)

    monkeypatch.setattr(parsed_dags, "robot_dags", ask)
    monkeypatch.setattr("airflow_provider_b24.robots.command._LOOK_SECONDS", 0.01)
    code, _, err = robots("apply", "--wait")
    assert (code, len(looks)) == (0, 3)
    assert "Waiting for Airflow to parse: score" in err
