"""``airflow-b24 doctor`` on robots: in the DAG files, in Airflow and in the portal."""

from __future__ import annotations

from typing import Any

from airflow_provider_b24 import cli


def parsed(folder: Any, dag_id: str) -> Any:
    """Parse DAG files as Airflow's DAG processor does."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.0 and 3.1
        from airflow.models.dagbag import DagBag
    return DagBag(str(folder)).dags[dag_id]


def test_robots_that_are_not_registered(installed, findings, dags_folder, capsys, write_robot):
    installed()
    file = write_robot()
    found = findings()["robots"]
    assert (found.verdict, found.what) == ("warning", "Robots: 0 as declared, 1 not registered.")
    assert cli.main(["robots", "apply", "--conn-id", "crm", "--dags-folder", str(dags_folder)]) == 0
    assert findings()["robots"].verdict == "ok"
    file.unlink()
    assert "1 without a DAG" in findings()["robots"].what


def test_dag_files_that_are_broken(installed, findings, dags_folder):
    installed()
    (dags_folder / "broken.py").write_text("from airflow.sdk import dag\n1 / 0\n")
    found = findings()["robots"]
    assert found.verdict == "failed"
    assert "broken.py" in found.what


def test_robots_whose_dags_airflow_does_not_run(installed, findings, dags_folder, publish_dag, write_robot):
    installed()
    write_robot()
    found = findings()["robot DAGs"]
    assert (found.verdict, found.what) == (
        "warning",
        "score: Airflow has not parsed it yet: calls are held until then.",
    )
    assert "`airflow dags list-import-errors`" in found.advice
    publish_dag(parsed(dags_folder, "score"))
    found = findings()["robot DAGs"]
    assert (found.verdict, found.what) == ("ok", "Airflow has parsed the robot's DAG.")


def test_robots_that_share_a_code_are_not_looked_for(installed, findings, write_robot):
    installed()
    for dag_id in ("one", "two"):
        write_robot(dag_id)
    found = findings()
    assert found["robots"].verdict == "failed"
    assert (found["robot DAGs"].verdict, "Two robots have the code" in found["robot DAGs"].what) == (
        "unknown",
        True,
    )
