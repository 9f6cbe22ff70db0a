"""Pytest fixtures for people who test their own DAGs against a Bitrix24 portal on their own machine.

With `pytest_plugins = ["airflow_provider_b24.testing"]` in your `conftest.py`::

    def test_a_big_budget_is_hot(run_robot):
        assert run_robot(score_lead(), budget=60000)["verdict"] == "hot"

`run_robot` needs what `dag.test()` needs: Airflow's metadata database (`airflow db migrate`) and the DAG's file in
Airflow's DAG folder. Calls with `bitrix24_connection` need the database, too: its tokens live in an Airflow Variable.
`sandbox_portal` needs nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_b24.sandbox import CallActivity, CallRobot, SandboxPortal
from airflow_provider_b24.testing.sandbox_connection import as_environment, oauth_connection

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_provider_b24.robots import RobotCall
    from airflow_provider_b24.robots.definition import RobotDefinition

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
        _run(dag, definition, RobotCall.from_form(call.fields, definition))
        if not process.finished:
            raise AssertionError(f"The DAG {dag.dag_id!r} has ended, but the process was not answered")
        return process.answers["Robot"]

    return run


@contextmanager
def _without_pauses(dag: DAG) -> Iterator[None]:
    """Let tasks that fail be retried at once: a test has nothing to wait for."""
    from airflow_provider_b24.robots.definition import REPLY_TASK_ID

    delays = [(task, task.retry_delay) for task in dag.tasks if task.task_id != REPLY_TASK_ID]
    for task, _ in delays:
        task.retry_delay = dt.timedelta(0)
    try:
        yield
    finally:
        for task, delay in delays:
            task.retry_delay = delay


def _run(dag: DAG, definition: RobotDefinition, call: RobotCall) -> None:
    """Run all tasks, then do what the dispatcher does when a run has failed: answer with the values for failure."""
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

    with _without_pauses(dag):
        dag_run = dag.test(run_conf=call.to_conf())
    if dag_run.state == "failed" and call.use_subscription:
        with Bitrix24Hook(definition.bitrix24_conn_id) as hook:
            hook.send_event(call.token, definition.answer(definition.on_failure, complete=False))
