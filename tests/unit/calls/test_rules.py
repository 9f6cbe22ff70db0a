"""Who may answer when: a table of all ways in which a run can go on or end."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from airflow_provider_b24._airflow.reply_states import SeenRun
from airflow_provider_b24.calls.rules import Answered, Owed, TooLate, Wait, next_step
from airflow_provider_b24.operators._answer_note import AnswerNote

NOON = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
MINUTE = dt.timedelta(minutes=1)


def note(outcome: Any, ago: float = 60.0, error: str = "") -> str:
    return AnswerNote(outcome, NOON - dt.timedelta(seconds=ago), {"score": 5}, error).to_xcom()


def step(
    *, answer_by: dt.datetime | None = None, ends: dt.datetime | None = None, **seen: Any
) -> Wait | Answered | TooLate | Owed:
    return next_step(SeenRun(**seen), answer_by=answer_by, process_ends_at=ends, now=NOON)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({"run_state": "queued"}, "the run is queued"),
        ({"run_state": "queued", "is_paused": True}, "the DAG is paused"),
        ({"run_state": "running"}, None),
        ({"run_state": "running", "is_paused": True}, "the DAG is paused"),
        ({"run_state": "running", "task_state": "scheduled"}, None),
        ({"run_state": "running", "task_state": "queued"}, "reply waits for a worker"),
        ({"run_state": "running", "task_state": "running", "tries": 1}, None),
        ({"run_state": "running", "task_state": "deferred", "tries": 1}, None),
        ({"run_state": "running", "task_state": "up_for_retry", "tries": 3}, "reply will be tried again"),
        # Cleared and not begun again: what is left of the old try does not count.
        ({"run_state": "queued", "tries": 1}, "the run is queued"),
    ],
)
def test_while_reply_may_answer_the_dispatcher_waits_and_says_for_what(seen, reason):
    assert step(**seen) == Wait(reason)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({}, "its DAG run was deleted"),
        ({"run_state": "failed", "task_state": "upstream_failed"}, "the run failed"),
        ({"run_state": "failed", "task_state": "failed", "tries": 4}, "the run failed"),
        # The run was marked failed, or took longer than dagrun_timeout.
        ({"run_state": "failed", "task_state": "skipped"}, "the run failed"),
        # The run was marked success.
        (
            {"run_state": "success", "task_state": "skipped"},
            "ended without an answer: reply is skipped",
        ),
        # Upstream skipped, with a rule that lets reply skip.
        ({"run_state": "running", "task_state": "skipped"}, "the task reply is skipped"),
        ({"run_state": "running", "task_state": "upstream_failed"}, "the task reply is upstream_failed"),
        ({"run_state": "running", "task_state": "failed", "tries": 1}, "the task reply is failed"),
        ({"run_state": "running", "task_state": "removed"}, "the task reply is removed"),
        # Marked success by hand, before it has run and after.
        (
            {"run_state": "running", "task_state": "success", "tries": 0},
            "ended without an answer: reply was marked success and has not run",
        ),
        (
            {"run_state": "success", "task_state": "success", "tries": 0},
            "ended without an answer: reply was marked success and has not run",
        ),
        (
            {"run_state": "success", "task_state": "success", "tries": 2},
            "ended without an answer: reply is success",
        ),
        # The DAG was changed meanwhile, and has no such task any longer.
        ({"run_state": "success"}, "ended without an answer: reply is not there"),
    ],
)
@pytest.mark.parametrize("limit", [None, NOON + MINUTE])
def test_a_run_that_does_not_answer_leaves_it_to_the_dispatcher(seen, reason, limit):
    assert step(**seen, answer_by=limit, ends=limit) == Owed(reason)


@pytest.mark.parametrize(
    "seen",
    [
        {"run_state": "running", "task_state": "running", "tries": 1},
        {"run_state": "success", "task_state": "success", "tries": 1},
        # Marked failed after it had answered; the run may stay success.
        {"run_state": "success", "task_state": "failed", "tries": 1},
        {"run_state": "failed", "task_state": "failed", "tries": 1},
        {"run_state": "failed", "task_state": "skipped", "tries": 1},
        # Cleared after it had answered: Airflow still shows the note of the old try.
        {"run_state": "queued", "tries": 1},
    ],
)
@pytest.mark.parametrize("limit", [None, NOON - MINUTE])
def test_a_delivery_that_is_noted_counts_whatever_has_become_of_the_run(seen, limit):
    found = step(**seen, note=note("delivered"), answer_by=limit, ends=limit)
    assert isinstance(found, Answered)
    assert (found.note.at, found.note.values) == (NOON - MINUTE, {"score": 5})


RUNNING: dict[str, Any] = {"run_state": "running", "task_state": "running", "tries": 1}


class TestLimits:
    def test_before_answer_by_reply_answers(self):
        assert step(**RUNNING, answer_by=NOON + SECOND, ends=NOON + MINUTE) == Wait()

    def test_from_answer_by_on_the_dispatcher_does(self):
        found = step(**RUNNING, answer_by=NOON, ends=NOON + MINUTE)
        assert found == Owed("no answer yet, and the process does not wait much longer")

    def test_what_is_left_to_bitrix24_is_not_answered_at_the_limit(self):
        assert step(**RUNNING, answer_by=NOON, ends=NOON) == Wait()

    @pytest.mark.parametrize("answer_by", [NOON - MINUTE, NOON - 6 * SECOND])
    def test_when_the_process_has_gone_on_by_itself_nothing_is_sent(self, answer_by):
        found = step(**RUNNING, answer_by=answer_by, ends=NOON - 6 * SECOND)
        assert isinstance(found, TooLate)
        assert "by its own limit" in found.reason

    def test_an_answer_that_arrived_in_the_last_moment_may_still_be_noted(self):
        assert isinstance(step(**RUNNING, answer_by=NOON - SECOND, ends=NOON - SECOND), Wait)

    def test_a_run_that_failed_after_the_limit_is_too_late_too(self):
        assert isinstance(step(run_state="failed", answer_by=NOON - MINUTE, ends=NOON - MINUTE), TooLate)


class TestSending:
    """``reply`` has begun to send, and has not noted how that went."""

    @pytest.mark.parametrize(
        "seen",
        [
            {"run_state": "failed", "task_state": "failed", "tries": 1},
            {"run_state": "success", "task_state": "skipped", "tries": 1},
            {"run_state": "queued", "tries": 1},
            {"run_state": "running", "task_state": "running", "tries": 1},
        ],
    )
    def test_a_moment_ago_it_is_waited_for(self, seen):
        found = step(**seen, note=note("sending", ago=3), answer_by=NOON, ends=NOON + MINUTE)
        assert found == Wait("reply has begun to send the answer")

    def test_lost_and_over_it_is_owed_as_uncertain(self):
        found = step(run_state="failed", task_state="failed", tries=1, note=note("sending"))
        assert found == Owed("the run failed", NOON - MINUTE)

    def test_while_the_next_try_may_come_it_is_noted_that_it_may_have_arrived(self):
        found = step(run_state="running", task_state="up_for_retry", tries=1, note=note("sending"))
        assert found == Wait("reply will be tried again", NOON - MINUTE)

    def test_a_try_that_is_still_sending_is_not_taken_for_lost(self):
        found = step(run_state="running", task_state="running", tries=1, note=note("sending", ago=2))
        assert found == Wait()


class TestOtherNotes:
    def test_a_refusal_while_the_run_goes_on_waits_for_the_end(self):
        found = step(run_state="running", task_state="up_for_retry", tries=1, note=note("refused"))
        assert found == Wait("reply will be tried again")

    def test_a_refusal_at_the_end_means_that_nobody_waits(self):
        found = step(
            run_state="failed", task_state="failed", tries=1, note=note("refused", error="token used")
        )
        assert found == TooLate("the portal did not take the answer of reply: token used")

    def test_what_the_triggerer_was_about_to_send_was_not_sent(self):
        found = step(run_state="failed", task_state="failed", tries=1, note=note("due"))
        assert found == Owed("the run failed")

    @pytest.mark.parametrize("damaged", ["", "{", "[]", {"outcome": "delivered"}, {"outcome": "?"}, 7])
    def test_a_note_that_is_none_is_as_good_as_no_note(self, damaged):
        assert step(run_state="failed", note=damaged) == Owed("the run failed")
