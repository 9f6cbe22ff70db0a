"""One call as a person looks into it: what it said, what became of its run, and what it was answered with.

Nothing that it gives holds the event token.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.run_history import RunHistory, run_history
from airflow_provider_b24.calls.changes import StoredAnswer
from airflow_provider_b24.calls.listing import CallReport
from airflow_provider_b24.calls.new_call import NewCall, UnreadablePayloadError
from airflow_provider_b24.calls.table import OPEN_STATES, call_table
from airflow_provider_b24.calls.watching import look_at
from airflow_provider_b24.operators._answer_note import AnswerNote

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class CallDetails:
    """Everything on record of a call but its secrets. Times are in UTC.

    :param report: what the list says of it, too.
    :param waits: whether its process waits for an answer.
    :param process_ends_at: when the process stops waiting by its own limit.
    :param attempts: how often the dispatcher has tried to send the answer since it was due, or since it was changed.
    :param next_attempt_at: when it tries again; ``None`` when it owes no answer.
    :param maybe_sent_at: the first attempt that may have arrived although nobody knows.
    :param maybe_sent_by: whose that was.
    :param inputs: values of the robot's properties; ``None`` when they are not on record any more.
    :param answer: what the process was answered with; of an open call, what the dispatcher answers with; where no
        process waits, what it would be, when ``reply`` has noted that.
    :param run: its run, ``None`` when there is none.
    """

    report: CallReport
    waits: bool
    process_ends_at: dt.datetime | None
    attempts: int
    next_attempt_at: dt.datetime | None
    maybe_sent_at: dt.datetime | None
    maybe_sent_by: str | None
    inputs: Mapping[str, Any] | None = field(repr=False)
    answer: StoredAnswer | None = field(repr=False)
    run: RunHistory | None

    @property
    def is_open(self) -> bool:
        """Whether the process may still get an answer."""
        return self.report.state in OPEN_STATES


def inspect_call(call_id: str, session: Session) -> CallDetails | None:
    """Read a call, ``None`` when there is none of this id.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    row = session.execute(sa.select(call_table).where(call_table.c.id == call_id)).first()
    if row is None:
        return None
    run = run_history(row.dag_id, row.run_id, session)
    return CallDetails(
        report=CallReport(**{name: row._mapping[name] for name in CallReport.__dataclass_fields__}),
        waits=row.waits,
        process_ends_at=row.process_ends_at,
        attempts=row.attempts,
        next_attempt_at=None if row.answering is None else row.due_at,
        maybe_sent_at=row.maybe_sent_at,
        maybe_sent_by=row.maybe_sent_by,
        inputs=_inputs(row.payload, run),
        answer=_unsent(row.id, session) if row.state == "not-awaited" else _answer(row.answer),
        run=run,
    )


def _inputs(payload: str | None, run: RunHistory | None) -> Mapping[str, Any] | None:
    values: object = None
    if run is not None:
        values = run.conf.get("properties")
    elif payload is not None:
        with suppress(UnreadablePayloadError):
            values = NewCall.from_payload(payload).fields.get("properties") or {}
    return values if isinstance(values, Mapping) else None


def _unsent(call_id: str, session: Session) -> StoredAnswer | None:
    note = AnswerNote.from_xcom(look_at([call_id], session)[call_id].note)
    return None if note is None or note.values is None else StoredAnswer(note.values)


def _answer(stored: str | None) -> StoredAnswer | None:
    if stored is None:
        return None
    try:
        return StoredAnswer.read(stored)
    except ValueError:  # another Fernet key: `last_error` says so where it matters
        return None
