"""Runs that version 0.1 has started, and that are under way at an upgrade, get their rows in the table."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.database import writing
from airflow_provider_b24._airflow.reply_states import active_runs, tasks_in_state, xcoms_of
from airflow_provider_b24.calls.changes import DISPATCHER, REPLY, StoredAnswer
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.calls.table import RUN_ID_PREFIX, call_table, run_id_of
from airflow_provider_b24.robots.call import MalformedCallError
from airflow_provider_b24.robots.definition import REPLY_TASK_ID

if TYPE_CHECKING:
    from airflow_provider_b24.calls.robots_at_hand import RobotsAtHand

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_ANSWERERS = {
    "reply": ("answered", REPLY),
    "reply_on_failure": ("failure-answered", DISPATCHER),
    "deadline": ("failure-answered", DISPATCHER),
    "hand": ("answered-by-hand", "hand:unknown"),
}
"""Who answered in version 0.1, and how the table calls that."""


def adopt_runs(robots: RobotsAtHand) -> int:
    """Put the calls on record whose runs are under way and that the table does not know.

    :return: how many.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database is away.
    """
    adopted = 0
    with writing() as session:
        runs = {run.run_id: run for run in active_runs(RUN_ID_PREFIX, session)}
        known = set(
            session.scalars(sa.select(call_table.c.run_id).where(call_table.c.run_id.in_(list(runs))))
        )
        unknown = [run for run_id, run in runs.items() if run_id not in known]
        at_hand = robots.find({run.dag_id for run in unknown}, session)
        for run in unknown:
            definition = at_hand[run.dag_id].definition
            call = _call_of(run, definition.bitrix24_conn_id if definition else "bitrix24_default")
            if call is None or run_id_of(call.envelope.event_token) != run.run_id:
                continue
            on_failure = definition.answer(definition.on_failure, complete=False) if definition else {}
            row = call.to_row()
            ends = row["process_ends_at"]
            margin = definition.margin(float(call.envelope.timeout_duration)) if definition and ends else None
            row |= {
                "state": "running" if row["waits"] else "not-awaited",
                "payload": call.to_payload() if row["waits"] else None,
                "answer": StoredAnswer(on_failure).encrypted(),
                "answer_by": ends - dt.timedelta(seconds=margin) if margin else ends,
            }
            if row["waits"] and (answered := _answered(run, session)) is not None:
                row |= {"payload": None, "answer": None, **answered}
            session.execute(sa.insert(call_table).values(**row))
            adopted += 1
    if adopted:
        log.info("%d calls whose runs version 0.1 has started are on record now.", adopted)
    return adopted


def _answered(run: Any, session: Session) -> dict[str, Any] | None:
    """Tell how version 0.1 has answered a call, if it has: that is noted in XComs of the task ``robot_call``."""
    for key, note in xcoms_of(run.dag_id, run.run_id, "robot_call", session).items():
        by = key.removeprefix("bitrix24_answer_by_")
        if by in _ANSWERERS and isinstance(note, Mapping) and note.get("outcome") == "delivered":
            state, answered_by = _ANSWERERS[by]
            with suppress(TypeError, ValueError):
                at = dt.datetime.fromisoformat(str(note.get("at")))
                return {"state": state, "answered_by": answered_by, "answered_at": at}
    if REPLY_TASK_ID not in tasks_in_state("success", run.dag_id, run.run_id, session):
        return None
    return {
        "state": "answered",
        "answered_by": REPLY,
        "answered_at": dt.datetime.now(dt.UTC),
        "reason": "answered by version 0.1, when is not known",
    }


def _call_of(run: Any, conn_id: str) -> NewCall | None:
    conf = run.conf if isinstance(run.conf, Mapping) else {}
    token = conf.get("event_token")
    if not isinstance(token, str) or token.startswith("sealed:"):
        return None
    auth = {"member_id": conf.get("member_id"), "user_id": conf.get("user_id")}
    fields = {**conf, "auth": {name: value for name, value in auth.items() if value}}
    try:
        return NewCall.from_form(conn_id, run.dag_id, fields, run.run_after)
    except MalformedCallError:
        return None
