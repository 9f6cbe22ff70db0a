"""What became of a call, judged by what is noted; and what the command understands."""

import argparse
import datetime as dt
import json

import pytest

from airflow_provider_b24.robots import Property
from airflow_provider_b24.robots.answers import AnswerNote
from airflow_provider_b24.robots.calls import STATES, CallError, CallReport, _state, _typed
from airflow_provider_b24.robots.calls_command import _STATES, _show, add_arguments, key_and_text, moment
from airflow_provider_b24.robots.definition import RobotDefinition

NOON = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)


def note(by, outcome):
    return AnswerNote(by, outcome, NOON)


@pytest.mark.parametrize(
    ("run_state", "notes", "state", "by"),
    [
        ("queued", [], "running", None),
        ("running", [], "running", None),
        ("running", [note("reply", "sending")], "running", None),
        ("running", [note("reply", "delivered")], "answered", "reply"),
        ("success", [note("reply", "delivered")], "answered", "reply"),
        ("failed", [note("reply", "refused"), note("hand", "delivered")], "answered", "hand"),
        ("failed", [note("reply_on_failure", "delivered")], "failure-answered", "reply_on_failure"),
        ("running", [note("deadline", "delivered")], "failure-answered", "deadline"),
        ("failed", [note("deadline", "delivered"), note("reply", "refused")], "failure-answered", "deadline"),
        ("failed", [note("deadline", "refused")], "failure-answered", "callback"),
        ("failed", [note("deadline", "refused"), note("reply", "refused")], "refused", None),
        ("failed", [note("reply_on_failure", "refused")], "refused", None),
        ("running", [note("deadline", "refused")], "running", None),
        ("failed", [note("reply", "sending")], "unanswered", None),
        ("failed", [], "unanswered", None),
        ("success", [], "unanswered", None),
        ("success", [note("reply", "not wanted")], "not-awaited", None),
    ],
)
def test_the_state_of_a_call(run_state, notes, state, by) -> None:
    assert _state(run_state, {"use_subscription": "Y"}, notes)[:2] == (state, by)


def test_a_process_that_does_not_wait_needs_no_answer() -> None:
    assert _state("failed", {"use_subscription": "N"}, [])[0] == "not-awaited"


def test_the_command_knows_all_states() -> None:
    assert _STATES == STATES


def test_a_report_is_safe_for_json() -> None:
    report = CallReport(NOON, "dag", "run", "score", "1.2", "success", "answered", "reply", NOON)

    assert json.loads(json.dumps(report.to_json()))["received_at"] == "2026-05-04T12:00:00+00:00"


@pytest.fixture
def robot():
    return RobotDefinition(
        code="score",
        name="Score",
        return_properties={
            "score": Property.double("Score", required=True),
            "hot": Property.bool("Hot"),
            "owners": Property.user("Owners", multiple=True),
        },
        on_failure={"hot": False},
    )


def test_what_was_typed_is_read_by_the_type_of_each_property(robot) -> None:
    typed = _typed(robot, {"score": ["5"], "hot": ["Y"], "owners": ["user_1", "2"]})

    assert typed == {"score": 5.0, "hot": "Y", "owners": ["user_1", "user_2"]}


def test_without_values_the_process_gets_those_for_failure(robot) -> None:
    assert _typed(robot, None) == {"hot": "N"}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"grade": ["A"]}, "grade: no such return property"),
        ({"score": ["high"]}, "'high'"),
        ({"hot": ["Y"]}, "'score' is required"),
        ({"score": ["1", "2"]}, "'score' has one value, but 2 were given"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_sent(robot, values, complaint) -> None:
    with pytest.raises(CallError, match=f"Nothing was sent.*{complaint}"):
        _typed(robot, values)


@pytest.mark.parametrize(
    ("text", "ago"),
    [("90m", dt.timedelta(minutes=90)), ("12h", dt.timedelta(hours=12)), ("2w", dt.timedelta(weeks=2))],
)
def test_a_time_can_be_told_by_how_long_ago_it_was(text, ago) -> None:
    before = dt.datetime.now(dt.UTC)
    assert before - ago <= moment(text) <= dt.datetime.now(dt.UTC) - ago


def test_a_time_can_be_told_as_iso_8601() -> None:
    assert moment("2026-05-04T12:00+00:00") == NOON
    assert moment("2026-05-04").tzinfo is dt.UTC


@pytest.mark.parametrize("text", ["yesterday", "", "5", "5y", "-1d", "999999w"])
def test_anything_else_is_no_time(text) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        moment(text)


@pytest.mark.parametrize("text", ["verdict", "=x", ""])
def test_a_value_needs_a_key(text) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        key_and_text(text)
    assert key_and_text("verdict=a=b") == ("verdict", "a=b")
    assert key_and_text("verdict=") == ("verdict", "")


def test_the_command_line_of_both_forms() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    listing = parser.parse_args(["--since", "7d", "--state", "refused", "--state", "unanswered", "--json"])
    answering = parser.parse_args(["answer", "run", "--value", "a=1", "--value", "a=2"])

    assert (listing.calls_command, listing.state) == (None, ["refused", "unanswered"])
    assert (answering.calls_command, answering.run_id, answering.value) == (
        "answer",
        "run",
        [("a", "1"), ("a", "2")],
    )


def test_what_a_portal_calls_its_processes_is_shown_as_it_is(capsys) -> None:
    call = CallReport(
        received_at=dt.datetime(2026, 5, 4, tzinfo=dt.UTC),
        dag_id="score",
        run_id="bitrix24__1",
        code="score",
        workflow_id="67e3[/red][bold]",
        run_state="failed",
        state="unanswered",
    )
    _show([call])

    assert "67e3[/red][bold]" in capsys.readouterr().out
