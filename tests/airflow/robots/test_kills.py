"""Exactly one answer although parts of Airflow are killed, most of them when the portal has just accepted it.

A process goes on after its answer, so the portal says ``true`` to a second one and ignores it.
"""

import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_b24.robots import Property
from airflow_provider_b24.robots.definition import RobotDefinition
from airflow_provider_b24.sandbox import AskPerson, CallRobot, Delay, SandboxPortal
from airflow_provider_b24.testing.airflow_api import wait_until
from airflow_provider_b24.testing.local_airflow import LocalAirflow
from airflow_provider_b24.testing.sandbox_connection import oauth_connection

SECONDS = 400
"""More than the lease of an answer, which somebody else goes on with after it."""
DAG_FILE = Path(__file__).parent / "dags" / "mortal_robots.py"
OWN = "no verdict"
"""What the robots answer when there is no other answer."""
IN_HAND = 30
IDLE_WORKER = re.compile(r"airflow worker -- LocalExecutor: <idle>")

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
    shutil.copy(DAG_FILE, dags)
    home = tmp_path_factory.mktemp("mortal_airflow")
    with LocalAirflow(dags, home=home, env=IMPATIENT, revive=False) as airflow:
        airflow.add_connection("bitrix24_default", oauth_connection(mortal_portal))
        for code in ("mortal", "deferred"):
            register(mortal_portal, code, f"{airflow.url}/bitrix24/bitrix24_default/robots/{code}")
        register(mortal_portal, "before_the_upgrade", "http://127.0.0.1:9/nobody")
        yield airflow


def register(portal: SandboxPortal, code: str, handler: str) -> None:
    properties = {"seconds": Property.int("Seconds"), "fails": Property.bool("Fails")}
    robot = RobotDefinition(
        code, code, properties=properties, return_properties={"verdict": Property.string("Verdict")}
    )
    portal.robot_registry.add("robot", portal.application.client_id, robot.to_registration(handler))


def kill(airflow: LocalAirflow, part: str) -> None:
    """Kill all processes of a part of Airflow."""
    processes = airflow.processes()[part]
    assert processes, f"no {part} runs"
    for process in processes:
        os.kill(process, signal.SIGKILL)
    assert wait_until(lambda: not set(processes) & set(airflow.processes()[part]), 20)


@contextmanager
def no_workers(airflow: LocalAirflow) -> Iterator[None]:
    """Stop every worker that has nothing to do, as if all were away."""
    ended, stopped = threading.Event(), set[int]()

    def stop() -> None:
        while not ended.wait(0.05):
            for process in airflow._running_tree().processes():
                if process.pid not in stopped and IDLE_WORKER.search(process.title):
                    os.kill(process.pid, signal.SIGSTOP)
                    stopped.add(process.pid)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        assert wait_until(lambda: bool(stopped), 20)
        yield
    finally:
        ended.set()
        thread.join()
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def start_as_version_0_1(one: Any, portal: SandboxPortal) -> None:
    """Start the run of a call as version 0.1 did: with the token in clear, and nothing in the table."""
    [posted] = [call for call in portal.calls if call.fields["workflow_id"] == one.process.id]
    names = ("event_token", "workflow_id", "code", "document_id", "document_type", "use_subscription")
    conf = {name: posted.fields[name] for name in names}
    properties = {"seconds": None, "fails": posted.fields["properties"]["fails"] == "Y"}
    conf |= {"ts": int(posted.fields["ts"]), "timeout_duration": 0, "properties": properties, "unfit": {}}
    one.airflow.trigger(one.dag_id, conf | properties, one.run_id)


