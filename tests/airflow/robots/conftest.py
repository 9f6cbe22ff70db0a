"""Calls of robots, and what a test wants to know of each."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_b24.calls.table import run_id_of
from airflow_provider_b24.sandbox import AskPerson, Call, CallRobot, Process, SandboxPortal
from airflow_provider_b24.testing.airflow_api import wait_until
from airflow_provider_b24.testing.local_airflow import LocalAirflow

SECONDS = 300


@dataclass
class Called:
    """A robot that was called by a process, which asks a person something afterwards and so does not end."""

    airflow: LocalAirflow
    portal: SandboxPortal
    process: Process
    dag_id: str
    run_id: str
    token: str = field(repr=False)

    @property
    def got(self) -> dict[str, Any] | None:
        """What the process has got from the robot; nothing while it waits."""
        return self.process.answers.get("Robot")

    @property
    def unneeded(self) -> int:
        """How many answers came for a process that had gone on, or was over."""
        return self.process.ignored + sum(
            one.refused for one in self.portal.answers if one.token == self.token
        )

    @property
    def requests(self) -> int:
        """How often the portal was asked to go on with the process; a batch quotes the `|` in an event token."""
        return sum(self.process.id in str(request.parameters) for request in self.portal.requests)

    @property
    def log(self) -> str:
        return "\n".join(entry.message for entry in self.process.log)

    @property
    def row(self) -> dict[str, Any]:
        """What is on record now; the command that people read it with takes seconds."""
        [row] = rows(self.airflow, "run_id = ?", self.run_id)
        return row

    def has_row(self, condition: Callable[[dict[str, Any]], Any]) -> bool:
        """Tell whether what is on record meets a condition; while the database is busy a call lies in the spool."""
        return any(condition(row) for row in rows(self.airflow, "run_id = ?", self.run_id))

    @property
    def is_settled(self) -> bool:
        return self.has_row(lambda row: row["state"] not in ("received", "running"))

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        return self.airflow.task_instances(self.dag_id, self.run_id)

    def wait_for_row(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        assert wait_until(lambda: self.has_row(condition), SECONDS), (
            self.row,
            self.airflow.describe(self.dag_id, self.run_id),
        )

    def wait_for_task(self, task_id: str, *states: str) -> None:
        self.airflow.wait_for_task(self.dag_id, self.run_id, task_id, states, timeout=SECONDS)

    def wait_for_run(self, *states: str) -> None:
        self.airflow.wait_for_run(self.dag_id, self.run_id, states=states, timeout=SECONDS)

    def change(self, verb: str, path: str, body: dict[str, Any] | None = None) -> None:
        """Do what a person does in Airflow's UI."""
        self.airflow.request(verb, f"dags/{self.dag_id}{path}", body)

    def pause(self, is_paused: bool) -> None:
        self.change("PATCH", "", {"is_paused": is_paused})

    def mark_run(self, state: str) -> None:
        self.change("PATCH", f"/dagRuns/{self.run_id}", {"state": state})

    def delete_run(self) -> None:
        self.change("DELETE", f"/dagRuns/{self.run_id}")

    def mark_task(self, task_id: str, state: str) -> None:
        self.change("PATCH", f"/dagRuns/{self.run_id}/taskInstances/{task_id}", {"new_state": state})

    def clear(self, *task_ids: str) -> None:
        body = {
            "dry_run": False,
            "dag_run_id": self.run_id,
            "task_ids": task_ids,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.change("POST", "/clearTaskInstances", body)

    def kill_worker(self, task_id: str) -> None:
        """Kill a running task together with what supervises it."""
        self.wait_for_task(task_id, "running")
        pid = int(self.tasks[task_id]["pid"])
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        for process in (parent, pid):
            os.kill(process, signal.SIGKILL)

    def answer_by_hand(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_command(self.airflow, "calls", "answer", self.run_id, *arguments)


def rows(airflow: LocalAirflow, where: str, *values: Any) -> list[dict[str, Any]]:
    """Read calls from an Airflow's database."""
    database = f"file:{airflow.home / 'airflow.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(database, uri=True, timeout=60)) as connection:
        connection.row_factory = sqlite3.Row
        query = f"SELECT * FROM bitrix24_call WHERE {where}"
        return [dict(row) for row in connection.execute(query, values)]


def run_command(airflow: LocalAirflow, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``airflow-b24`` beside an Airflow."""
    command = [sys.executable, "-m", "airflow_provider_b24.cli", *arguments]
    return subprocess.run(command, env=airflow.env, capture_output=True, text=True, check=False)


def list_calls(airflow: LocalAirflow, *arguments: str) -> dict[str, dict[str, Any]]:
    """Ask ``airflow-b24 calls`` about each run."""
    listed = run_command(airflow, "calls", "--json", *arguments)
    assert listed.returncode == 0, listed.stderr
    return {one["run_id"]: one for one in json.loads(listed.stdout)}


@dataclass
class Caller:
    """Lets processes call the robots of an Airflow.

    :param portal: where the processes are.
    """

    airflow: LocalAirflow
    portal: SandboxPortal

    def __call__(
        self, code: str = "one_answer", timeout: int = 0, *, posted: bool = True, **properties: Any
    ) -> Called:
        """Start a process that calls a robot.

        :param posted: whether the call is accepted; otherwise nobody is there to take it.
        """
        step = CallRobot(code, properties, timeout_duration=timeout, name="Robot")
        process = self.portal.start_process([step, AskPerson(1, "Is it true?")])
        call = self._call_of(process)
        assert (call.status == 202) is posted, f"{call.status} {call.error} {call.answer}"
        return self._called(code, call)

    def accepted(self, process: Process, code: str) -> Called | None:
        """Give the call of a process, if it was accepted."""
        call = self._call_of(process)
        return self._called(code, call) if call.status == 202 else None

    def open_calls(self) -> list[dict[str, Any]]:
        """Give what is on record of the calls that are not settled."""
        return rows(self.airflow, "state IN ('received', 'running')")

    def _call_of(self, process: Process) -> Call:
        [call] = [call for call in self.portal.calls if call.fields["workflow_id"] == process.id]
        call.wait(60)
        return call

    def _called(self, code: str, call: Call) -> Called:
        process = self.portal.processes[call.fields["workflow_id"]]
        token = call.fields["event_token"]
        return Called(self.airflow, self.portal, process, code, run_id_of(token), token)


@pytest.fixture(scope="session")
def call_robot(live_airflow: LocalAirflow, live_portal: SandboxPortal) -> Caller:
    """Let a process call a robot of the Airflow that all tests share."""
    return Caller(live_airflow, live_portal)


@pytest.fixture(scope="session")
def robot_caller() -> type[Caller]:
    """The same for another Airflow and portal."""
    return Caller


@pytest.fixture(scope="session")
def list_all() -> Callable[..., dict[str, dict[str, Any]]]:
    """Ask an Airflow what became of its calls."""
    return list_calls
