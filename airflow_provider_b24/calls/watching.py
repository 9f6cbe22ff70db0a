"""What becomes of the runs of calls: answered by ``reply``, or the dispatcher's turn."""

from __future__ import annotations

import datetime as dt
import logging
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.database import is_away, reading, writing
from airflow_provider_b24._airflow.reply_states import SeenRun, look_at_runs, returned_true, tasks_in_state
from airflow_provider_b24.calls.changes import (
    REPLY,
    StoredAnswer,
    change,
    describe,
    now_utc,
    owe,
    settle,
    tell_run,
)
from airflow_provider_b24.calls.rules import Answered, Owed, Step, TooLate, Wait, next_step
from airflow_provider_b24.calls.table import call_table
from airflow_provider_b24.operators._answer_note import NOTE_KEY
from airflow_provider_b24.robots.answer_mark import AnswerMark
from airflow_provider_b24.robots.definition import REPLY_TASK_ID

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

Seen = dict[str, tuple[Any, SeenRun]]
"""Calls by their ids, each with its run."""

_AT_ONCE = 500
_SECONDS_BETWEEN_REASONS = 10.0
_PAUSE_AFTER_ERROR = 30.0
_COLUMNS = tuple(column for column in call_table.c if column.name != "payload")
UNCERTAIN = (
    "reply had begun to send its answer at {:%Y-%m-%d %H:%M:%S} UTC and was lost: it may have come first"
)


@dataclass(slots=True)
class Watcher:
    """Looks at the runs of the calls that wait for an answer."""

    _last_look_at_reasons: float = field(default=float("-inf"), init=False)
    _last_id: str = field(default="", init=False)
    _failed_at: dict[str, float] = field(default_factory=dict, init=False)

    def watch(self) -> int:
        """Look at all calls for which something may have happened, and now and then at what the others wait for.

        :return: how many calls were changed.
        :raises sqlalchemy.exc.SQLAlchemyError: when the database is away.
        """
        now = now_utc()
        # Also where nothing is to be answered before the limit: then the row says that it is over.
        noteworthy = sa.or_(call_table.c.answer_by <= now, call_table.c.process_ends_at <= now)
        seen = _all_noteworthy(noteworthy)
        if time.monotonic() - self._last_look_at_reasons > _SECONDS_BETWEEN_REASONS:
            seen |= self._some_others()
        steps = [(call, run, next_step(run, **_limits(call), now=now)) for call, run in seen.values()]
        todo = [one for one in steps if not isinstance(one[2], Wait) or _says_more(one[0], one[2])]
        over = time.monotonic() - _PAUSE_AFTER_ERROR
        self._failed_at = {call_id: at for call_id, at in self._failed_at.items() if at > over}
        todo = [one for one in todo if one[0].id not in self._failed_at]
        return sum(self._take_all(todo[start : start + _AT_ONCE]) for start in range(0, len(todo), _AT_ONCE))

    def _take_all(self, todo: Sequence[tuple[Any, SeenRun, Step]]) -> int:
        try:
            return self._take_together(todo)
        except Exception as error:
            if is_away(error):
                raise
            if len(todo) > 1:
                # One of them spoils the transaction of all.
                middle = len(todo) // 2
                return self._take_all(todo[:middle]) + self._take_all(todo[middle:])
            self._put_off(todo[0][0], error)
            return 0

    def _put_off(self, call: Any, error: Exception) -> None:
        # Never the error's own text: it may quote an answer.
        place = "".join(traceback.format_tb(error.__traceback__)[-3:])
        log.error(
            "%s: what its run has come to cannot be written down: %s\n%s",
            describe(call),
            type(error).__name__,
            place,
        )
        self._failed_at[call.id] = time.monotonic()
        with writing() as session:
            last_error = (
                f"what its run has come to cannot be written down: {type(error).__name__}; "
                "the log of the dispatcher says more"
            )
            change(call, session, last_error=last_error)

    @staticmethod
    def _take_together(todo: Sequence[tuple[Any, SeenRun, Step]]) -> int:
        """Take the steps for calls that no other dispatcher has at hand."""
        ids = [call.id for call, _, _ in todo]
        query = sa.select(call_table.c.id).where(call_table.c.id.in_(ids), *_is_watched())
        with writing() as session:
            free = set(session.scalars(query.with_for_update(skip_locked=True)))
            return sum(_take(call, run, step, session) for call, run, step in todo if call.id in free)

    def _some_others(self) -> Seen:
        """Look at calls for which nothing has happened, in turns."""
        others = _look(self._last_id)
        if len(others) < _AT_ONCE:
            self._last_id, self._last_look_at_reasons = "", time.monotonic()
        else:
            self._last_id = max(others)
        return others


