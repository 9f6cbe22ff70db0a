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
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    (`Y` for true, text for numbers): the values of the failure answer where the DAG failed, or properties do not fit,
    which starts no run. Which tasks have failed, or which properties, and why, is printed then: pytest shows it with a
    test that fails.
    """

    def run(dag: DAG, **properties: Any) -> Mapping[str, Any]:
        from airflow_provider_b24.robots import RobotCall
        from airflow_provider_b24.robots.call import MalformedCallError, UnfitCallError
        from airflow_provider_b24.robots.definition import definition_of

        definition = definition_of(dag)
        if definition is None:
            raise TypeError(f"DAG {dag.dag_id!r} is no robot: it was not made with @robot_dag")
        _look_for_database()
        with sandbox_portal.changed:
            sandbox_portal.robot_registry.add(
                definition.kind, sandbox_portal.application.client_id, definition.to_registration(_NOBODY)
            )
        step = CallActivity if definition.kind == "activity" else CallRobot
        process = sandbox_portal.start_process([step(definition.code, properties, name="Robot")])
        call = sandbox_portal.wait_for_call()
        try:
            robot_call = RobotCall.from_form(call.fields, definition)
        except (MalformedCallError, UnfitCallError) as error:
            if process.waiting_for:
                _answer_with_on_failure(definition, process.waiting_for)
            print(f"No run of {dag.dag_id}, its process got on_failure. {error}")  # noqa: T201
        else:
            _run(dag, definition, robot_call)
        if not process.finished:
            raise AssertionError(f"The DAG {dag.dag_id!r} has ended, but the process was not answered")
        return process.answers["Robot"]

    return run


def _look_for_database() -> None:
    """Fail with what to do where Airflow has no database: `dag.test()` would with a page of SQL."""
    from sqlalchemy import inspect
    from sqlalchemy.exc import SQLAlchemyError

    from airflow_provider_b24._airflow.database import DatabaseHangsError, reading
    from airflow_provider_b24._airflow.home import airflow_home

    try:
        with reading() as session:
            if inspect(session.connection()).has_table("dag_run"):
                return
        what = "has no tables"
    except (SQLAlchemyError, DatabaseHangsError) as error:
        what = f"cannot be read ({type(error).__name__})"
    pytest.fail(
        f"run_robot needs Airflow's database, and it {what}. Run `airflow db migrate` once, with the same environment "
        f"as pytest: AIRFLOW_HOME is {airflow_home()} here. docs/testing.md shows which variables to set.",
        pytrace=False,
    )


@contextmanager
def _without_pauses(dag: DAG) -> Iterator[list[str]]:
    """Let tasks that fail be retried at once, as a test has nothing to wait for, and note which fail, and why."""
    from airflow_provider_b24.robots.definition import REPLY_TASK_ID

    failures: list[str] = []

    def note(context: Mapping[str, Any]) -> None:
        failures.append(_failure(context["task_instance"].task_id, context.get("exception")))

    before = [(task, task.retry_delay, task.on_failure_callback) for task in dag.tasks]
    for task, _, callbacks in before:
        if task.task_id != REPLY_TASK_ID:
            task.retry_delay = dt.timedelta(0)
        others = callbacks if isinstance(callbacks, Sequence) else [callbacks] if callbacks else []
        task.on_failure_callback = [*others, note]
    try:
        yield failures
    finally:
        for task, delay, callbacks in before:
            task.retry_delay, task.on_failure_callback = delay, callbacks


def _failure(task_id: str, error: object) -> str:
    if not isinstance(error, BaseException):
        return f"task {task_id}: its log says why"  # before 3.3, `dag.test()` does not tell callbacks
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"task {task_id}: {type(error).__name__}: {error}{place}"


def _run(dag: DAG, definition: RobotDefinition, call: RobotCall) -> None:
    """Run all tasks, then do what the dispatcher does when a run has failed: answer with the values for failure."""
    with _without_pauses(dag) as failures:
        dag_run = dag.test(run_conf=call.to_conf())
    if dag_run.state != "failed":
        return
    if call.use_subscription:
        _answer_with_on_failure(definition, call.token)
    # Last, so that it stands below what Airflow prints.
    print("\n  ".join([f"The DAG {dag.dag_id} has failed; its process got on_failure.", *failures]))  # noqa: T201


def _answer_with_on_failure(definition: RobotDefinition, token: str) -> None:
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

    with Bitrix24Hook(definition.bitrix24_conn_id) as hook:
        hook.send_event(token, definition.answer(definition.on_failure, complete=False))
