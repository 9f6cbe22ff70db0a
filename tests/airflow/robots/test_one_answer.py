"""Every call gets exactly one answer, whatever way its DAG run ends: in a real Airflow, counted at the portal."""

import json
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_b24.testing.airflow_api import wait_until
from airflow_provider_b24.testing.local_airflow import LocalAirflow

SECONDS = 200
OWN = "no verdict"
"""What the robots answer when there is no other answer."""


@pytest.fixture(scope="module")
def calls(call_robot: Callable[..., Any]) -> SimpleNamespace:
    """One call for each way a run can end, side by side, until all of them have ended."""
    started = SimpleNamespace(
        too_slow=call_robot(seconds=45, timeout=60),
        timed_out=call_robot("one_answer_in_time", seconds=300),
        run_failed_by_hand=call_robot(seconds=300),
        run_ended_by_hand=call_robot(seconds=300),
        task_failed_by_hand=call_robot(seconds=300),
        reply_failed_by_hand=call_robot(seconds=60),
        good=call_robot(),
        failing=call_robot(fails="Y"),
        cut_short=call_robot("one_answer_cut_short"),
        unasked=call_robot("one_answer_unasked"),
        many=call_robot("one_answer_of_many"),
        many_failing=call_robot("one_answer_of_many", fails="Y"),
    )
    for one in (started.run_failed_by_hand, started.run_ended_by_hand, started.task_failed_by_hand):
        one.wait_for_task("work", "running")
    started.reply_failed_by_hand.mark_task("reply", "failed")  # first: it must not have begun by then
    started.run_failed_by_hand.mark_run("failed")
    started.run_ended_by_hand.mark_run("success")
    started.task_failed_by_hand.mark_task("work", "failed")
    for one in vars(started).values():
        one.wait_for_run("success", "failed")
    started.timed_out.wait_for_answer()  # the run has ended before
    return started


def test_a_run_that_ends_well_is_answered_by_its_reply_and_no_other_task_is_started(
    calls: SimpleNamespace,
) -> None:
    for one, verdict in ((calls.good, "done"), (calls.many, "6")):
        assert one.answers == [{"verdict": verdict}]
        assert one.refused == 0
        assert one.note("reply") == "delivered"
        assert one.tasks["reply_on_failure"]["state"] == "skipped"
        assert not one.tasks["reply_on_failure"]["pid"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("failing", "failed; failed tasks: work"),
        ("many_failing", "failed; failed tasks: parts.double"),
        ("task_failed_by_hand", "failed; failed tasks: work"),
        ("reply_failed_by_hand", "failed; failed tasks: reply"),
        ("run_failed_by_hand", "failed; failed tasks: work"),
        ("run_ended_by_hand", "ended without an answer"),
        ("cut_short", "ended without an answer"),
    ],
)
def test_a_run_that_ends_otherwise_is_answered_once_with_the_values_for_failure(
    calls: SimpleNamespace, name: str, says: str
) -> None:
    one = getattr(calls, name)

    assert one.answers == [{"verdict": OWN}]
    assert says in one.log
    assert one.note("reply_on_failure") == "delivered"
    assert one.tasks["reply_on_failure"]["state"] == "success"


def test_a_run_that_takes_longer_than_its_dagrun_timeout_is_answered_once(calls: SimpleNamespace) -> None:
    one = calls.timed_out

    assert one.answers == [{"verdict": OWN}]
    assert one.tasks["reply_on_failure"]["state"] == "skipped", "a time-out ends teardowns, too"


def test_a_process_gets_its_answer_before_it_stops_waiting_and_the_late_reply_says_so(
    calls: SimpleNamespace,
) -> None:
    one = calls.too_slow

    assert one.answers == [{"verdict": OWN}]
    assert "no answer yet, and the process does not wait much longer" in one.log
    assert "No answer in time" not in one.log, "the portal's own words when its timer goes off"
    assert one.states["work"] == "success"
    assert one.states["reply"] == "failed"
    assert "Too late, nothing was sent: the process has been answered with the on_failure values" in (
        one.airflow.task_log(one.dag_id, one.run_id, "reply")
    )
    assert (one.note("deadline"), one.note("reply")) == ("delivered", "refused")