def look_at(ids: Sequence[str], session: Session) -> dict[str, SeenRun]:
    """Look at the runs of some calls, whatever their state."""
    found = look_at_runs(
        call_table,
        (call_table.c.id,),
        (call_table.c.id.in_(ids),),
        task_id=REPLY_TASK_ID,
        note_key=NOTE_KEY,
        session=session,
    )
    return {call.id: run for call, run in found}


def _is_watched() -> tuple[sa.ColumnElement[bool], ...]:
    return (call_table.c.state == "running", call_table.c.answering.is_(None))


def _all_noteworthy(noteworthy: sa.ColumnElement[bool]) -> Seen:
    """Look at all of them: those for which nothing can be done yet must not hide the others."""
    seen: Seen = {}
    while True:
        more = _look(max(seen, default=""), noteworthy)
        seen |= more
        if len(more) < _AT_ONCE:
            return seen


def _look(after: str, noteworthy: sa.ColumnElement[bool] | None = None) -> Seen:
    """Look at the next calls in the order of their ids."""
    with reading() as session:
        found = look_at_runs(
            call_table,
            _COLUMNS,
            (*_is_watched(), call_table.c.id > after),
            task_id=REPLY_TASK_ID,
            note_key=NOTE_KEY,
            session=session,
            noteworthy=noteworthy,
            limit=_AT_ONCE,
        )
    return {call.id: (call, run) for call, run in found}


def _limits(call: Any) -> dict[str, dt.datetime | None]:
    return {"answer_by": call.answer_by, "process_ends_at": call.process_ends_at}


def _says_more(call: Any, step: Wait) -> bool:
    return step.reason != call.reason or (step.maybe_sent_at is not None and call.maybe_sent_at is None)


def _take(call: Any, run: SeenRun, step: Step, session: Session) -> bool:
    if isinstance(step, Answered):
        return note_answered(call, step, session)
    if isinstance(step, TooLate):
        if call.maybe_sent_at is not None:
            uncertain = UNCERTAIN.format(call.maybe_sent_at)
            return settle(call, "too-late", session, reason=f"{step.reason}; {uncertain}")
        return settle(call, "too-late", session, reason=step.reason)
    if isinstance(step, Owed):
        return _owe(call, run, step, session)
    values: dict[str, Any] = {"reason": step.reason}
    if step.maybe_sent_at is not None and call.maybe_sent_at is None:
        values |= {"maybe_sent_at": step.maybe_sent_at, "maybe_sent_by": REPLY}
        tell_run(call, session, AnswerMark(maybe_sent=True))
    return change(call, session, **values)


def note_answered(call: Any, step: Answered, session: Session) -> bool:
    """Settle a call that ``reply`` has answered."""
    note = step.note
    late = call.process_ends_at is not None and note.at >= call.process_ends_at
    if late:  # its clock differs: the process had gone on by itself
        return settle(
            call, "too-late", session, reason="reply sent its answer after the process had stopped waiting"
        )
    return settle(
        call,
        "answered",
        session,
        answered_by=REPLY,
        answered_at=note.at,
        answer=StoredAnswer(note.values or {}),
    )


def _has_answered_unnoticed(call: Any, session: Session) -> bool:
    """Tell whether ``reply`` says that it has answered: that of version 0.1 leaves no note."""
    return returned_true(call.dag_id, call.run_id, REPLY_TASK_ID, session)


def _owe(call: Any, run: SeenRun, step: Owed, session: Session) -> bool:
    if run.task_state == "success" and run.tries and _has_answered_unnoticed(call, session):
        return settle(
            call,
            "answered",
            session,
            answered_by=REPLY,
            answered_at=now_utc(),
            reason="reply has answered and left no note, or it was deleted: when is not known",
        )
    answer: StoredAnswer | None
    try:
        answer = StoredAnswer.read(call.answer)
    except ValueError:
        answer = None  # the sender says so, and tries again less and less often
    reason = step.reason
    failed = tasks_in_state("failed", call.dag_id, call.run_id, session)
    if failed and run.run_state is not None:
        reason = f"{reason}; failed tasks: {', '.join(failed)}"
    maybe_sent_at = call.maybe_sent_at or step.maybe_sent_at
    if maybe_sent_at is not None:
        reason = f"{reason}; {UNCERTAIN.format(maybe_sent_at)}"
    return owe(call, session, reason, answer, maybe_sent_at=maybe_sent_at)
