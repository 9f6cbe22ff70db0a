"""Pytest fixtures for people who test their own DAGs against a Bitrix24 portal on their own machine.

With `pytest_plugins = ["airflow_provider_b24.testing"]` in your `conftest.py`::

    def test_a_big_budget_is_hot(run_robot):
        assert run_robot(score_lead(), budget=60000)["verdict"] == "hot"

`run_robot` needs what `dag.test()` needs: Airflow's metadata database (`airflow db migrate`) and the DAG's file in
Airflow's DAG folder. Calls with `bitrix24_connection` need the database, too: its tokens live in an Airflow Variable.
`sandbox_portal` needs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_b24.sandbox import CallActivity, CallRobot, SandboxPortal
from airflow_provider_b24.testing.sandbox_connection import as_environment, oauth_connection

if TYPE_CHECKING:
    from airflow.sdk import DAG

_NOBODY = "http://127.0.0.1:9/"
"""The discard port: the call is handed to the DAG by the fixture, not by HTTP."""


@pytest.fixture
def sandbox_portal() -> Iterator[SandboxPortal]:
    """Start a Bitrix24 portal of the test's own; what happens in it shows in its `requests`, `answers`, `processes`."""
    with SandboxPortal() as portal:
        yield portal


@pytest.fixture
def bitrix24_connection(sandbox_portal: SandboxPortal, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make `bitrix24_default` a connection to the sandbox portal, as its application.

    :returns: the connection id.
    """
    for name, value in as_environment(oauth_connection(sandbox_portal)).items():
        monkeypatch.setenv(name, value)
    return "bitrix24_default"


@pytest.fixture
def run_robot(
    sandbox_portal: SandboxPortal,
    bitrix24_connection: str,  # noqa: ARG001 - what the DAG answers with
) -> Callable[..., Mapping[str, Any]]:
    """Run a robot's DAG in this process, for a process in the portal that really waits for its answer.

    Call it with the DAG and the robot's properties. It returns what the process received, as Bitrix24 keeps it
    (`Y` for true, text for numbers): the values of the failure answer where the DAG failed.
    """

    def run(dag: DAG, **properties: Any) -> Mapping[str, Any]:
        from airflow_provider_b24.robots import RobotCall
        from airflow_provider_b24.robots.definition import definition_of

        definition = definition_of(dag)
        if definition is None:
            raise TypeError(f"DAG {dag.dag_id!r} is no robot: it was not made with @robot_dag")
        with sandbox_portal.changed:
            sandbox_portal.robot_registry.add(
                definition.kind, sandbox_portal.application.client_id, definition.to_registration(_NOBODY)
            )
        step = CallActivity if definition.kind == "activity" else CallRobot
        process = sandbox_portal.start_process([step(definition.code, properties, name="Robot")])
        call = sandbox_portal.wait_for_call()
        _run(dag, RobotCall.from_form(call.fields, definition).to_conf())
        if not process.finished:
            raise AssertionError(f"The DAG {dag.dag_id!r} has ended, but the process was not answered")
        return process.answers["Robot"]

    return run


def _run(dag: DAG, conf: dict[str, Any]) -> None:
    """Run all tasks, then do what Airflow's DAG processor does when a run has failed.

    `dag.test()` does not call a robot's failure callback: it has no conf to give to it.
    """
    dag_run = dag.test(run_conf=conf)
    callbacks = dag.on_failure_callback
    if dag_run.state == "failed":
        context: Any = {"dag": dag, "dag_run": dag_run, "run_id": dag_run.run_id, "reason": "task_failure"}
        for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
            if callback is not None:
                callback(context)
