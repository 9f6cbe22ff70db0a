"""What is noted about the answers of a call, and how it is read again."""

import datetime as dt

import pytest

from airflow_provider_b24.robots.answers import ANSWERERS, CALL_TASK_ID, AnswerNote, AnswerNotes, key_of

NOON = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def kept_xcoms(monkeypatch):
    """XComs in memory."""
    from airflow.sdk.execution_time.xcom import XCom

    kept = {}

    def place(key, dag_id, task_id, run_id, map_index):
        return (dag_id, run_id, task_id, map_index, key)

    monkeypatch.setattr(XCom, "get_one", lambda key, **task: kept.get(place(key, **task)))
    monkeypatch.setattr(XCom, "set", lambda key, value, **task: kept.__setitem__(place(key, **task), value))
    return kept


@pytest.mark.parametrize("by", ANSWERERS)
def test_a_note_is_read_as_it_was_written(by) -> None:
    note = AnswerNote(by, "delivered", NOON, attempts=3)

    assert AnswerNote.from_xcom(key_of(by), note.to_xcom()) == note


@pytest.mark.parametrize(
    "value",
    [
        None,
        "delivered",
        {},
        {"outcome": "lost", "at": NOON.isoformat()},
        {"outcome": "delivered", "at": "noon"},
        {"outcome": "delivered"},
        {"outcome": "delivered", "at": NOON.isoformat(), "attempts": "many"},
    ],
)
def test_whatever_else_is_in_its_place_is_no_note(value) -> None:
    assert AnswerNote.from_xcom(key_of("reply"), value) is None


def test_the_xcom_of_somebody_else_is_no_note() -> None:
    assert AnswerNote.from_xcom("return_value", AnswerNote("reply", "sending", NOON).to_xcom()) is None


def test_notes_lie_under_a_task_that_never_runs(kept_xcoms) -> None:
    AnswerNotes("dag", "run").write("reply", "delivered")

    assert list(kept_xcoms) == [("dag", "run", CALL_TASK_ID, -1, "bitrix24_answer_by_reply")]


def test_attempts_are_counted_for_each_answerer_by_itself(kept_xcoms) -> None:
    notes = AnswerNotes("dag", "run")

    assert [notes.begin("reply"), notes.begin("reply"), notes.begin("deadline")] == [1, 2, 1]
    assert notes.read("reply").outcome == "sending"


def test_who_has_answered_is_found_among_the_others(kept_xcoms) -> None:
    notes = AnswerNotes("dag", "run")
    notes.write("reply", "delivered")
    notes.write("deadline", "refused")

    assert notes.answered("deadline").by == "reply"
    assert notes.answered("reply") is None
    assert notes.answered().by == "reply"


def test_an_answer_on_its_way_is_waited_for_once(kept_xcoms) -> None:
    notes = AnswerNotes("dag", "run")
    notes.begin("deadline")
    pauses = []

    def pause() -> None:
        pauses.append(True)
        notes.write("deadline", "delivered")

    assert notes.answered("reply", pause).by == "deadline"
    assert notes.answered("reply", pause).by == "deadline"
    assert pauses == [True]


@pytest.mark.parametrize("by", ANSWERERS)
def test_a_note_tells_a_reader_who_has_answered_and_when(by) -> None:
    assert "at 2026-05-04 12:00:00 UTC" in str(AnswerNote(by, "delivered", NOON))
