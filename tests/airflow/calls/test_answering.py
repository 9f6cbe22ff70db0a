"""What becomes of a call whose run goes on or ends: what the process gets, and what the table says."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_b24._airflow.database import reading, writing
from airflow_provider_b24.calls import answering, watching
from airflow_provider_b24.calls.answering import Sender
from airflow_provider_b24.calls.dispatcher import Dispatcher
from airflow_provider_b24.calls.listing import waits_for_person
from airflow_provider_b24.calls.table import call_table
from airflow_provider_b24.sandbox import AnswerStatus, DropConnection

SECOND = dt.timedelta(seconds=1)
ON_FAILURE = {"score": -1.0}
FAILED = [{"score": "-1.0"}]


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class TestAnsweredByReply:
    def test_what_reply_notes_is_what_the_table_says(self, called, work, caplog):
        caplog.set_level(logging.INFO)
        called.answer_as_reply_does(score="5")
        at = called.note("delivered", score=5.0)
        work.turn()
        row = called.row
        assert (row.state, row.answered_by, row.answered_at, row.payload) == ("answered", "reply", at, None)
        assert called.answered_with == {"score": 5.0}
        assert called.answers == [{"score": "5"}]
        assert called.mark["answered_by"] == "reply"
        assert f"process {called.process.id}" in caplog.text

    @pytest.mark.parametrize(
        ("run", "task"),
        [("success", "success"), ("failed", "failed"), ("success", "failed"), ("queued", None)],
    )
    def test_it_stays_so_whatever_happens_to_the_run_afterwards(self, called, work, run, task):
        called.answer_as_reply_does(score="5")
        called.note("delivered", score=5.0)
        called.set_run(run, task_state=task, tries=1)
        work.turn()
        called.delete_run()
        work.turn()
        assert (called.state, called.answers) == ("answered", [{"score": "5"}])

    def test_an_answer_after_the_limit_of_the_process_came_too_late(self, called, work):
        called.note("delivered", ago=10)
        called.change(process_ends_at=now() - 30 * SECOND)
        work.turn()
        assert called.state == "too-late"
        assert "after the process had stopped waiting" in called.row.reason


class TestAnsweredByTheDispatcher:
    @pytest.mark.parametrize(
        ("run", "task", "tries", "reason"),
        [
            ("failed", "upstream_failed", 0, "the run failed"),
            ("failed", "failed", 3, "the run failed; failed tasks: reply"),
            ("failed", "skipped", 0, "the run failed"),
            ("success", "skipped", 0, "ended without an answer: reply is skipped"),
            ("running", "skipped", 0, "the task reply is skipped"),
            ("running", "upstream_failed", 0, "the task reply is upstream_failed"),
            ("running", "failed", 1, "the task reply is failed; failed tasks: reply"),
            ("running", "success", 0, "ended without an answer: reply was marked success and has not run"),
            ("success", "success", 0, "ended without an answer: reply was marked success and has not run"),
        ],
    )
    def test_a_run_that_does_not_answer(self, called, work, run, task, tries, reason):
        called.set_run(run, task_state=task, tries=tries)
        work.turn()
        row = called.row
        assert (row.state, row.answered_by, row.payload) == ("failure-answered", "dispatcher", None)
        assert (row.reason, called.answered_with, called.answers) == (reason, ON_FAILURE, FAILED)
        assert f"Airflow DAG score_lead, run {called.call.run_id}: {reason}" in called.log
        assert called.mark["answered_by"] == "dispatcher"
        assert row.answered_at is not None

    def test_the_tasks_that_failed_are_named(self, called, work):
        called.set_run("failed", task_state="upstream_failed")
        called.fail_task("score")
        work.turn()
        assert "failed tasks: score" in called.log

    def test_a_run_that_was_deleted(self, called, work):
        called.delete_run()
        work.turn()
        assert (called.state, called.row.reason, called.answers) == (
            "failure-answered",
            "its DAG run was deleted",
            FAILED,
        )

    def test_a_process_that_does_not_wait_much_longer(self, called, work):
        called.change(answer_by=now(), process_ends_at=now() + 60 * SECOND)
        work.turn()
        assert (called.state, called.answers) == ("failure-answered", FAILED)
        assert called.mark["answered_by"] == "dispatcher"

    def test_what_is_left_to_bitrix24_is_not_answered_at_the_limit(self, called, work):
        limit = now() - SECOND
        called.change(answer_by=limit, process_ends_at=limit)
        work.turn()
        assert (called.state, called.answers) == ("running", [])
        called.change(answer_by=limit - 10 * SECOND, process_ends_at=limit - 10 * SECOND)
        work.turn()
        assert (called.state, called.answers) == ("too-late", [])
        assert called.mark["answered_by"] == "nobody"

    def test_a_robot_without_values_for_failure_tells_the_process_to_go_on(
        self, publish_dag, make_robot, connection, call_robot, work
    ):
        connection()
        called = call_robot(publish_dag(make_robot()))
        work.start()
        called.set_run("failed")
        work.turn()
        assert (called.state, called.answers, called.process.finished) == ("failure-answered", [{}], True)

    def test_the_token_shows_nowhere(self, called, work, caplog, capsys):
        caplog.set_level(logging.DEBUG)
        called.set_run("failed")
        work.turn()
        shown = capsys.readouterr()
        for text in (caplog.text, shown.out, shown.err, called.log):
            assert called.call.fields["event_token"] not in text

    def test_each_event_is_one_line_and_one_metric(self, called, work, caplog, told):
        caplog.set_level(logging.INFO)
        called.set_run("failed")
        work.turn()
        lines = [
            record.getMessage()
            for record in caplog.records
            if record.name.startswith("airflow_provider_b24.calls") and called.call.id in record.getMessage()
        ]
        assert [line.partition("): ")[2].partition(",")[0].partition(" (")[0] for line in lines] == [
            "the dispatcher answers",
            "failure-answered by dispatcher",
        ]
        settled = [one for one in told if one[1] == "bitrix24.robot_calls.settled"]
        assert settled == [
            (
                "counter",
                "bitrix24.robot_calls.settled",
                1,
                {"dag_id": "score_lead", "state": "failure-answered"},
            )
        ]

    def test_an_answer_that_cannot_be_read_says_so_and_holds_up_nobody(self, called, robot, call_robot, work):
        from cryptography.fernet import Fernet

        other = call_robot(robot)
        work.start()
        called.change(answer=Fernet(Fernet.generate_key()).encrypt(b"{}").decode())
        for one in (called, other):
            one.set_run("failed")
        work.turn()
        assert (called.state, other.state) == ("running", "failure-answered")
        assert "[core] fernet_key" in called.row.last_error

    @pytest.mark.parametrize("with_payload", [False, True])
    def test_it_waits_for_a_person_and_is_sent_when_it_can_be_read(self, called, work, with_payload):
        from cryptography.fernet import Fernet

        lost = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()
        row = called.row
        called.change(answer=lost, payload=lost if with_payload else row.payload)
        called.set_run("failed")
        work.turn()
        with reading() as session:
            waiting = session.scalars(sa.select(call_table.c.id).where(waits_for_person())).all()
        assert waiting == [called.call.id]
        called.change(due_at=(later := now() + 600 * SECOND))
        work.turn()
        assert (called.row.due_at, called.row.attempts, called.answers) == (later, 1, [])
        called.change(answer=row.answer, payload=row.payload, due_at=now())
        work.turn()
        assert (called.state, called.row.last_error, called.answers) == ("failure-answered", None, FAILED)

    def test_while_it_cannot_be_read_reply_may_still_answer(self, called, work):
        called.change(answer="damaged", answer_by=now(), process_ends_at=now() + 600 * SECOND)
        work.turn()
        assert called.row.answering == "failure-answered"
        assert called.mark["answered_by"] is None
        called.answer_as_reply_does(score="5")
        called.note("delivered", ago=0, score=5.0)
        called.change(due_at=now())
        work.turn()
        assert (called.state, called.row.answered_by, called.answers) == (
            "answered",
            "reply",
            [{"score": "5"}],
        )


class TestUncertain:
    """``reply`` had begun to send, and was lost."""

    @pytest.mark.parametrize("arrived", [False, True])
    def test_the_dispatcher_sends_and_the_table_says_that_it_is_uncertain(self, called, work, arrived):
        if arrived:
            called.answer_as_reply_does(score="5")
        at = called.note("sending", score=5.0)
        called.set_run("failed", task_state="failed", tries=1)
        work.turn()
        row = called.row
        assert called.answers == ([{"score": "5"}] if arrived else FAILED)
        assert (row.maybe_sent_at, row.maybe_sent_by) == (at, "reply")
        assert "may have" in row.reason
        assert row.state in ("answered", "failure-answered")

    def test_while_another_try_may_come_the_run_is_told(self, called, work):
        at = called.note("sending", score=5.0)
        called.set_run("running", task_state="up_for_retry", tries=1)
        work.turn()
        row = called.row
        assert (row.state, row.reason, row.maybe_sent_at, row.maybe_sent_by) == (
            "running",
            "reply will be tried again",
            at,
            "reply",
        )
        assert called.mark == {"answered_by": None, "answered_at": None, "maybe_sent": True}

    def test_when_the_process_has_ended_by_itself_that_is_said_too(self, called, work):
        called.note("sending", score=5.0)
        called.set_run("running", task_state="up_for_retry", tries=1)
        work.turn()
        called.change(process_ends_at=now() - 10 * SECOND)
        work.turn()
        assert called.state == "too-late"
        assert "may have come first" in called.row.reason

    def test_a_refusal_that_reply_has_noted_is_final_when_the_run_is_over(self, called, work):
        called.note("refused")
        called.set_run("failed", task_state="failed", tries=1)
        work.turn()
        assert (called.state, called.answers) == ("too-late", [])
        assert "the portal did not take the answer of reply: token used" in called.row.reason


class TestCleared:
    def test_before_anything_was_sent_reply_answers_again(self, called, work):
        called.set_run("failed")
        work.watch()
        assert called.row.answering == "failure-answered"
        called.set_run("queued", tries=1)
        work.send()
        assert (called.state, called.row.answering, called.answers) == ("running", None, [])
        assert called.mark["answered_by"] is None
        called.answer_as_reply_does(score="5")
        called.note("delivered", score=5.0)
        work.turn()
        assert (called.state, called.answers) == ("answered", [{"score": "5"}])

    def test_after_the_answer_the_table_and_the_run_know_of_it(self, called, work):
        called.set_run("failed")
        work.turn()
        called.set_run("queued", tries=1)
        work.turn()
        assert (called.state, called.answers) == ("failure-answered", FAILED)
        assert called.mark["answered_by"] == "dispatcher"

    def test_after_an_attempt_that_may_have_arrived_the_dispatcher_goes_on(self, called, work):
        called.set_run("failed")
        work.watch()
        called.change(maybe_sent_at=now(), maybe_sent_by="dispatcher")
        called.set_run("queued", tries=1)
        work.send()
        assert (called.state, called.answers) == ("failure-answered", FAILED)

    def test_reply_that_has_answered_after_all_is_believed(self, called, work):
        called.set_run("failed")
        work.watch()
        called.answer_as_reply_does(score="5")
        called.note("delivered", score=5.0)
        work.send()
        assert (called.state, called.answers) == ("answered", [{"score": "5"}])


class TestDispatcherDies:
    def test_its_lease_is_respected_as_long_as_it_lasts(self, called, work):
        called.set_run("failed")
        work.watch()
        called.change(leased_by="another", leased_until=now() + 60 * SECOND)
        work.send()
        assert (called.state, called.answers) == ("running", [])

    def test_then_another_goes_on(self, called, work):
        called.set_run("failed")
        work.watch()
        called.change(leased_by="another", leased_until=now() - SECOND)
        work.send()
        assert (called.state, called.answers) == ("failure-answered", FAILED)

    def test_a_refusal_then_means_that_the_dead_one_had_delivered(self, called, work, bitrix):
        called.set_run("failed")
        work.watch()
        called.change(leased_by="another", leased_until=now() - SECOND)
        bitrix.faults.add(AnswerStatus(403, "ACCESS_DENIED", "Access denied!"), "bizproc.event.send")
        work.send()
        row = called.row
        assert (row.state, row.answered_by) == ("failure-answered", "dispatcher")
        assert "an earlier attempt may have arrived" in row.reason

    def test_killed_between_sending_and_noting_it_does_not_send_for_nothing_again(
        self, called, work, monkeypatch
    ):
        def killed(*_args: Any, **_kwargs: Any) -> None:
            raise KeyboardInterrupt

        called.set_run("failed")
        work.watch()
        with monkeypatch.context() as patch:
            patch.setattr(Sender, "_record", killed)
            with pytest.raises(KeyboardInterrupt):
                work.send()
        assert (called.state, called.answers) == ("running", FAILED)
        assert called.row.leased_until > now()
        called.change(leased_until=now() - SECOND)
        work.send()
        assert (called.state, called.row.answered_by, called.answers) == (
            "failure-answered",
            "dispatcher",
            FAILED,
        )


class TestPortalFails:
    @staticmethod
    def again(called: Any, work: Any) -> None:
        called.change(due_at=now())
        work.send()

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (403, "insufficient_scope"),
            (401, "NO_AUTH_FOUND"),
            (401, "invalid_token"),
            (402, "PAYMENT_REQUIRED"),
            (403, "PORTAL_DELETED"),
        ],
    )
    def test_whatever_a_person_can_mend_is_tried_again_until_it_is(
        self, called, work, bitrix, status, code, caplog
    ):
        bitrix.faults.add(AnswerStatus(status, code, "Mend it"), times=None)
        called.set_run("failed")
        work.turn()
        row = called.row
        assert (row.state, row.attempts, row.leased_until, called.answers) == ("running", 1, None, [])
        assert row.due_at > now()
        assert "bizproc.event.send" in row.last_error
        assert f"Call {called.call.id}" in caplog.text
        self.again(called, work)
        assert called.row.attempts == 2
        bitrix.faults.clear()
        self.again(called, work)
        assert (called.state, called.row.last_error, called.answers) == ("failure-answered", None, FAILED)

    def test_the_pauses_grow_up_to_a_minute(self, called, work, bitrix):
        bitrix.faults.add(AnswerStatus(403, "insufficient_scope"), times=None)
        called.set_run("failed")
        work.watch()
        pauses = []
        for _ in range(8):
            self.again(called, work)
            pauses.append(round((called.row.due_at - now()) / SECOND))
        assert pauses == sorted(pauses)
        assert pauses[-1] in (59, 60)

    def test_a_connection_that_is_gone_is_waited_for(self, called, work, connection, airflow_session):
        from airflow.models.connection import Connection

        airflow_session.execute(sa.delete(Connection))
        airflow_session.commit()
        called.set_run("failed")
        work.turn()
        assert called.row.last_error == (
            "The Airflow connection 'bitrix24_default' cannot be used (AirflowNotFoundException): nothing was sent."
        )
        assert called.row.maybe_sent_at is None
        connection()
        self.again(called, work)
        assert (called.state, called.answers) == ("failure-answered", FAILED)

    @pytest.mark.parametrize("arrived", [False, True])
    def test_a_connection_that_breaks_off_may_have_delivered(
        self, called, work, bitrix, monkeypatch, arrived
    ):
        monkeypatch.setattr(answering, "_SECONDS_TO_SEND", 0.2)
        bitrix.faults.add(DropConnection(after_work=arrived), times=None)
        called.set_run("failed")
        work.turn()
        row = called.row
        assert (row.state, row.maybe_sent_by) == ("running", "dispatcher")
        assert called.answers == (FAILED if arrived else [])
        bitrix.faults.clear()
        self.again(called, work)
        assert (called.state, called.row.answered_by, called.answers) == (
            "failure-answered",
            "dispatcher",
            FAILED,
        )

    def test_a_refusal_without_an_earlier_attempt_means_that_nobody_waits(self, called, work, bitrix):
        bitrix.faults.add(AnswerStatus(403, "ACCESS_DENIED", "Access denied!"), "bizproc.event.send")
        called.set_run("failed")
        work.turn()
        row = called.row
        assert (row.state, row.answered_by, called.answers) == ("too-late", None, [])
        assert row.reason == "nobody waits any more; the run failed"
        assert called.mark["answered_by"] == "nobody"

    def test_a_refusal_after_reply_had_begun_to_send_means_that_reply_was_first(self, called, work, bitrix):
        at = called.note("sending", score=5.0)
        called.set_run("failed", task_state="failed", tries=1)
        bitrix.faults.add(AnswerStatus(403, "ACCESS_DENIED", "Access denied!"), "bizproc.event.send")
        work.turn()
        row = called.row
        assert (row.state, row.answered_by, row.answered_at) == ("answered", "reply", at)

    def test_a_process_that_stops_waiting_meanwhile_is_not_answered_any_more(self, called, work, bitrix):
        bitrix.faults.add(AnswerStatus(403, "insufficient_scope"))
        called.set_run("failed")
        work.turn()
        called.change(process_ends_at=now() - 6 * SECOND)
        self.again(called, work)
        assert (called.state, called.answers) == ("too-late", [])
        assert "by its own limit" in called.row.reason


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often an answer to each call was sent."""
    counted: Counter[str] = Counter()
    real = answering._send_portion

    def send(conn_id: str, portion: Any) -> Any:
        counted.update(call_id for call_id, _ in portion)
        return real(conn_id, portion)

    monkeypatch.setattr(answering, "_send_portion", send)
    return counted


