"""Runs that version 0.1 has started and that are under way at an upgrade."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from typing import Any

import pytest

from airflow_provider_b24.calls.adoption import adopt_runs
from airflow_provider_b24.calls.listing import CallFilter, list_calls
from airflow_provider_b24.calls.robots_at_hand import RobotsAtHand

NOTED_AT = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)


def adopt() -> int:
    return adopt_runs(RobotsAtHand())


@pytest.fixture
def old_run(robot: Any, call_robot: Any, start_run: Any) -> Any:
    """Start a run as version 0.1 did: the event token lies open in its conf, and there is no row."""

    def start(timeout: int = 0, **changes: Any) -> Any:
        called = call_robot(robot, timeout=timeout, on_record=False)
        fields = called.call.fields
        conf = {
            "event_token": fields["event_token"],
            "workflow_id": fields["workflow_id"],
            "code": "score_lead",
            "document_id": ["crm", "CCrmDocumentLead", "LEAD_77"],
            "document_type": ["crm", "CCrmDocumentLead", "LEAD"],
            "ts": int(time.time()),
            "timeout_duration": timeout,
            "use_subscription": "Y",
            "member_id": "member",
            "user_id": 1,
            "properties": {"model": "deep"},
            "model": "deep",
            "unfit": {},
        }
        start_run("score_lead", called.call.run_id, conf | changes)
        return called

    return start


@pytest.fixture
def note_as_version_0_1(airflow_session: Any) -> Any:
    """Note an answer as version 0.1 did: in an XCom of the task ``robot_call``, which today's DAGs do not have."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from sqlalchemy import insert, select

    def note(called: Any, by: str, outcome: str) -> None:
        tasks = TaskInstance.__table__
        of_run = select(tasks).where(tasks.c.run_id == called.call.run_id)
        if airflow_session.execute(of_run.where(tasks.c.task_id == "robot_call")).first() is None:
            reply = airflow_session.execute(of_run.where(tasks.c.task_id == "reply")).one()
            # A text before Airflow 3.2.
            own_id = type(reply.id)(str(uuid.uuid4()))
            own = dict(reply._mapping) | {"id": own_id, "task_id": "robot_call"}
            airflow_session.execute(insert(tasks).values(own))
        XComModel.set(
            key=f"bitrix24_answer_by_{by}",
            value={"outcome": outcome, "at": NOTED_AT.isoformat(), "attempts": 1},
            dag_id="score_lead",
            task_id="robot_call",
            run_id=called.call.run_id,
            session=airflow_session,
        )
        airflow_session.commit()

    return note


def test_its_call_is_on_record_and_gets_its_answer(old_run, work):
    called = old_run()
    assert (adopt(), adopt()) == (1, 0)
    row = called.row
    assert (row.state, row.process, row.conn_id) == ("running", called.process.id, "bitrix24_default")
    called.set_run("failed")
    work.turn()
    assert (called.state, called.answers) == ("failure-answered", [{"score": "-1.0"}])


def test_it_is_answered_in_time(old_run):
    called = old_run(timeout=600)
    adopt()
    row = called.row
    assert row.process_ends_at - row.answer_by == dt.timedelta(seconds=120)


def test_one_that_had_answered_is_not_answered_again(old_run, work):
    called = old_run()
    called.answer_as_reply_does(score="5")
    called.set_run("running", task_state="success", tries=1)
    adopt()
    work.turn()
    assert (called.state, called.row.answered_by, called.row.payload) == ("answered", "reply", None)
    assert called.answers == [{"score": "5"}]


@pytest.mark.parametrize(
    ("by", "state", "answered_by"),
    [
        ("reply", "answered", "reply"),
        ("deadline", "failure-answered", "dispatcher"),
        ("hand", "answered-by-hand", "hand:unknown"),
    ],
)
def test_what_version_0_1_noted_about_its_answer_is_what_the_table_says(
    old_run, note_as_version_0_1, by, state, answered_by
):
    called = old_run()
    note_as_version_0_1(called, "deadline", "refused")
    note_as_version_0_1(called, by, "delivered")
    adopt()
    row = called.row
    assert (row.state, row.answered_by, row.answered_at) == (state, answered_by, NOTED_AT)


def test_one_that_nobody_waits_for_is_on_record_as_such(old_run):
    called = old_run(use_subscription="N")
    adopt()
    assert (called.state, called.row.payload) == ("not-awaited", None)


def test_runs_of_this_version_and_of_others_are_left_alone(robot, call_robot, work, start_run, old_run):
    call_robot(robot)
    work.start()
    start_run("score_lead", "manual__1", {"event_token": "x", "model": "fast"})
    start_run("score_lead", "bitrix24__somebodys", {"event_token": "x", "model": "fast"})
    start_run("score_lead", "bitrix24__without", {"model": "fast"})
    over = old_run()
    over.set_run("success")
    assert adopt() == 0
    assert len(list(list_calls(CallFilter()))) == 1


def test_a_dag_that_is_gone_is_no_obstacle(old_run, airflow_session, work):
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import delete

    called = old_run()
    airflow_session.execute(delete(SerializedDagModel))
    airflow_session.commit()
    assert adopt() == 1
    called.set_run("failed")
    work.turn()
    assert (called.state, called.answers) == ("failure-answered", [{}])
