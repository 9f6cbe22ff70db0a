"""What people do and see: the list, an answer by hand, another try at once, and what is forgotten."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from airflow_provider_b24._airflow.database import writing
from airflow_provider_b24.calls.answering import AnswerRefusedError, Sender
from airflow_provider_b24.calls.by_hand import answer_by_hand, retry_now
from airflow_provider_b24.calls.dispatcher import Dispatcher, purge
from airflow_provider_b24.calls.intake import Intake
from airflow_provider_b24.calls.listing import CallFilter, list_calls
from airflow_provider_b24.calls.spool import Spool
from airflow_provider_b24.calls.table import refusal_table
from airflow_provider_b24.cli import main
from airflow_provider_b24.sandbox import AnswerStatus

DAY = dt.timedelta(days=1)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class TestAnswer:
    @pytest.mark.parametrize("name", ["id", "run_id"])
    def test_the_process_gets_it_and_the_run_is_told(self, called, name, work):
        sent, report = answer_by_hand(
            getattr(called.call, name), {"score": ["7.5"]}, user="ann", log_message="Asked the owner."
        )
        assert (sent, report.state, report.answered_by) == ({"score": 7.5}, "answered-by-hand", "hand:ann")
        assert (called.answers, called.answered_with) == ([{"score": "7.5"}], {"score": 7.5})
        assert "Asked the owner." in called.log
        assert called.mark["answered_by"] == "hand:ann"
        called.set_run("failed")
        work.turn()
        assert (called.state, called.answers) == ("answered-by-hand", [{"score": "7.5"}])

    def test_the_values_for_failure(self, called):
        sent, report = answer_by_hand(called.call.id, None, user="ann")
        assert (sent, report.state, called.answers) == (
            {"score": -1.0},
            "answered-by-hand",
            [{"score": "-1.0"}],
        )

    def test_a_call_that_is_held(self, robot, call_robot, airflow_session):
        from airflow.models.dag import DagModel

        airflow_session.get(DagModel, "score_lead").is_stale = True
        airflow_session.commit()
        called = call_robot(robot)
        Dispatcher().starter.start_some()
        answer_by_hand(called.call.id, {"score": ["1"]}, user="ann")
        assert (called.state, called.answers, called.run) == ("answered-by-hand", [{"score": "1.0"}], None)
        assert called.row.payload is None

    def test_instead_of_what_the_dispatcher_does_not_get_through(self, called, work, bitrix):
        bitrix.faults.add(AnswerStatus(403, "insufficient_scope"))
        called.set_run("failed")
        work.turn()
        answer_by_hand(called.call.id, {"score": ["1"]}, user="ann")
        assert (called.state, called.answers) == ("answered-by-hand", [{"score": "1.0"}])

    def test_a_portal_that_does_not_take_it_gets_it_later(self, called, work, bitrix):
        bitrix.faults.add(AnswerStatus(403, "insufficient_scope"))
        _, report = answer_by_hand(called.call.id, {"score": ["1"]}, user="ann")
        assert report.state == "running"
        assert "insufficient_scope" in str(report.last_error)
        called.change(due_at=now())
        work.send()
        assert (called.state, called.row.answered_by, called.answers) == (
            "answered-by-hand",
            "hand:ann",
            [{"score": "1.0"}],
        )

    def test_until_then_reply_may_be_faster(self, called, work, bitrix):
        bitrix.faults.add(AnswerStatus(403, "insufficient_scope"))
        answer_by_hand(called.call.id, {"score": ["1"]}, user="ann")
        called.answer_as_reply_does(score="5")
        called.note("delivered", score=5.0)
        called.change(due_at=now())
        work.send()
        assert (called.state, called.row.answered_by, called.answers) == (
            "answered",
            "reply",
            [{"score": "5"}],
        )

    def test_reply_that_has_just_answered_was_first(self, called):
        called.answer_as_reply_does(score="5")
        called.note("delivered", score=5.0)
        with pytest.raises(AnswerRefusedError, match="answered by its run's task reply"):
            answer_by_hand(called.call.id, {"score": ["1"]}, user="ann")
        assert (called.state, called.answers) == ("answered", [{"score": "5"}])

    @pytest.mark.parametrize(
        ("columns", "reason"),
        [
            (
                {"state": "answered", "answered_by": "reply"},
                "answered by its run's task reply, at 2026-05-04",
            ),
            ({"state": "failure-answered", "answered_by": "dispatcher"}, "with the on_failure values"),
            ({"state": "answered-by-hand", "answered_by": "hand:bob"}, "by hand, by bob"),
            ({"state": "too-late", "reason": "the limit"}, "nobody waits any more: the limit"),
            ({"state": "not-awaited"}, "does not wait for an answer"),
        ],
    )
    def test_a_call_that_is_settled_is_not_answered_again(self, called, columns, reason):
        called.change(**columns, answered_at=dt.datetime(2026, 5, 4, tzinfo=dt.UTC))
        with pytest.raises(AnswerRefusedError, match=reason):
            answer_by_hand(called.call.id, {"score": ["1"]}, user="ann")
        assert called.answers == []

    def test_while_the_dispatcher_is_at_it_nothing_is_sent(self, called, work):
        called.set_run("failed")
        work.watch()
        called.change(leased_by="another", leased_until=now() + DAY)
        with pytest.raises(AnswerRefusedError, match="in this moment"):
            answer_by_hand(called.call.id, {"score": ["1"]}, user="ann")
        assert called.answers == []

    def test_what_cannot_be_answered_says_why(self, called, connection, call_robot):
        with pytest.raises(AnswerRefusedError, match="There is no call 'nonsense'"):
            answer_by_hand("nonsense", {}, user="ann")
        with pytest.raises(AnswerRefusedError, match="no such return property"):
            answer_by_hand(called.call.id, {"grade": ["A"]}, user="ann")
        unknown = call_robot(dag_id="unknown")
        with pytest.raises(AnswerRefusedError, match="does not know the robot DAG 'unknown'"):
            answer_by_hand(unknown.call.id, {}, user="ann")
        called.change(payload=None)
        with pytest.raises(AnswerRefusedError, match="what the call said is gone"):
            answer_by_hand(called.call.id, {"score": ["1"]}, user="ann")


class TestRetry:
    def test_what_waits_for_the_portal_is_sent_at_once(self, called, work, bitrix):
        bitrix.faults.add(AnswerStatus(403, "insufficient_scope"))
        called.set_run("failed")
        work.turn()
        work.send()
        assert called.answers == []
        assert retry_now(CallFilter()) == 1
        work.send()
        assert called.answers == [{"score": "-1.0"}]

    def test_what_waits_for_its_dag_is_started_at_once(
        self, connection, publish_dag, make_robot, call_robot, work
    ):
        connection()
        called = call_robot()
        work.start()
        publish_dag(make_robot())
        assert (work.start(), called.state) == (0, "received")
        assert retry_now(CallFilter()) == 1
        work.start()
        assert called.state == "running"

    def test_only_what_was_named_and_nothing_that_goes_its_way(self, called, connection, call_robot, work):
        held = [call_robot(dag_id=f"unknown_{number}") for number in range(3)]
        work.start()
        assert retry_now(CallFilter(), [held[0].call.id, held[1].call.run_id, called.call.id]) == 2
        assert retry_now(CallFilter(dag_ids=["unknown_2", "score_lead"])) == 1
        assert retry_now(CallFilter(conn_ids=["other"])) == 0


class TestList:
    def test_one_object_for_each_call_with_the_fields_of_the_contract(self, called, capsys):
        assert main(["calls", "--json"]) == 0
        [shown] = json.loads(capsys.readouterr().out)
        row = called.row
        assert shown == {
            "id": called.call.id,
            "conn_id": "bitrix24_default",
            "code": "score_lead",
            "dag_id": "score_lead",
            "run_id": called.call.run_id,
            "process": called.process.id,
            "document": "crm/CCrmDocumentLead/LEAD_77",
            "state": "running",
            "reason": None,
            "sent_at": row.sent_at.isoformat(),
            "received_at": row.received_at.isoformat(),
            "answer_by": None,
            "answered_at": None,
            "answered_by": None,
            "last_error": None,
        }

    @pytest.fixture
    def some(self, robot: Any, call_robot: Any, make_robot: Any) -> list[Any]:
        """Four calls, the oldest first."""
        return [
            call_robot(robot, sent=3600),
            call_robot(robot, sent=1800, dag_id="other_dag"),
            call_robot(make_robot(code="other"), sent=900),
            call_robot(robot, conn_id="other_portal"),
        ]

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({}, [0, 1, 2, 3]),
            ({"since": 2000}, [1, 2, 3]),
            ({"until": 1000}, [0, 1]),
            ({"since": 2000, "until": 1000}, [1]),
            ({"dag_ids": ["other_dag"]}, [1]),
            ({"codes": ["other"]}, [2]),
            ({"conn_ids": ["other_portal"]}, [3]),
            ({"states": ["received"]}, [0, 1, 2, 3]),
            ({"states": ["running", "answered"]}, []),
            ({"process": "nobodys"}, []),
            ({"document": "LEAD_77"}, [0, 1, 2, 3]),
            ({"document": "crm/CCrmDocumentLead/LEAD_77"}, [0, 1, 2, 3]),
            ({"document": "LEAD_7"}, []),
            ({"document": "LEAD%"}, []),
        ],
    )
    def test_it_can_be_filtered(self, some, wanted, found):
        given = {
            name: now() - dt.timedelta(seconds=value) if name in ("since", "until") else value
            for name, value in wanted.items()
        }
        assert [one.id for one in list_calls(CallFilter(**given))] == [some[n].call.id for n in found]

    def test_by_its_process(self, some):
        [found] = list_calls(CallFilter(process=some[2].process.id))
        assert found.id == some[2].call.id

    def test_a_long_list_is_read_in_portions(self, some, monkeypatch):
        monkeypatch.setattr("airflow_provider_b24.calls.listing._AT_ONCE", 2)
        some[1].change(received_at=some[0].call.received_at)
        assert {one.id for one in list_calls(CallFilter())} == {one.call.id for one in some}
        assert len(list(list_calls(CallFilter()))) == 4

    def test_people_see_what_was_refused_as_well(self, some, capsys, tmp_path):
        intake = Intake(Spool(tmp_path))
        for _ in range(3):
            intake.refuse("bitrix24_default", "forbidden", "wrong application_token")
        intake.refuse("", "unknown_connection", "There is no such connection.")
        intake.note_refusals()
        assert main(["calls"]) == 0
        shown = capsys.readouterr()
        assert "4 received" in shown.err
        assert "Refused: 3 posts for bitrix24_default (forbidden) since " in shown.err
        assert "Refused: 1 posts for connections that do not exist (unknown_connection)" in shown.err

    def test_refused_posts_are_counted_since_the_first_one(self, some, capsys, tmp_path):
        intake = Intake(Spool(tmp_path))
        intake.refuse("crm", "forbidden", "wrong application_token")
        intake.note_refusals()
        first_at = now() - 60 * DAY
        with writing() as session:
            session.execute(refusal_table.update().values(first_at=first_at, last_at=first_at, number=1000))
        intake.refuse("crm", "forbidden", "wrong application_token")
        intake.note_refusals()
        assert main(["calls", "--since", "1d"]) == 0
        assert (
            f"Refused: 1001 posts for crm (forbidden) since {first_at:%Y-%m-%d %H:%M:%S}, the last at "
            f"{now():%Y-%m-%d} " in capsys.readouterr().err
        )

    def test_a_list_without_calls_says_how_far_it_looked_back(self, some, capsys):
        for one in some:
            one.change(received_at=now() - 2 * DAY)
        assert main(["calls"]) == 0
        shown = capsys.readouterr()
        assert shown.out == ""
        yesterday = now() - DAY
        assert f"No such call has come since {yesterday:%Y-%m-%d}" in shown.err
        assert "--since 30d" in shown.err

    def test_the_commands_answer_and_retry(self, called, capsys):
        assert main(["calls", "retry"]) == 0
        assert main(["calls", "retry", "nobody"]) == 1
        assert main(["calls", "answer", called.call.id, "--value", "score=5", "--on-failure"]) == 2
        assert main(["calls", "answer", called.call.id, "--value", "score=high"]) == 1
        assert main(["calls", "answer", called.call.id, "--value", "score=5"]) == 0
        assert main(["calls", "answer", called.call.id, "--value", "score=6"]) == 1
        said = capsys.readouterr().err
        for words in (
            "Nothing is tried again: no answer failed to get through",
            "Error: there is no call nobody.",
            "exclude each other",
            "Nothing was sent. ",
            'The portal has taken the answer: {"score": 5.0}',
            "Error: Nothing was sent: the process has been answered by hand",
        ):
            assert words in said
        assert called.answers == [{"score": "5.0"}]

    def test_the_command_says_how_a_call_ended_that_did_not_take_the_answer(self, called, bitrix, capsys):
        """An answer of ``reply`` was lost on its way, and the portal waits no more."""
        called.note("sending", score=5.0)
        bitrix.faults.add(AnswerStatus(403, "ACCESS_DENIED", "Access denied!"))
        assert main(["calls", "answer", called.call.id, "--value", "score=7"]) == 1
        said = capsys.readouterr().err
        assert (
            "Error: the answer was not taken: the process has been answered by its run's task reply" in said
        )
        assert "it counts as delivered" in said
        assert "goes on trying" not in said


class TestForgotten:
    def test_calls_that_are_over_are_forgotten_after_their_time(self, robot, call_robot):
        old, young, open_ = (call_robot(robot) for _ in range(3))
        old.change(state="answered", received_at=now() - 91 * DAY)
        young.change(state="answered", received_at=now() - 89 * DAY)
        open_.change(received_at=now() - 200 * DAY)
        assert purge(90) == 1
        assert {one.id for one in list_calls(CallFilter())} == {young.call.id, open_.call.id}

    def test_many_are_forgotten_in_portions(self, robot, call_robot, monkeypatch):
        monkeypatch.setattr("airflow_provider_b24.calls.dispatcher._PURGED_AT_ONCE", 2)
        for _ in range(5):
            call_robot(robot).change(state="too-late", received_at=now() - 91 * DAY)
        assert purge(90) == 5

    def test_how_long_they_are_kept_can_be_set(self, robot, call_robot, monkeypatch):
        monkeypatch.setenv("AIRFLOW__BITRIX24__KEEP_CALLS_DAYS", "3")
        call_robot(robot).change(state="answered", received_at=now() - 4 * DAY)
        dispatcher = Dispatcher(sender=Sender())
        dispatcher.turn()
        dispatcher.stop()
        assert list(list_calls(CallFilter())) == []
