"""Every call gets exactly one answer, whatever becomes of its run, its DAG, its connection and its portal.

In a real Airflow; what each process got is counted at its portal, and compared with what is on record.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_b24.robots import Property
from airflow_provider_b24.robots.definition import RobotDefinition
from airflow_provider_b24.sandbox import AnswerStatus, DropConnection, SandboxPortal
from airflow_provider_b24.testing.airflow_api import wait_until
from airflow_provider_b24.testing.local_airflow import LocalAirflow
from airflow_provider_b24.testing.sandbox_connection import oauth_connection

SECONDS = 300
OWN = "no verdict"
"""What the robots answer when there is no other answer."""
WAITING = 65
"""More runs than Airflow would look at at once."""

TROUBLED = Path(__file__).parent / "dags" / "troubled_robots.py"
IN_A_FILE = """
from airflow.sdk import task
from airflow_provider_b24.robots import Property, robot_dag


@robot_dag(
    code={code!r},
    dag_id={code!r},
    name={code!r},
    return_properties={{"verdict": Property.string("Verdict")}},
    on_failure={{"verdict": "no verdict"}},
)
def robot():
    @task
    def work():
        return {{"verdict": "done"}}

    return work()


robot()
"""


@pytest.fixture(scope="module")
def register(live_airflow: LocalAirflow) -> Callable[..., None]:
    """Register robots in a portal without looking at any DAG."""

    def register(portal: SandboxPortal, conn_id: str, *codes: str) -> None:
        properties = {"seconds": Property.int("Seconds"), "fails": Property.bool("Fails")}
        for code in codes:
            robot = RobotDefinition(
                code, code, properties=properties, return_properties={"verdict": Property.string("Verdict")}
            )
            handler = f"{live_airflow.url}/bitrix24/{conn_id}/robots/{code}"
            portal.robot_registry.add("robot", portal.application.client_id, robot.to_registration(handler))

    return register


@pytest.fixture(scope="module")
def robots(
    live_airflow: LocalAirflow, live_portal: SandboxPortal, register: Callable[..., None]
) -> Iterator[LocalAirflow]:
    """The Airflow that all tests share, with troubled robots beside the others."""
    shutil.copy(TROUBLED, live_airflow.dags_folder)
    register(live_portal, "bitrix24_default", "one_at_a_time", "urgent", "paused", "left_to_bitrix24")
    live_airflow.wait_for_dags("urgent", "left_to_bitrix24", timeout=SECONDS)
    yield live_airflow
    (live_airflow.dags_folder / TROUBLED.name).unlink()


class File:
    """A DAG file that comes and goes.

    :param code: its robot.
    """

    def __init__(self, airflow: LocalAirflow, code: str) -> None:
        self.airflow, self.code = airflow, code
        self.path = airflow.dags_folder / f"{code}.py"

    def write(self) -> None:
        self.path.write_text(IN_A_FILE.format(code=self.code))

    def spoil(self) -> None:
        self.path.write_text(IN_A_FILE.format(code=self.code).replace("return {", "return ["))

        def is_noticed() -> bool:
            return any(Path(file).name == self.path.name for file in self.airflow.import_errors())

        assert wait_until(is_noticed, SECONDS)

    def remove(self) -> None:
        self.path.unlink()
        assert wait_until(lambda: self.code not in self.airflow.dags(), SECONDS)


@pytest.fixture(scope="module")
def portals(robots: LocalAirflow, register: Callable[..., None]) -> Iterator[SimpleNamespace]:
    """Portals that are going to have troubles, each with a connection of its own."""
    with SandboxPortal() as scope, SandboxPortal() as gone, SandboxPortal() as dead:
        found = SimpleNamespace(scope=scope, gone=gone, dead=dead)
        for name, portal in vars(found).items():
            robots.add_connection(f"bitrix24_{name}", oauth_connection(portal))
            register(portal, f"bitrix24_{name}", f"of_{name}")
        yield found
        for name in vars(found):
            robots.request("DELETE", f"connections/bitrix24_{name}")


def do_what_people_do(calls: SimpleNamespace) -> None:
    """Mark, delete and answer by hand, before these runs can end by themselves."""
    calls.reply_failed.mark_task("reply", "failed")
    calls.reply_succeeded.mark_task("reply", "success")
    calls.run_failed.mark_run("failed")
    calls.run_succeeded.mark_run("success")
    calls.run_deleted.mark_run("failed")
    calls.run_deleted.delete_run()
    calls.queued_run_deleted.delete_run()
    # A task that a worker begins in the same moment would not notice.
    calls.task_failed.wait_for_task("work", "running")
    calls.task_failed.mark_task("work", "failed")
    for one in (calls.by_hand, calls.broken_by_hand):
        answered = one.answer_by_hand("--value", "verdict=a person says so", "--message", "Looked at it")
        assert answered.returncode == 0, answered.stderr
        assert one.token not in answered.stdout + answered.stderr
    calls.by_hand.wait_for_task("work", "running")
    calls.by_hand.mark_task("work", "success")


@pytest.fixture(scope="module")
def calls(
    robots: LocalAirflow,
    live_portal: SandboxPortal,
    portals: SimpleNamespace,
    register: Callable[..., None],
    call_robot: Callable[..., Any],
    robot_caller: Callable[..., Any],
) -> SimpleNamespace:
    """One call for each case, side by side, until all are settled."""
    files = {name: File(robots, name) for name in ("broken", "removed", "not_yet_there")}
    register(live_portal, "bitrix24_default", *files)
    for name in ("broken", "removed"):
        files[name].write()
    robots.wait_for_dags("broken", "removed", timeout=SECONDS)
    files["removed"].path.unlink()  # it takes Airflow a minute to notice
    files["broken"].spoil()
    for name in ("paused", "left_to_bitrix24"):
        robots.request("PATCH", f"dags/{name}", {"is_paused": True})

    calls = SimpleNamespace(
        reply_failed=call_robot(seconds=60),
        reply_succeeded=call_robot(seconds=60),
        run_failed=call_robot(seconds=300),
        run_succeeded=call_robot(seconds=300),
        task_failed=call_robot(seconds=300),
        run_deleted=call_robot(seconds=300),
        by_hand=call_robot(seconds=300),
        queued_run_deleted=call_robot("paused"),
        paused=call_robot("paused"),
        left_to_bitrix24=call_robot("left_to_bitrix24", timeout=30),
        limit_in_a_paused_dag=call_robot("paused", timeout=60),
        broken=call_robot("broken"),
        broken_by_hand=call_robot("broken"),
        broken_limit=call_robot("broken", timeout=60),
        not_yet_there=call_robot("not_yet_there"),
        unfit=call_robot(seconds="many"),
    )
    do_what_people_do(calls)
    files["not_yet_there"].write()

    # How runs end by themselves.
    more = {
        "too_slow": call_robot(seconds=45, timeout=60),
        "timed_out": call_robot("one_answer_in_time", seconds=300),
        "good": call_robot(),
        "failing": call_robot(fails="Y"),
        "cut_short": call_robot("one_answer_cut_short"),
        "unasked": call_robot("one_answer_unasked"),
        "many": call_robot("one_answer_of_many"),
        "many_failing": call_robot("one_answer_of_many", fails="Y"),
    }

    # Processes that are locked, and portals and connections that fail for a while.
    for name in ("locked", "locked_failing", "ends_between_tries"):
        more[name] = call_robot(seconds=5, fails="N" if name != "locked_failing" else "Y")
        live_portal.lock_process(more[name].process)
    portals.scope.faults.add(
        AnswerStatus(403, "insufficient_scope", "Too few rights"), "bizproc.event.send", times=None
    )
    portals.dead.faults.add(DropConnection(), times=None)
    for name, portal in vars(portals).items():
        for fails in ("N", "Y"):
            caller = robot_caller(robots, portal)
            more[name + ("_failing" if fails == "Y" else "")] = caller(f"of_{name}", seconds=5, fails=fails)
    for name in ("cleared_before", "taken_back"):
        more[name] = robot_caller(robots, portals.scope)("of_scope", seconds=5)
    for fails in ("gone", "gone_failing"):
        more[fails].wait_for_row(lambda row: row["state"] == "running")
    robots.request("DELETE", "connections/bitrix24_gone")

    for name in ("locked", "locked_failing", "ends_between_tries"):
        one = more[name]
        live_portal.wait_until(lambda one=one: one.requests > 1, SECONDS)
    for name in ("scope", "gone", "dead"):
        more[f"{name}_failing"].wait_for_row(lambda row: row["attempts"] > 0 and row["last_error"])
        more[name].wait_for_task("reply", "up_for_retry")
    live_portal.engine.terminate(more["ends_between_tries"].process, "ended by its designer")
    for name in ("cleared_before", "taken_back"):
        more[name].wait_for_task("reply", "up_for_retry")
    more["cleared_before"].clear("reply")
    more["taken_back"].mark_run("failed")
    more["taken_back"].wait_for_row(lambda row: row["answering"] and row["attempts"] > 0)
    more["taken_back"].clear("reply")
    more["taken_back"].wait_for_task("reply", "up_for_retry")
    for name in ("locked", "locked_failing"):
        live_portal.unlock_process(more[name].process)
    for portal in vars(portals).values():
        portal.faults.clear()
    robots.add_connection("bitrix24_gone", oauth_connection(portals.gone))

    # DAGs that come back.
    assert wait_until(lambda: "removed" not in robots.dags(), SECONDS)
    more["removed"] = call_robot("removed")
    more["removed"].wait_for_row(lambda row: bool(row["reason"]))
    for name in ("removed", "broken"):
        files[name].write()
    calls.paused.pause(False)

    for name, one in more.items():
        setattr(calls, name, one)
    for one in vars(calls).values():
        assert wait_until(lambda one=one: one.is_settled, SECONDS), (
            one.row,
            robots.describe(one.dag_id, one.run_id),
        )
    return calls


HELD = "no run could be started in time"
AGREED = {
    "good": ("answered", "reply", "done", None),
    "many": ("answered", "reply", "6", None),
    "failing": ("failure-answered", "dispatcher", OWN, "; failed tasks: work"),
    "many_failing": ("failure-answered", "dispatcher", OWN, "; failed tasks: parts.double"),
    "cut_short": ("failure-answered", "dispatcher", OWN, "reply is skipped"),
    "task_failed": ("failure-answered", "dispatcher", OWN, "failed tasks: work"),
    "reply_failed": ("failure-answered", "dispatcher", OWN, "the task reply is failed"),
    "reply_succeeded": ("failure-answered", "dispatcher", OWN, "reply was marked success and has not run"),
    # Airflow's scheduler may find all tasks ended in the same moment, and call the run a success.
    "run_failed": ("failure-answered", "dispatcher", OWN, ""),
    "run_succeeded": ("failure-answered", "dispatcher", OWN, "ended without an answer"),
    "run_deleted": ("failure-answered", "dispatcher", OWN, ""),
    "queued_run_deleted": ("failure-answered", "dispatcher", OWN, "its DAG run was deleted"),
    "timed_out": ("failure-answered", "dispatcher", OWN, "the run failed"),
    "too_slow": ("failure-answered", "dispatcher", OWN, "no answer yet, and the process does not wait much"),
    "limit_in_a_paused_dag": ("failure-answered", "dispatcher", OWN, "the process does not wait much longer"),
    "broken_limit": ("failure-answered", "dispatcher", OWN, HELD),
    "unfit": ("failure-answered", "dispatcher", OWN, "does not fit the robot's properties: seconds"),
    "paused": ("answered", "reply", "done", None),
    "broken": ("answered", "reply", "done", None),
    "removed": ("answered", "reply", "done", None),
    "not_yet_there": ("answered", "reply", "done", None),
    "locked": ("answered", "reply", "done", None),
    "scope": ("answered", "reply", "done", None),
    "gone": ("answered", "reply", "done", None),
    "dead": ("answered", "reply", "done", None),
    "cleared_before": ("answered", "reply", "done", None),
    "taken_back": ("answered", "reply", "done", None),
    "locked_failing": ("failure-answered", "dispatcher", OWN, "failed tasks: work"),
    "scope_failing": ("failure-answered", "dispatcher", OWN, "failed tasks: work"),
    "gone_failing": ("failure-answered", "dispatcher", OWN, "failed tasks: work"),
    "dead_failing": ("failure-answered", "dispatcher", OWN, "failed tasks: work"),
    "by_hand": ("answered-by-hand", "hand:", "a person says so", None),
    "broken_by_hand": ("answered-by-hand", "hand:", "a person says so", None),
}
"""For each call: its state, who has answered, what the process got, and why."""


@pytest.fixture(scope="module")
def listed(
    calls: SimpleNamespace, robots: LocalAirflow, list_all: Callable[..., dict[str, dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """What ``airflow-b24 calls`` says of each run."""
    return list_all(robots)


@pytest.mark.parametrize("name", AGREED)
def test_the_process_got_one_answer_and_the_record_says_the_same(
    calls: SimpleNamespace, listed: dict[str, dict[str, Any]], name: str
) -> None:
    one, record = getattr(calls, name), listed[getattr(calls, name).run_id]
    state, answered_by, verdict, reason = AGREED[name]

    assert one.got == {"verdict": verdict}
    assert one.unneeded == 0
    assert (record["state"], record["process"]) == (state, one.process.id)
    assert record["answered_by"].startswith(answered_by)
    assert record["answered_at"]
    if reason is None:
        assert state != "answered" or record["reason"] is None
    else:
        assert reason in record["reason"]
        assert record["reason"].split(";")[0] in one.log, "the process's own log says why, too"


def test_a_limit_that_is_left_to_bitrix24_is_over_there(
    calls: SimpleNamespace, listed: dict[str, dict[str, Any]]
) -> None:
    one, record = calls.left_to_bitrix24, listed[calls.left_to_bitrix24.run_id]

    assert one.got == {"IsTimeout": 1}
    assert one.unneeded == 0
    assert (record["state"], record["answered_by"]) == ("too-late", None)
    assert "by its own limit" in record["reason"]


def test_a_process_that_ends_between_two_tries_gets_nothing(
    calls: SimpleNamespace, listed: dict[str, dict[str, Any]]
) -> None:
    one, record = calls.ends_between_tries, listed[calls.ends_between_tries.run_id]

    assert one.got is None
    assert (record["state"], record["answered_by"]) == ("too-late", None)
    assert "did not take the answer of reply" in record["reason"]
    assert "may have come first" not in record["reason"]


def test_a_process_that_does_not_wait_is_sent_nothing(
    calls: SimpleNamespace, listed: dict[str, dict[str, Any]]
) -> None:
    one = calls.unasked
    one.wait_for_run("success")

    assert one.got is None
    assert set(one.tasks) == {"work", "reply"}
    assert listed[one.run_id]["state"] == "not-awaited"
    sent = {str(request.parameters.get("EVENT_TOKEN")) for request in one.portal.requests}
    assert one.token not in sent


def test_a_reply_that_comes_too_late_says_who_has_answered_and_sends_nothing(calls: SimpleNamespace) -> None:
    one = calls.too_slow
    one.wait_for_run("failed")

    assert one.tasks["work"]["state"] == "success"
    assert "has been answered with the on_failure values, by the dispatcher" in (
        one.airflow.task_log(one.dag_id, one.run_id, "reply")
    )


def test_a_run_that_goes_on_is_told_of_an_answer_by_hand(calls: SimpleNamespace) -> None:
    one = calls.by_hand
    one.wait_for_run("success")

    assert one.tasks["reply"]["state"] == "skipped"
    assert "Looked at it" in one.log
    assert "has been answered by hand" in one.airflow.task_log(one.dag_id, one.run_id, "reply")
    again = one.answer_by_hand("--on-failure")
    assert again.returncode == 1
    assert "Nothing was sent: the process has been answered by hand" in again.stderr


def test_no_run_is_started_for_what_did_not_fit_or_was_answered_before_its_dag_was_back(
    calls: SimpleNamespace, robots: LocalAirflow
) -> None:
    for one in (calls.unfit, calls.broken_by_hand, calls.broken_limit):
        assert one.run_id not in {run["dag_run_id"] for run in robots.dag_runs(one.dag_id)}


@pytest.mark.parametrize(
    ("name", "state", "says"),
    [
        ("good", "success", "the process has been answered by this run's task reply"),
        ("many", "success", "the process has been answered by this run's task reply"),
        (
            "failing",
            "failed",
            "Too late. Nothing was sent: the process has been answered with the on_failure",
        ),
    ],
)
def test_a_run_that_is_cleared_after_the_answer_does_not_answer_again(
    calls: SimpleNamespace, robots: LocalAirflow, name: str, state: str, says: str
) -> None:
    one = getattr(calls, name)
    one.wait_for_run("success", "failed")
    before = one.tasks["reply"]["try_number"]
    if name == "failing":
        one.mark_task("work", "success")
    one.clear("reply")
    assert wait_until(lambda: one.tasks["reply"]["try_number"] > before, SECONDS)
    one.wait_for_task("reply", state)

    assert says in robots.task_log(one.dag_id, one.run_id, "reply", one.tasks["reply"]["try_number"])
    assert one.unneeded == 0


def test_many_waiting_runs_hold_up_nobody(
    calls: SimpleNamespace,
    robots: LocalAirflow,
    call_robot: Callable[..., Any],
    list_all: Callable[..., dict[str, dict[str, Any]]],
) -> None:
    first = call_robot("one_at_a_time", seconds=600)
    waiting = [call_robot("one_at_a_time") for _ in range(WAITING)]
    for one in waiting:
        one.wait_for_row(lambda row: row["state"] == "running")
    urgent = call_robot("urgent", seconds=300, timeout=40)
    urgent.wait_for_row(lambda row: row["state"] not in ("received", "running"))
    urgent.mark_run("failed")
    robots.request("PATCH", "dags/one_at_a_time", {"is_paused": True})
    for one in waiting:
        one.delete_run()
    first.mark_run("failed")
    for one in (first, *waiting):
        one.wait_for_row(lambda row: row["state"] not in ("received", "running"))

    listed = list_all(robots, "--state", "failure-answered", "--robot", "urgent", "--robot", "one_at_a_time")
    assert [one.got for one in (urgent, first, *waiting)] == [{"verdict": OWN}] * (WAITING + 2)
    assert [one.unneeded for one in (urgent, first, *waiting)] == [0] * (WAITING + 2)
    assert set(listed) == {one.run_id for one in (urgent, first, *waiting)}


def test_no_event_token_is_in_any_log_or_conf(calls: SimpleNamespace, robots: LocalAirflow) -> None:
    files = [robots.output, *(file for file in robots.logs.rglob("*") if file.is_file())]
    texts = {str(file.relative_to(robots.home)): file.read_text(errors="replace") for file in files}
    texts["conf of a run"] = str(robots.dag_run(calls.good.dag_id, calls.good.run_id)["conf"])
    secrets = {name: one.token.rpartition(".")[2] for name, one in vars(calls).items()}

    assert [
        f"{name} in {file}" for file, text in texts.items() for name, it in secrets.items() if it in text
    ] == []
    assert any("The portal has taken the answer" in text for text in texts.values())
