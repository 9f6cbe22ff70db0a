"""Exactly one answer although parts of Airflow are killed, most of them when the portal has just accepted it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_b24.sandbox import Delay, SandboxPortal
from airflow_provider_b24.testing.airflow_api import wait_until
from airflow_provider_b24.testing.local_airflow import LocalAirflow
from airflow_provider_b24.testing.sandbox_connection import oauth_connection

SECONDS = 200
DAG_FILE = Path(__file__).parents[1] / "dags" / "one_answer.py"
OWN = "no verdict"
"""What the robots answer when there is no other answer."""

# Airflow waits for minutes until it believes that a process is dead. These tests cannot.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
}


@pytest.fixture(scope="module")
def mortal_portal() -> Iterator[SandboxPortal]:
    with SandboxPortal() as portal:
        yield portal


@pytest.fixture(scope="module")
def mortal_airflow(
    mortal_portal: SandboxPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalAirflow]:
    """An Airflow of these tests' own: the other tests need theirs alive."""
    dags = tmp_path_factory.mktemp("mortal_dags")
    (dags / DAG_FILE.name).write_bytes(DAG_FILE.read_bytes())
    home = tmp_path_factory.mktemp("mortal_airflow")
    with LocalAirflow(dags, home=home, env=IMPATIENT, revive=False) as airflow:
        airflow.add_connection("bitrix24_default", oauth_connection(mortal_portal))
        command = [sys.executable, "-m", "airflow_provider_b24.cli", "robots", "apply", "--yes"]
        applied = subprocess.run(command, env=airflow.env, capture_output=True, text=True, check=False)
        assert applied.returncode == 0, applied.stdout + applied.stderr
        yield airflow


def kill(airflow: LocalAirflow, part: str) -> None:
    """Kill all processes of a part of Airflow."""
    processes = airflow.processes()[part]
    assert processes, f"no {part} runs"
    for process in processes:
        os.kill(process, signal.SIGKILL)
    assert wait_until(lambda: not set(processes) & set(airflow.processes()[part]), 20)


@pytest.fixture(scope="module")
def killed(mortal_airflow: LocalAirflow, mortal_portal: SandboxPortal, robot_caller: Any) -> SimpleNamespace:
    """One call for each part of Airflow that is killed in the middle of it; all runs have ended."""
    call_robot = robot_caller(mortal_airflow, mortal_portal)

    def accept_without_saying_so(one: Any) -> None:
        """Let the portal accept an answer, and not say so as long as the test takes."""
        for method in ("bizproc.event.send", "batch"):
            mortal_portal.faults.add(Delay(600, after_work=True), method=method)
        one.wait_for_answer()
        mortal_portal.faults.clear()

    timed_out = call_robot("one_answer_in_time", seconds=300)
    kill(mortal_airflow, "dag-processor")  # where the failure callback would run
    working = call_robot(seconds=300)
    working.kill_worker("work")
    for one in (timed_out, working):  # or the troubles of the next ones would befall them
        one.wait_for_answer()
    replying = call_robot()
    accept_without_saying_so(replying)
    replying.kill_worker("reply")
    failing = call_robot(fails="Y")
    accept_without_saying_so(failing)
    failing.kill_worker("reply_on_failure")
    at_deadline = call_robot(seconds=300, timeout=40)
    accept_without_saying_so(at_deadline)
    kill(mortal_airflow, "triggerer")
    unscheduled = call_robot(seconds=8)
    unscheduled.wait_for_task("work", "running")
    kill(mortal_airflow, "scheduler")
    for part in ("scheduler", "triggerer", "dag-processor"):
        mortal_airflow.start_part(part)
    for one in (timed_out, working, replying, failing, unscheduled):
        one.wait_for_run("success", "failed")
    assert wait_until(lambda: at_deadline.note("deadline") == "delivered", SECONDS)
    at_deadline.mark_run("failed")
    at_deadline.wait_for_run("success", "failed")
    return SimpleNamespace(
        at_deadline=at_deadline,
        timed_out=timed_out,
        working=working,
        replying=replying,
        failing=failing,
        unscheduled=unscheduled,
    )


def test_a_worker_killed_at_work_leaves_the_failure_answer(killed: SimpleNamespace) -> None:
    one = killed.working

    assert one.answers == [{"verdict": OWN}]
    assert one.refused == 0
    assert one.note("reply_on_failure") == "delivered"


def test_a_worker_killed_after_the_answer_was_accepted_changes_nothing(killed: SimpleNamespace) -> None:
    one = killed.replying

    assert one.answers == [{"verdict": "done"}]
    assert one.refused == 1
    assert one.states["reply"] == "success"
    assert one.states["reply_on_failure"] == "skipped"
    assert (one.note("reply"), one.attempts("reply")) == ("delivered", 2)


def test_a_worker_killed_after_the_failure_answer_was_accepted_changes_nothing(
    killed: SimpleNamespace,
) -> None:
    one = killed.failing

    assert one.answers == [{"verdict": OWN}]
    assert one.states["reply_on_failure"] == "success"
    assert (one.note("reply_on_failure"), one.attempts("reply_on_failure")) == ("delivered", 2)


def test_a_triggerer_killed_after_its_answer_was_accepted_changes_nothing(killed: SimpleNamespace) -> None:
    one = killed.at_deadline

    assert one.answers == [{"verdict": OWN}]
    assert "No answer in time" not in one.log
    assert one.attempts("deadline") == 2
    assert one.note("reply_on_failure") is None


def test_a_time_out_is_answered_without_a_dag_processor(killed: SimpleNamespace) -> None:
    one = killed.timed_out

    assert one.answers == [{"verdict": OWN}]
    assert one.note("deadline") == "delivered"


def test_a_scheduler_killed_in_the_middle_of_a_run_changes_nothing(killed: SimpleNamespace) -> None:
    one = killed.unscheduled

    assert one.answers == [{"verdict": "done"}]
    assert one.note("reply") == "delivered"


def test_nobody_is_answered_twice_when_all_parts_are_back(killed: SimpleNamespace) -> None:
    calls = vars(killed).values()

    assert [len(one.answers) for one in calls] == [1] * len(calls)
    assert all(process.finished for process in killed.working.portal.processes.values())
