"""What ``airflow-b24 calls`` understands, and how it shows what it found."""

import argparse
import datetime as dt
import json

import pytest

from airflow_provider_b24.calls.answering import AnswerRefusedError
from airflow_provider_b24.calls.by_hand import typed_answer
from airflow_provider_b24.calls.command import _COLOURS, _STATES, _show, add_arguments, key_and_text, moment
from airflow_provider_b24.calls.listing import CallReport
from airflow_provider_b24.calls.table import STATES
from airflow_provider_b24.robots import Property
from airflow_provider_b24.robots.definition import RobotDefinition

NOON = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def report():
    def make(**changes):
        values = {
            "id": "0123456789abcdef",
            "conn_id": "crm",
            "code": "score",
            "dag_id": "score_dag",
            "run_id": "bitrix24__0123456789abcdef",
            "process": "67e3.1",
            "document": "crm/CCrmDocumentLead/LEAD_77",
            "state": "received",
            "reason": None,
            "sent_at": NOON,
            "received_at": NOON,
            "answer_by": None,
            "answered_at": None,
            "answered_by": None,
            "last_error": None,
        }
        return CallReport(**values | changes)

    return make


def test_the_command_knows_all_states():
    assert _STATES == STATES
    assert set(_COLOURS) <= set(STATES)


def test_a_report_has_the_fields_of_the_contract_and_is_safe_for_json(report):
    shown = json.loads(json.dumps(report(answer_by=NOON).to_json()))
    assert list(shown) == [
        "id",
        "conn_id",
        "code",
        "dag_id",
        "run_id",
        "process",
        "document",
        "state",
        "reason",
        "sent_at",
        "received_at",
        "answer_by",
        "answered_at",
        "answered_by",
        "last_error",
    ]
    assert (shown["answer_by"], shown["answered_at"]) == ("2026-05-04T12:00:00+00:00", None)


def test_what_people_read_says_who_answered_and_why(report, capsys):
    calls = [
        report(state="failure-answered", answered_by="dispatcher", answered_at=NOON, reason="the run failed"),
        report(reason="the DAG is paused", last_error="portal away"),
    ]
    _show(calls)
    shown = capsys.readouterr()
    assert "2026-05-04 12:00:00 dispatcher" in shown.out
    assert "LEAD_77" in shown.out
    assert "the DAG is paused; portal away" in shown.out
    assert shown.err == "1 failure-answered, 1 received\n"


def test_what_a_portal_calls_its_processes_is_shown_as_it_is(report, capsys):
    _show([report(process="67e3[/red][bold]", code="[x]", reason="[link=x]")])
    shown = capsys.readouterr().out
    for text in ("67e3[/red][bold]", "[x]", "[link=x]"):
        assert text in shown


def test_a_slash_in_the_id_of_a_document_cuts_nothing(report, capsys):
    _show([report(document="lists/BizprocDocument/2026/7")])
    assert " 2026/7 " in capsys.readouterr().out


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


def test_what_was_typed_is_read_by_the_type_of_each_property(robot):
    typed = typed_answer(robot, {"score": ["5"], "hot": ["Y"], "owners": ["user_1", "2"]})
    assert typed == {"score": 5.0, "hot": "Y", "owners": ["user_1", "user_2"]}


def test_without_values_the_process_gets_those_for_failure(robot):
    assert typed_answer(robot, None) == {"hot": "N"}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"grade": ["A"]}, "grade: no such return property"),
        ({"score": ["high"]}, "'high'"),
        ({"hot": ["Y"]}, "'score' is required"),
        ({"score": ["1", "2"]}, "'score' has one value, but 2 were given"),
        (
            {"score": ["high"], "hot": ["so so"], "grade": ["A"]},
            "'score': 'high' is no number.*'hot'.*'so so'.*grade: no such return property",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_sent(robot, values, complaint):
    with pytest.raises(AnswerRefusedError, match=f"Nothing was sent.*{complaint}"):
        typed_answer(robot, values)


@pytest.mark.parametrize(
    ("text", "ago"),
    [("90m", dt.timedelta(minutes=90)), ("12h", dt.timedelta(hours=12)), ("2w", dt.timedelta(weeks=2))],
)
def test_a_time_can_be_told_by_how_long_ago_it_was(text, ago):
    before = dt.datetime.now(dt.UTC)
    assert before - ago <= moment(text) <= dt.datetime.now(dt.UTC) - ago


def test_a_time_can_be_told_as_iso_8601():
    assert moment("2026-05-04T12:00+00:00") == NOON
    assert moment("2026-05-04").tzinfo is dt.UTC


@pytest.mark.parametrize("text", ["yesterday", "", "5", "5y", "-1d", "999999w"])
def test_anything_else_is_no_time(text):
    with pytest.raises(argparse.ArgumentTypeError):
        moment(text)


@pytest.mark.parametrize("text", ["verdict", "=x", ""])
def test_a_value_needs_a_key(text):
    with pytest.raises(argparse.ArgumentTypeError):
        key_and_text(text)
    assert key_and_text("verdict=a=b") == ("verdict", "a=b")
    assert key_and_text("verdict=") == ("verdict", "")


def test_the_command_line_of_each_form():
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    listing = parser.parse_args(
        ["--since", "7d", "--state", "received", "--state", "too-late", "--process", "67e3.1", "--json"]
    )
    answering = parser.parse_args(["answer", "name", "--value", "a=1", "--value", "a=2"])
    retrying = parser.parse_args(["--conn-id", "crm", "retry"])

    assert (listing.calls_command, listing.state, listing.process) == (
        None,
        ["received", "too-late"],
        "67e3.1",
    )
    assert (answering.calls_command, answering.call, answering.value) == (
        "answer",
        "name",
        [("a", "1"), ("a", "2")],
    )
    assert (retrying.calls_command, retrying.conn_id, retrying.call) == ("retry", ["crm"], [])