class TestMany:
    @pytest.fixture
    def many(self, robot: Any, call_robot: Any, work: Any) -> Any:
        """Calls whose runs have failed."""

        def make(number: int) -> list[Any]:
            calls = [call_robot(robot) for _ in range(number)]
            while work.start():
                pass
            for one in calls:
                one.set_run("failed")
            work.watch()
            return calls

        return make

    def test_fifty_travel_in_one_request(self, many, work, bitrix):
        calls = many(60)
        before = len(bitrix.requests)
        sender = Sender()
        assert (sender.send_due("bitrix24_default"), sender.send_due("bitrix24_default")) == (50, 10)
        assert len([one for one in bitrix.requests[before:] if one.method == "batch"]) == 2
        assert {one.state for one in calls} == {"failure-answered"}
        assert [one.answers for one in calls] == [FAILED] * 60

    def test_one_that_nobody_waits_for_does_not_disturb_the_others(self, many, work, bitrix):
        calls = many(3)
        bitrix.faults.add(AnswerStatus(403, "ACCESS_DENIED", "Access denied!"), "bizproc.event.send")
        work.send()
        assert Counter(one.state for one in calls) == Counter({"failure-answered": 2, "too-late": 1})

    def test_one_that_is_too_long_for_the_portal_does_not_hold_up_the_others(
        self, many, work, bitrix, monkeypatch
    ):
        calls = many(5)
        real = answering._send_portion

        def too_long(conn_id: str, portion: Any) -> Any:
            if len(portion) > 1 and calls[2].call.id in [call_id for call_id, _ in portion]:
                bitrix.faults.add(AnswerStatus(413, "", "Request Entity Too Large"), "batch")
            elif portion[0][0] == calls[2].call.id:
                bitrix.faults.add(AnswerStatus(413, "", "Request Entity Too Large"))
            return real(conn_id, portion)

        monkeypatch.setattr(answering, "_send_portion", too_long)
        work.send()
        assert [one.state for one in calls] == ["failure-answered"] * 2 + ["running"] + [
            "failure-answered"
        ] * 2
        assert "413" in calls[2].row.last_error

    def test_values_that_cannot_be_sent_say_so_and_do_not_hold_up_the_others(self, many, work):
        from airflow_provider_b24.calls.changes import StoredAnswer

        bad, good = many(2)
        bad.change(answer=StoredAnswer({"score": float("nan")}).encrypted())
        work.send()
        assert (bad.state, good.state) == ("running", "failure-answered")
        assert "airflow-b24 calls answer" in bad.row.last_error

    def test_a_call_that_cannot_be_read_does_not_hold_up_the_others(self, many, work):
        from cryptography.fernet import Fernet

        bad, good = many(2)
        bad.change(payload=Fernet(Fernet.generate_key()).encrypt(b"{}").decode())
        work.send()
        assert (bad.state, good.state) == ("running", "failure-answered")
        assert "[core] fernet_key" in bad.row.last_error

    def test_several_senders_at_once_send_none_twice(self, many, sent):
        calls = many(40)
        senders = [Sender() for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda sender: sender.send_due("bitrix24_default"), senders))
        assert {one.state for one in calls} == {"failure-answered"}
        assert sent == Counter(one.call.id for one in calls)

    def test_calls_for_which_nothing_can_be_done_yet_do_not_hide_the_others(
        self, robot, call_robot, work, monkeypatch
    ):
        monkeypatch.setattr(watching, "_AT_ONCE", 2)
        calls = [call_robot(robot) for _ in range(7)]
        while work.start():
            pass
        for one in calls:
            one.set_run("running", task_state="running", tries=1)
            one.note("sending", ago=1)
        last = max(calls, key=lambda one: one.call.id)
        last.note("delivered", score=5.0)
        work.watch()
        assert Counter(one.state for one in calls) == Counter({"running": 6, "answered": 1})

    def test_what_the_others_wait_for_is_found_out_in_turns(self, robot, call_robot, work, monkeypatch):
        monkeypatch.setattr(watching, "_AT_ONCE", 2)
        calls = [call_robot(robot) for _ in range(5)]
        while work.start():
            pass
        watcher = watching.Watcher()
        for _ in range(3):
            watcher.watch()
        assert {one.row.reason for one in calls} == {"the run is queued"}