def test_a_process_that_does_not_wait_is_sent_nothing(calls: SimpleNamespace) -> None:
    one = calls.unasked

    assert one.answers == []
    assert set(one.tasks) == {"work", "reply"}
    sent = {str(request.parameters.get("EVENT_TOKEN")) for request in one.portal.requests}
    assert one.token not in sent


def listed(airflow: LocalAirflow, *arguments: str) -> dict[str, dict[str, Any]]:
    """What ``airflow-b24 calls`` says of each run."""
    command = [sys.executable, "-m", "airflow_provider_b24.cli", "calls", "--json", *arguments]
    answer = subprocess.run(command, env=airflow.env, capture_output=True, text=True, check=True)
    return {one["run_id"]: one for one in json.loads(answer.stdout)}


def test_the_command_lists_what_became_of_each_call(
    calls: SimpleNamespace, live_airflow: LocalAirflow
) -> None:
    found = listed(live_airflow)

    states = {name: found[one.run_id]["state"] for name, one in vars(calls).items()}
    assert states.pop("unasked") == "not-awaited"
    assert {name for name, state in states.items() if state == "answered"} == {"good", "many"}
    assert set(states.values()) == {"answered", "failure-answered"}
    assert found[calls.good.run_id]["answered_by"] == "reply"
    assert found[calls.too_slow.run_id]["answered_by"] == "deadline"
    assert found[calls.timed_out.run_id]["answered_by"] in ("deadline", "callback")
    assert set(listed(live_airflow, "--state", "answered", "--dag-id", "one_answer_of_many")) == {
        calls.many.run_id
    }


def test_a_call_can_be_answered_by_hand_and_is_not_answered_again(
    calls: SimpleNamespace, live_airflow: LocalAirflow, call_robot: Callable[..., Any]
) -> None:
    one = call_robot(seconds=300)
    one.wait_for_task("work", "running")
    command = [sys.executable, "-m", "airflow_provider_b24.cli", "calls", "answer", one.run_id]

    by_hand = subprocess.run(
        [*command, "--value", "verdict=a person says so", "--message", "Looked at it"],
        env=live_airflow.env,
        capture_output=True,
        text=True,
        check=False,
    )
    again = subprocess.run(
        [*command, "--on-failure"], env=live_airflow.env, capture_output=True, text=True, check=False
    )
    one.mark_task("work", "success")
    one.wait_for_run("failed")

    assert by_hand.returncode == 0, by_hand.stderr
    assert again.returncode == 1
    assert "Nothing was sent: the process has been answered by hand" in again.stderr
    assert one.answers == [{"verdict": "a person says so"}]
    assert "Looked at it" in one.log
    assert listed(live_airflow)[one.run_id]["answered_by"] == "hand"
    assert one.token not in by_hand.stdout + by_hand.stderr + again.stdout + again.stderr


def test_a_run_that_is_cleared_does_not_answer_again(calls: SimpleNamespace) -> None:
    answered, failed = calls.good, calls.many
    for one in (answered, failed):
        one.clear("reply", "reply_on_failure")
    for one, verdict in ((answered, "done"), (failed, "6")):
        assert wait_until(lambda one=one: one.tasks["reply"]["try_number"] == 2, SECONDS)
        one.wait_for_run("success")
        assert one.answers == [{"verdict": verdict}]
        assert one.refused == 1
        assert one.note("reply") == "delivered"


def test_no_event_token_is_in_any_log(calls: SimpleNamespace, live_airflow: LocalAirflow) -> None:
    files = [live_airflow.output, *(file for file in live_airflow.logs.rglob("*") if file.is_file())]
    texts = {str(file.relative_to(live_airflow.home)): file.read_text(errors="replace") for file in files}
    secrets = {name: one.token.rpartition(".")[2] for name, one in vars(calls).items()}

    assert [
        f"{name} in {file}" for file, text in texts.items() for name, it in secrets.items() if it in text
    ] == []
    assert any("The process has its answer" in text for text in texts.values())
