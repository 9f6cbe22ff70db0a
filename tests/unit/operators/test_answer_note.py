"""What a task that answers notes, and how it is read again by its next try, its trigger, and the dispatcher."""

import datetime as dt
import json

import pytest

from airflow_provider_b24.operators._answer_note import AnswerNote

NOON = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize("outcome", ["due", "sending", "delivered", "refused"])
@pytest.mark.parametrize("values", [None, {"score": 5.0, "owners": ["user_1"]}])
def test_a_note_is_read_as_it_was_written(outcome, values):
    note = AnswerNote(outcome, NOON, values, "why not")

    assert AnswerNote.from_xcom(note.to_xcom()) == note


def test_a_database_may_give_the_text_of_the_text():
    note = AnswerNote("delivered", NOON, {"score": 1})

    assert AnswerNote.from_xcom(json.dumps(note.to_xcom())) == note
    assert AnswerNote.from_xcom(json.loads(note.to_xcom())) == note


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "delivered",
        '"delivered"',
        {},
        [],
        5,
        {"outcome": "lost", "at": NOON.isoformat()},
        {"outcome": ["delivered"], "at": NOON.isoformat()},
        {"outcome": "delivered", "at": "noon"},
        {"outcome": "delivered", "at": 5},
        {"outcome": "delivered"},
    ],
)
def test_whatever_else_is_in_its_place_is_no_note(value):
    assert AnswerNote.from_xcom(value) is None


def test_odd_values_do_not_spoil_what_is_certain():
    note = AnswerNote.from_xcom(
        {"outcome": "delivered", "at": NOON.isoformat(), "values": "x", "error": None}
    )

    assert (note.outcome, note.at, note.values, note.error) == ("delivered", NOON, None, "")


def test_a_note_of_an_older_version_does_not_say_that_no_earlier_try_has_sent():
    kept = json.loads(AnswerNote("due", NOON).to_xcom())
    assert AnswerNote.from_xcom(kept).maybe_sent is False
    del kept["maybe_sent"]
    assert AnswerNote.from_xcom(kept).maybe_sent is True
