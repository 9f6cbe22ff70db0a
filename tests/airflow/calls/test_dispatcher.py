"""The dispatcher's loop: what ends it, and what goes on beside what fails."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy.exc import DataError

from airflow_provider_b24.calls import watching
from airflow_provider_b24.calls.answering import BATCH, Sender
from airflow_provider_b24.calls.dispatcher import Dispatcher
from airflow_provider_b24.calls.watching import Watcher

DATABASES = ("sqlite",)
REFUSED = DataError("UPDATE", {"answer": "secret"}, Exception("secret"))


class Backlog(Sender):
    """Always has more to send, up to ten requests."""

    def __init__(self):
        super().__init__()
        self.requests, self.sends, self.may_go_on = 0, threading.Event(), threading.Event()

    def connections_due(self):
        return ["crm"]

    def send_due(self, conn_id):
        self.requests += 1
        self.sends.set()
        assert self.may_go_on.wait(30)
        return BATCH if self.requests < 10 else 0


def test_after_its_end_it_begins_no_request_more(metadata_database):
    backlog = Backlog()
    dispatcher = Dispatcher(sender=backlog)
    dispatcher.turn()
    assert backlog.sends.wait(30)
    dispatcher.stop()
    backlog.may_go_on.set()
    dispatcher._pool.shutdown(wait=True)
    assert backlog.requests == 1


def test_answers_are_sent_also_while_runs_cannot_be_watched(called, work, monkeypatch):
    called.set_run("failed")
    work.watch()

    def watch(_self):
        raise RuntimeError

    monkeypatch.setattr(Watcher, "watch", watch)
    dispatcher = Dispatcher()
    with pytest.raises(RuntimeError):
        dispatcher.turn()
    dispatcher._pool.shutdown(wait=True)
    dispatcher.stop()
    assert (called.state, called.answers) == ("failure-answered", [{"score": "-1.0"}])


def test_an_answer_that_the_database_does_not_take_holds_up_nobody(
    robot, call_robot, work, monkeypatch, caplog, told
):
    calls = [call_robot(robot) for _ in range(5)]
    work.start()
    bad = calls[2]
    for one in calls:
        one.set_run("success", task_state="success", tries=1)
        one.note("delivered", score=5.0)
    real, tries = watching.note_answered, []

    def note_answered(call, *args):
        if call.id == bad.call.id:
            tries.append(call)
            raise REFUSED
        return real(call, *args)

    watcher = Watcher()
    with monkeypatch.context() as patch:
        patch.setattr(watching, "note_answered", note_answered)
        assert watcher.watch() == 4
        before = len(tries)
        assert watcher.watch() == 0
    assert len(tries) == before
    assert {one.state for one in calls if one is not bad} == {"answered"}
    assert [name for _, name, *_ in told].count("bitrix24.robot_calls.settled") == 4
    assert (bad.state, "DataError" in bad.row.last_error) == ("running", True)
    assert f"{bad.call.id} of process" in caplog.text
    assert "secret" not in caplog.text
    assert Watcher().watch() == 1
    assert bad.state == "answered"
