"""Calls of robots, and what a test wants to know of each."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_b24.receiver.robot_calls import run_id_of
from airflow_provider_b24.sandbox import CallRobot, Process, SandboxPortal
from airflow_provider_b24.testing.airflow_api import AirflowApiError, wait_until
from airflow_provider_b24.testing.local_airflow import LocalAirflow

SECONDS = 200


@dataclass
class Called:
    """A robot that was called, and the run that its call started."""

    airflow: LocalAirflow
    portal: SandboxPortal
    process: Process
    dag_id: str
    run_id: str
    token: str = field(repr=False)

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The values of every answer that the portal accepted."""
        return [
            one.values for one in self.portal.answers if one.token == self.token for _ in range(one.count)
        ]

    @property
    def refused(self) -> int:
        return sum(one.refused for one in self.portal.answers if one.token == self.token)

    @property
    def log(self) -> str:
        return "\n".join(entry.message for entry in self.process.log)

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        return self.airflow.task_instances(self.dag_id, self.run_id)

    @property
    def states(self) -> dict[str, str]:
        return {name: one["state"] for name, one in self.tasks.items()}

    def note(self, answerer: str) -> str | None:
        """What one answerer has noted about its answer."""
        key = f"bitrix24_answer_by_{answerer}"
        path = f"dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/robot_call/xcomEntries"
        entries = self.airflow.request("GET", path, limit=20)["xcom_entries"]
        if key not in {entry["key"] for entry in entries}:
            return None
        return self.airflow.xcom(self.dag_id, self.run_id, "robot_call", key)["outcome"]

    def attempts(self, answerer: str) -> int:
        """How often one answerer has begun to send."""
        return self.airflow.xcom(self.dag_id, self.run_id, "robot_call", f"bitrix24_answer_by_{answerer}")[
            "attempts"
        ]

    def wait_for_task(self, task_id: str, *states: str) -> None:
        self.airflow.wait_for_task(self.dag_id, self.run_id, task_id, states, timeout=SECONDS)

    def wait_for_run(self, *states: str) -> None:
        self.airflow.wait_for_run(self.dag_id, self.run_id, states=states, timeout=SECONDS)

    def wait_for_answer(self) -> None:
        self.portal.wait_until(lambda: bool(self.answers), SECONDS)

    def change(self, verb: str, path: str, body: dict[str, Any]) -> None:
        """Do what a person does in Airflow's UI, again if SQLite was busy with something else."""
        errors: list[AirflowApiError] = []

        def done() -> bool:
            try:
                self.airflow.request(verb, f"dags/{self.dag_id}/{path}", body)
            except AirflowApiError as error:
                errors.append(error)
                return False
            return True

        assert wait_until(done, 30, poll=2), errors

    def mark_run(self, state: str) -> None:
        self.change("PATCH", f"dagRuns/{self.run_id}", {"state": state})

    def mark_task(self, task_id: str, state: str) -> None:
        self.change("PATCH", f"dagRuns/{self.run_id}/taskInstances/{task_id}", {"new_state": state})

    def clear(self, *task_ids: str) -> None:
        body = {
            "dry_run": False,
            "dag_run_id": self.run_id,
            "task_ids": task_ids,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.change("POST", "clearTaskInstances", body)

    def kill_worker(self, task_id: str) -> None:
        """Kill a running task together with what supervises it."""
        self.wait_for_task(task_id, "running")
        pid = int(self.tasks[task_id]["pid"])
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        for process in (parent, pid):
            os.kill(process, signal.SIGKILL)


def call_robot_of(airflow: LocalAirflow, portal: SandboxPortal) -> Callable[..., Called]:
    """Give a function that lets a process call a robot."""

    def call_robot(code: str = "one_answer", timeout: int = 0, **properties: Any) -> Called:
        process = portal.start_process([CallRobot(code, properties, timeout_duration=timeout, name="Robot")])
        [posted] = [call for call in portal.calls if call.fields["workflow_id"] == process.id]
        posted.wait(60)
        assert posted.status == 202, f"{posted.error} {posted.answer}"
        token = posted.fields["event_token"]
        return Called(airflow, portal, process, code, run_id_of(token), token)

    return call_robot


@pytest.fixture(scope="session")
def call_robot(live_airflow: LocalAirflow, live_portal: SandboxPortal) -> Callable[..., Called]:
    """Let a process call a robot of the Airflow that all tests share."""
    return call_robot_of(live_airflow, live_portal)


@pytest.fixture(scope="session")
def robot_caller() -> Callable[[LocalAirflow, SandboxPortal], Callable[..., Called]]:
    """The same for another Airflow and portal."""
    return call_robot_of
