"""A call sent again, and how calls are shown while they come."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from airflow_provider_b24.calls.again import NotAgainError, send_again
from airflow_provider_b24.calls.listing import CallReport, find_call
from airflow_provider_b24.dev.live import LiveCalls

DATABASES = ("sqlite",)
CONN_ID = "bitrix24_default"


@pytest.fixture
def live(robot: Any) -> LiveCalls:
    return LiveCalls(CONN_ID, dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5))


def found(call_id: str) -> CallReport:
    report = find_call(call_id)
    assert report is not None
    return report


def conf_of(run_id: str) -> Any:
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    from airflow_provider_b24._airflow.database import reading

    with reading() as session:
        return session.scalar(select(DagRun.conf).where(DagRun.run_id == run_id))


class TestAgain:
    @pytest.mark.parametrize("settled", [False, True], ids=["while it is open", "when it is settled"])
    def test_it_starts_another_run_with_the_same_inputs_and_no_process_waits(self, called, work, settled):
        if settled:
            called.answer_as_reply_does(score=5)
            called.note("delivered", score=5)
            called.set_run("success", task_state="success", tries=1)
            work.turn()
            assert called.row.payload is None
        again = found(send_again(called.call.id, CONN_ID))
        work.start()
        again = found(again.id)
        assert (again.state, again.process, again.document) == (
            "not-awaited",
            called.row.process,
            called.row.document,
        )
        first, second = conf_of(called.call.run_id), conf_of(again.run_id)
        assert second["properties"] == first["properties"]
        assert second["use_subscription"] == "N"
        assert second["event_token"] != first["event_token"]
        work.turn()
        assert len(called.answers) == settled

    @pytest.mark.parametrize("name", ["id", "run_id", "beginning", "last"])
    def test_it_is_found_by_its_id_the_beginning_of_it_its_run_or_as_the_last(self, called, name):
        row = called.row
        given = {"id": row.id, "run_id": row.run_id, "beginning": row.id[:8], "last": None}[name]
        assert found(send_again(given, CONN_ID)).process == row.process

    @pytest.mark.parametrize("name", ["0", "%", None])
    def test_a_call_that_is_not_there_is_refused(self, robot, name):
        with pytest.raises(NotAgainError, match=r"No call has"):
            send_again(name, CONN_ID)

    def test_a_beginning_that_is_not_enough_is_refused(self, called):
        send_again(None, CONN_ID)
        with pytest.raises(NotAgainError, match="More than one call has the id ''"):
            send_again("", CONN_ID)

    def test_a_call_that_nothing_is_left_of_is_refused(self, called, work):
        called.note("delivered", score=5)
        called.set_run("success", task_state="success", tries=1)
        work.turn()
        called.delete_run()
        with pytest.raises(NotAgainError, match="its run was deleted"):
            send_again(called.call.id, CONN_ID)


class TestShown:
    def test_a_call_is_shown_when_its_run_begins_and_when_it_is_answered_and_once_each(
        self, called, live, work
    ):
        (line,) = live.news()
        assert line.split("  ")[1:] == [
            called.call.id[:8],
            "score_lead",
            called.row.document.split("/")[2],
            "running",
        ]
        assert list(live.news()) == []
        called.note("delivered", score=5)
        called.set_run("success", task_state="success", tries=1)
        work.turn()
        (line,) = live.news()
        assert "answered by reply after " in line
        assert line.endswith('s  {"score": 5}')
        assert list(live.news()) == []

    def test_a_failed_run_is_shown_with_what_the_process_got_and_why(self, called, live, work):
        called.fail_task("score")
        called.set_run("failed")
        work.turn()
        (line,) = live.news()
        assert "failure-answered by dispatcher" in line
        assert '{"score": -1.0}' in line
        assert "failed tasks: score" in line

    def test_a_held_call_is_shown_with_the_reason(self, robot, call_robot, live, work, airflow_session):
        from airflow.models.dag import DagModel

        airflow_session.get(DagModel, "score_lead").is_stale = True
        airflow_session.commit()
        call_robot(robot)
        work.start()
        (line,) = live.news()
        assert "received: " in line

    def test_a_call_that_was_sent_again_is_shown_with_what_the_answer_would_be(self, called, live, work):
        again = send_again(called.call.id, CONN_ID)
        work.start()
        list(live.news())
        other = type(called)(called.portal, called.process, _Named(found(again)))
        other.note("unsent", score=7)
        other.set_run("success", task_state="success", tries=1)
        (line,) = live.news()
        assert line.endswith('not-awaited: the run is success  it would be {"score": 7}')

    def test_secrets_in_an_answer_are_masked(self, called, live, work):
        called.note("delivered", api_key="open sesame")
        called.set_run("success", task_state="success", tries=1)
        work.turn()
        assert not [line for line in live.news() if "sesame" in line]

    def test_calls_over_other_connections_are_not_shown(self, called, work):
        assert list(LiveCalls("another", dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)).news()) == []

    def test_posts_that_are_refused_meanwhile_are_shown(self, robot, live, tmp_path):
        from airflow_provider_b24.calls.intake import Intake
        from airflow_provider_b24.calls.spool import Spool

        intake = Intake(Spool(tmp_path))
        intake.refuse(CONN_ID, "forbidden", "The call does not carry this portal's application_token.")
        intake.note_refusals()
        intake.refuse("", "forbidden", "Of nobody.")
        intake.note_refusals()
        lines = list(live.news())
        assert len(lines) == 2
        assert "refused (forbidden): The call does not carry" in "".join(lines)
        assert list(live.news()) == []


class _Named:
    """A call by the row that it has."""

    def __init__(self, report: CallReport) -> None:
        self.id, self.dag_id, self.run_id = report.id, report.dag_id, report.run_id
