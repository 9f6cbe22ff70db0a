"""Who may answer when: the one decision about a call whose run goes on, or has ended.

``reply`` answers while its run goes on, and before ``answer_by``. From then on, and after the run, the dispatcher
does. The portal takes the first answer and ignores the next with the same ``true``, so what is decided here follows
our own order of events, and never what a portal says to a second answer.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_b24.operators._answer_note import AnswerNote

if TYPE_CHECKING:
    from airflow_provider_b24._airflow.reply_states import SeenRun

SECONDS_TO_SETTLE = dt.timedelta(seconds=15)
"""How long an answer that ``reply`` has begun to send is waited for, when nothing urges."""
_SECONDS_TO_NOTE = dt.timedelta(seconds=5)
_GRACE = dt.timedelta(seconds=5)
"""How long after the end of the process's own limit a delivery is still looked for."""

PAUSED = "the DAG is paused"
"""What a call waits for whose DAG a person has paused."""

_RUN_ENDED = ("success", "failed")
_AT_WORK = ("running", "deferred")
_CANNOT_SUCCEED = ("failed", "upstream_failed", "skipped", "removed")


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be done.

    :param reason: what the call waits for, if there is something to be said.
    :param maybe_sent_at: when ``reply`` began to send an answer of which nobody knows whether it arrived.
    """

    reason: str | None = None
    maybe_sent_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """``reply`` has answered."""

    note: AnswerNote


@dataclass(frozen=True, slots=True)
class TooLate:
    """Nobody waits any more, and nobody has answered."""

    reason: str


@dataclass(frozen=True, slots=True)
class Owed:
    """The dispatcher must answer.

    :param reason: why ``reply`` does not.
    :param maybe_sent_at: when ``reply`` began to send an answer of which nobody knows whether it arrived.
    """

    reason: str
    maybe_sent_at: dt.datetime | None = None


Step = Wait | Answered | TooLate | Owed


def next_step(
    seen: SeenRun, *, answer_by: dt.datetime | None, process_ends_at: dt.datetime | None, now: dt.datetime
) -> Step:
    """Decide what is to be done about a call that nobody has answered yet, as far as the table knows.

    :param seen: its run.
    :param answer_by: until when ``reply`` may answer.
    :param process_ends_at: when the process stops waiting by its own limit; the dispatcher answers at ``answer_by``
        only where that is earlier.
    """
    note = AnswerNote.from_xcom(seen.note)
    if note is not None and note.outcome == "delivered":
        return Answered(note)
    maybe_sent_at = note.at if note is not None and note.outcome == "sending" else None
    if process_ends_at is not None and now >= process_ends_at + _GRACE:
        return TooLate(
            f"the process stopped waiting at {process_ends_at:%Y-%m-%d %H:%M:%S} UTC by its own limit"
        )
    reason = _why_now(seen, note, answer_by if answer_by != process_ends_at else None, now)
    if reason is None:
        # A try that goes on takes its note back when nothing has arrived: a locked process keeps it busy for minutes.
        goes_on = seen.task_state in _AT_WORK
        lost = maybe_sent_at is not None and not goes_on and now - maybe_sent_at > _SECONDS_TO_NOTE
        return Wait(_waits_for(seen), maybe_sent_at if lost else None)
    if note is not None and note.outcome == "refused":
        return TooLate(f"the portal did not take the answer of reply: {note.error}")
    if maybe_sent_at is not None and now - maybe_sent_at < SECONDS_TO_SETTLE:
        return Wait("reply has begun to send the answer")
    return Owed(reason, maybe_sent_at)


def _why_now(
    seen: SeenRun, note: AnswerNote | None, answer_by: dt.datetime | None, now: dt.datetime
) -> str | None:
    """Say why it is the dispatcher's turn, ``None`` while it is not."""
    if seen.run_state is None:
        return "its DAG run was deleted"
    if seen.run_state in _RUN_ENDED:
        return "the run failed" if seen.run_state == "failed" else _ended_without(seen)
    if seen.task_state in _CANNOT_SUCCEED:
        return f"the task reply is {seen.task_state}"
    if seen.task_state == "success" and note is None:
        return _ended_without(seen)
    if answer_by is not None and now >= answer_by:
        return "no answer yet, and the process does not wait much longer"
    return None


def _ended_without(seen: SeenRun) -> str:
    if seen.task_state == "success" and not seen.tries:
        return "ended without an answer: reply was marked success and has not run"
    return f"ended without an answer: reply is {seen.task_state or 'not there'}"


def _waits_for(seen: SeenRun) -> str | None:
    if seen.is_paused:
        return PAUSED
    if seen.run_state == "queued":
        return "the run is queued"
    if seen.task_state == "queued":
        return "reply waits for a worker"
    if seen.task_state == "up_for_retry":
        return "reply will be tried again"
    return None
