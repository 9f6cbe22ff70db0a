"""What is said of a call when an earlier attempt may have arrived, or the process has gone on by its own limit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_b24.calls import answering
from airflow_provider_b24.calls.answering import AnswerRefusedError, Sender
from airflow_provider_b24.calls.by_hand import answer_by_hand
from airflow_provider_b24.sandbox import AnswerStatus, AskPerson, DropConnection

FAILED = [{"score": "-1.0"}]
DENIED = AnswerStatus(403, "ACCESS_DENIED", "Access denied!")


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def in_seconds(seconds: float) -> dt.datetime:
    return now() + dt.timedelta(seconds=seconds)


@pytest.fixture
def called(robot: Any, call_robot: Any, work: Any) -> Any:
    """A call whose run is under way; its process goes on afterwards, and the portal takes a second answer, too."""
    one = call_robot(robot, then=[AskPerson(1, "Is it true?")])
    work.start()
    one.set_run("running", task_state="running", tries=1)
    return one


@pytest.fixture
def dies(called: Any, work: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let a dispatcher send the answer and die before it has written that down; its lease is over."""

    def die() -> None:
        called.set_run("failed")
        work.watch()
        with monkeypatch.context() as patch:
            patch.setattr(Sender, "_record", _killed)
            with pytest.raises(KeyboardInterrupt):
                work.send()
        assert called.answers == FAILED
        called.change(leased_until=in_seconds(-1))

    return die


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def breaks_off(called: Any, work: Any, bitrix: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the dispatcher's connection break off when the portal has taken the answer."""

    def break_off() -> None:
        monkeypatch.setattr(answering, "_SECONDS_TO_SEND", 0.2)
        bitrix.faults.add(DropConnection(after_work=True), times=None)
        called.set_run("failed")
        work.turn()
        bitrix.faults.clear()
        assert (called.answers, called.row.maybe_sent_by) == (FAILED, "dispatcher")
        monkeypatch.setattr(answering, "_SECONDS_TO_SEND", 30.0)

    return break_off


@pytest.fixture(params=["dies", "breaks_off"])
def sent_by_the_dispatcher(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Let the dispatcher have sent an answer of which nobody knows whether it arrived."""
    happen: Callable[[], None] = request.getfixturevalue(request.param)
    return happen


class TestByHandAfterTheDispatcher:
    def test_a_refusal_means_that_the_dispatcher_was_first(self, called, sent_by_the_dispatcher, bitrix):
        sent_by_the_dispatcher()
        bitrix.faults.add(DENIED, "bizproc.event.send")
        answer_by_hand(called.call.id, {"score": ["7"]}, user="ann")
        assert (called.state, called.row.answered_by) == ("failure-answered", "dispatcher")
        assert called.row.answer is None

    def test_without_one_it_is_said_that_the_dispatcher_may_have_been_first(
        self, called, sent_by_the_dispatcher
    ):
        sent_by_the_dispatcher()
        answer_by_hand(called.call.id, {"score": ["7"]}, user="ann")
        assert called.state == "answered-by-hand"
        assert "an answer of the dispatcher, sent at " in called.row.reason
        assert called.row.reason.endswith(" UTC, may have come first")


class TestTheLimitOfTheProcess:
    def test_an_attempt_before_it_is_told_of(self, called, sent_by_the_dispatcher, work):
        called.change(answer_by=now(), process_ends_at=in_seconds(60))
        sent_by_the_dispatcher()
        called.change(process_ends_at=in_seconds(-10), due_at=in_seconds(-1))
        work.send()
        assert called.state == "too-late"
        assert "the process stopped waiting by its own limit" in called.row.reason
        assert "an answer of the dispatcher, sent at " in called.row.reason

    def test_what_the_dispatcher_sends_after_it_came_too_late(self, called, work):
        called.change(answer_by=in_seconds(-2), process_ends_at=in_seconds(-2))
        called.set_run("failed")
        work.turn()
        assert (called.state, called.row.answered_by) == ("too-late", None)
        assert called.row.reason == "the process stopped waiting by its own limit; the run failed"

    def test_after_it_nothing_is_sent_by_hand(self, called):
        called.change(process_ends_at=in_seconds(-100))
        with pytest.raises(AnswerRefusedError, match="nobody waits any more: the process stopped waiting"):
            answer_by_hand(called.call.id, {"score": ["7"]}, user="ann")
        assert (called.state, called.answers) == ("too-late", [])

    def test_who_sends_in_this_moment_says_how_it_ended(self, called):
        called.change(process_ends_at=in_seconds(-100), leased_by="another", leased_until=in_seconds(100))
        with pytest.raises(AnswerRefusedError, match="the dispatcher is answering this call in this moment"):
            answer_by_hand(called.call.id, {"score": ["7"]}, user="ann")
        assert called.state == "running"


def test_an_attempt_is_remembered_while_the_answer_cannot_be_read(called, dies, work):
    dies()
    payload = called.row.payload
    called.change(payload="garbage")
    work.send()
    assert called.row.maybe_sent_by == "dispatcher"
    assert called.mark["answered_by"] == "dispatcher"
    called.change(payload=payload, due_at=in_seconds(-1))
    work.send()
    assert called.state == "failure-answered"


def test_a_held_call_that_does_not_wait_keeps_its_run_when_somebody_would_answer_it(
    robot, call_robot, airflow_session, work
):
    from airflow.models.dag import DagModel

    airflow_session.get(DagModel, "score_lead").is_stale = True
    airflow_session.commit()
    called = call_robot(robot, waits="N")
    work.start()
    with pytest.raises(AnswerRefusedError, match="the process does not wait"):
        answer_by_hand(called.call.id, {"score": ["1"]}, user="ann")
    airflow_session.get(DagModel, "score_lead").is_stale = False
    airflow_session.commit()
    called.change(due_at=in_seconds(-1))
    work.start()
    assert called.run is not None
    assert (called.state, called.answers) == ("not-awaited", [])