@pytest.fixture(scope="module")
def killed(mortal_airflow: LocalAirflow, mortal_portal: SandboxPortal, robot_caller: Any) -> SimpleNamespace:
    """Calls for each part of Airflow that is killed in the middle of it; all are settled."""
    call_robot = robot_caller(mortal_airflow, mortal_portal)

    def accept_without_saying_so(one: Any) -> None:
        """Let the portal accept an answer, and not say so as long as the test takes."""
        for method in ("bizproc.event.send", "batch"):
            mortal_portal.faults.add(Delay(600, after_work=True), method=method, about=one.process.id)
        mortal_portal.wait_until(lambda: one.got is not None, SECONDS)
        mortal_portal.faults.clear()

    old = [call_robot("before_the_upgrade", posted=False, fails=fails) for fails in ("N", "Y")]
    for one in old:
        start_as_version_0_1(one, mortal_portal)

    dispatched = call_robot("mortal", fails="Y")
    accept_without_saying_so(dispatched)
    steps = [CallRobot("mortal", {}, name="Robot"), AskPerson(1, "Is it true?")]
    in_hand = [mortal_portal.start_process(steps) for _ in range(IN_HAND)]
    mortal_portal.wait_until(
        lambda: any(
            call.status for call in mortal_portal.calls if call.fields["workflow_id"] == in_hand[0].id
        )
    )
    kill(mortal_airflow, "api-server")
    mortal_airflow.start_part("api-server")
    assert wait_until(lambda: is_up(mortal_airflow), SECONDS)
    mortal_airflow.request("PATCH", "dags/before_the_upgrade", {"is_paused": False})
    accepted = [one for process in in_hand if (one := call_robot.accepted(process, "mortal")) is not None]

    working = call_robot("mortal", seconds=300)
    working.kill_worker("work")
    working.wait_for_row(settled)  # or the troubles of the next ones would befall it
    replying = call_robot("mortal")
    accept_without_saying_so(replying)
    replying.kill_worker("reply")
    deferred = call_robot("deferred")
    accept_without_saying_so(deferred)
    kill(mortal_airflow, "triggerer")
    kill(mortal_airflow, "dag-processor")
    unparsed = call_robot("mortal")
    unscheduled = call_robot("mortal", seconds=8)
    unscheduled.wait_for_task("work", "running")
    kill(mortal_airflow, "scheduler")
    for part in ("scheduler", "triggerer", "dag-processor"):
        mortal_airflow.start_part(part)
    for one in (replying, deferred, unparsed, unscheduled, *old, *accepted):
        one.wait_for_row(settled)

    waiting, failed_in_queue = call_robot("mortal", seconds=15), call_robot("mortal", seconds=15)
    for one in (waiting, failed_in_queue):
        one.wait_for_task("work", "running")
    with no_workers(mortal_airflow):
        limited = call_robot("mortal", timeout=60)
        for one in (waiting, failed_in_queue):
            one.wait_for_task("reply", "queued")
        # As Airflow does with some executors when no worker comes for long.
        failed_in_queue.mark_task("reply", "failed")
        for one in (limited, failed_in_queue):
            one.wait_for_row(settled)
        assert waiting.got is None
    assert wait_until(lambda: not call_robot.open_calls(), SECONDS), call_robot.open_calls()
    return SimpleNamespace(
        dispatched=dispatched,
        working=working,
        replying=replying,
        deferred=deferred,
        unparsed=unparsed,
        unscheduled=unscheduled,
        old_good=old[0],
        old_failing=old[1],
        waiting=waiting,
        failed_in_queue=failed_in_queue,
        limited=limited,
        accepted=accepted,
    )


def settled(row: dict[str, Any]) -> bool:
    return row["state"] not in ("received", "running")


def is_up(airflow: LocalAirflow) -> bool:
    import requests

    try:
        return bool(airflow.request("GET", "version"))
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def listed(
    killed: SimpleNamespace,
    mortal_airflow: LocalAirflow,
    list_all: Callable[..., dict[str, dict[str, Any]]],
) -> dict[str, dict[str, Any]]:
    """What ``airflow-b24 calls`` says of each run."""
    return list_all(mortal_airflow)


@pytest.mark.parametrize(
    ("name", "state", "answered_by", "verdict"),
    [
        ("working", "failure-answered", "dispatcher", OWN),
        ("unparsed", "answered", "reply", "done"),
        ("unscheduled", "answered", "reply", "done"),
        ("old_good", "answered", "reply", "done"),
        ("old_failing", "failure-answered", "dispatcher", OWN),
        ("waiting", "answered", "reply", "done"),
        ("failed_in_queue", "failure-answered", "dispatcher", OWN),
        ("limited", "failure-answered", "dispatcher", OWN),
    ],
)
def test_a_killed_part_leaves_one_answer_that_is_on_record(
    killed: SimpleNamespace,
    listed: dict[str, dict[str, Any]],
    name: str,
    state: str,
    answered_by: str,
    verdict: str,
) -> None:
    one, record = getattr(killed, name), listed[getattr(killed, name).run_id]

    assert one.got == {"verdict": verdict}
    assert one.unneeded == 0
    assert (record["state"], record["answered_by"]) == (state, answered_by)


@pytest.mark.parametrize(
    ("name", "state", "answered_by", "verdict"),
    [
        ("replying", "answered", "reply", "done"),
        ("deferred", "answered", "reply", "done"),
        ("dispatched", "failure-answered", "dispatcher", OWN),
    ],
)
def test_what_was_accepted_before_the_kill_is_sent_again_and_ignored(
    killed: SimpleNamespace,
    listed: dict[str, dict[str, Any]],
    name: str,
    state: str,
    answered_by: str,
    verdict: str,
) -> None:
    one, record = getattr(killed, name), listed[getattr(killed, name).run_id]

    assert one.got == {"verdict": verdict}
    # The second try can die with the scheduler, and a slow sender can give up before it is killed.
    assert one.unneeded >= 1
    assert (record["state"], record["answered_by"]) == (state, answered_by)


def test_an_api_server_that_is_killed_loses_no_call_that_it_has_accepted(
    killed: SimpleNamespace, listed: dict[str, dict[str, Any]]
) -> None:
    assert killed.accepted
    for one in killed.accepted:
        record = listed[one.run_id]
        assert (one.got, record["state"]) in (
            ({"verdict": "done"}, "answered"),
            ({"verdict": OWN}, "failure-answered"),
        )


def test_every_process_that_was_answered_is_on_record_with_what_it_got(
    killed: SimpleNamespace, mortal_portal: SandboxPortal, listed: dict[str, dict[str, Any]]
) -> None:
    answered = {
        process.id: process.answers for process in mortal_portal.processes.values() if process.answers
    }
    states = {"done": "answered", OWN: "failure-answered"}

    assert {record["process"]: record["state"] for record in listed.values()} == {
        process: states[answers["Robot"]["verdict"]] for process, answers in answered.items()
    }