class TestSeveralDispatchers:
    @pytest.fixture
    def dispatchers(self, robot: Any) -> Any:
        """Two, as two API servers have them."""
        both = [Dispatcher(), Dispatcher()]
        yield both
        for one in both:
            one.stop()

    def test_two_answer_each_call_once(self, dispatchers, robot, call_robot, sent):
        calls = [call_robot(robot, limit="many") for _ in range(30)]
        deadline = now() + 60 * SECOND

        def work(dispatcher: Dispatcher) -> None:
            while {one.state for one in calls} != {"failure-answered"} and now() < deadline:
                dispatcher.turn()

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, dispatchers))
        assert [one.answers for one in calls] == [FAILED] * 30
        assert sent == Counter(one.call.id for one in calls)


def test_the_number_of_open_calls_is_a_metric(robot, call_robot, told):
    call_robot(robot)
    call_robot(robot)
    call_robot(robot, dag_id="nowhere")
    dispatcher = Dispatcher()
    dispatcher.turn()
    dispatcher.stop()
    assert ("gauge", "bitrix24.robot_calls.open", 3, {}) in told
    assert ("gauge", "bitrix24.robot_calls.waiting", 1, {}) in told
    assert [kind for kind, name, *_ in told if name == "bitrix24.robot_calls.started"] == ["counter"] * 2


@pytest.mark.parametrize("state", ["answered", "too-late"])
def test_what_is_settled_is_not_changed_any_more(called, work, state):
    with writing() as session:
        session.execute(sa.update(call_table).values(state=state, reason="as it was"))
    called.set_run("failed")
    work.turn()
    assert (called.state, called.row.reason, called.answers) == (state, "as it was", [])
