"""Sending the answers that are due: claimed by one, told to their runs, 50 a request, repeated until they arrive.

A claim is a lease: when its holder dies, another goes on after it. The run is told before anything is sent, so that a
``reply`` that begins meanwhile sends nothing.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.database import changed_rows, reading, writing
from airflow_provider_b24.calls import metrics
from airflow_provider_b24.calls.changes import (
    DISPATCHER,
    REPLY,
    StoredAnswer,
    change,
    describe,
    give_back,
    now_utc,
    settle,
    tell_run,
)
from airflow_provider_b24.calls.new_call import NewCall, UnreadablePayloadError
from airflow_provider_b24.calls.rules import SECONDS_TO_SETTLE, Answered, Owed, next_step
from airflow_provider_b24.calls.table import OPEN_STATES, call_table
from airflow_provider_b24.calls.watching import UNCERTAIN, look_at, note_answered
from airflow_provider_b24.exceptions import BatchError, Bitrix24Error, EventTokenError, ProcessLockedError
from airflow_provider_b24.operators._answer_note import AnswerNote
from airflow_provider_b24.robots.answer_mark import AnswerMark

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_provider_b24._airflow.reply_states import SeenRun

log = logging.getLogger(__name__)

BATCH = 50
_LEASE = dt.timedelta(minutes=3)
# A process that stays locked holds up the outcome of the others in its request for so long.
_SECONDS_TO_SEND = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 60.0
_LONGEST_LOCK = 10.0
"""Seconds. A process is locked while one request works on it, a minute at most."""
_GRACE = dt.timedelta(seconds=5)
_OVER = "the process stopped waiting by its own limit"


class AnswerRefusedError(Exception):
    """A call cannot be answered by hand; the text says why."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An answer that its claimer alone may send now.

    :param call: the call's row.
    :param event_token: whom it is for.
    :param answer: what is sent.
    :param at: when it was claimed, before it is sent.
    """

    call: Any
    event_token: str = field(repr=False)
    answer: StoredAnswer
    at: dt.datetime


@dataclass(slots=True)
class Sender:
    """Sends the answers that the dispatcher, or a person, owes.

    :param name: whose leases these are.
    """

    name: str = field(
        default_factory=lambda: f"{socket.gethostname()[:30]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    )

    def connections_due(self) -> list[str]:
        """Name the connections that have answers to send now.

        :raises sqlalchemy.exc.SQLAlchemyError: when the database is away.
        """
        query = sa.select(call_table.c.conn_id).where(*_is_due(now_utc())).distinct()
        with reading() as session:
            return list(session.scalars(query))

    def send_due(self, conn_id: str) -> int:
        """Send what is due over one connection, one request's worth.

        :return: how many answers were claimed.
        :raises sqlalchemy.exc.SQLAlchemyError: when the database is away.
        """
        with writing() as session:
            query = (
                sa.select(call_table)
                .where(*_is_due(now_utc()), call_table.c.conn_id == conn_id)
                .order_by(call_table.c.due_at)
                .limit(BATCH)
                .with_for_update(skip_locked=True)
            )
            calls = session.execute(query).all()
            claimed = self._claim(calls, session)
        self.send(conn_id, claimed)
        return len(calls)

    def _claim(self, calls: Sequence[Any], session: Session) -> list[Claimed]:
        runs = look_at([call.id for call in calls], session)
        return [one for call in calls if (one := self._claim_one(call, runs[call.id], session)) is not None]

    def _claim_one(self, call: Any, run: SeenRun, session: Session) -> Claimed | None:
        now = now_utc()
        maybe = _lost_attempt(call)
        call = _with_values(call, maybe)
        step = next_step(run, answer_by=call.answer_by, process_ends_at=call.process_ends_at, now=now)
        if isinstance(step, Answered) and (
            call.answering == "failure-answered" or call.maybe_sent_at is None
        ):
            note_answered(call, step, session)
            return None
        if _is_over(call, now):
            _settle_over(call, session)
            return None
        is_for_reply_again = (
            call.state == "running" and not isinstance(step, Owed) and call.maybe_sent_at is None
        )
        if is_for_reply_again and call.answering == "failure-answered":
            give_back(call, session)
            return None
        try:
            token = NewCall.from_payload(call.payload).envelope.event_token
            answer = StoredAnswer.read(call.answer)
        except ValueError as error:
            self._postpone(call, str(error), session, now)
            return None
        if not self._lease(call, session, now, **maybe):
            return None
        tell_run(call, session, AnswerMark(call.answering_by, now))
        return Claimed(call, token, answer, now)

    def _lease(self, call: Any, session: Session, now: dt.datetime, **values: Any) -> bool:
        """Take the lease of a call, unless someone else has it; SQLite locks no rows."""
        query = sa.update(call_table).where(call_table.c.id == call.id, *_is_open(now))
        values |= {"leased_by": self.name, "leased_until": now + _LEASE}
        return bool(changed_rows(session, query.values(**values)))

    def claim_for(self, call_id: str, user: str, answer: StoredAnswer) -> Claimed:
        """Claim a call for an answer by hand.

        :param user: who answers.
        :raises AnswerRefusedError: when it cannot be answered now.
        """
        with writing() as session:
            query = sa.select(call_table).where(call_table.c.id == call_id).with_for_update()
            call = session.execute(query).one_or_none()
            if call is None:
                raise AnswerRefusedError(f"There is no call {call_id}. List calls with: airflow-b24 calls")
            if call.state not in OPEN_STATES:
                raise AnswerRefusedError(f"Nothing was sent: {how_it_ended(call)}")
            if not call.waits:
                raise AnswerRefusedError(
                    "Nothing was sent: the process does not wait for an answer. Its run starts when its DAG is there."
                )
            run, now = look_at([call_id], session)[call_id], now_utc()
            claimed: Claimed | str
            if (note := AnswerNote.from_xcom(run.note)) is not None and note.outcome == "delivered":
                note_answered(call, Answered(note), session)
                claimed = "the process has been answered by its run's task reply."
            elif _is_over(call, now) and (call.leased_until is None or call.leased_until <= now):
                _settle_over(_with_values(call, _lost_attempt(call)), session)
                claimed = f"nobody waits any more: {_OVER}."
            else:
                claimed = self._claim_for(call, note, user, answer, session)
        if isinstance(claimed, str):
            raise AnswerRefusedError(f"Nothing was sent: {claimed}")
        return claimed

    def _claim_for(
        self, call: Any, note: AnswerNote | None, user: str, answer: StoredAnswer, session: Session
    ) -> Claimed:
        token, now = self._token_of(call), now_utc()
        by = f"hand:{user}"[:250]
        values: dict[str, Any] = {
            "answering": "answered-by-hand",
            "answering_by": by,
            "answer": answer.encrypted(),
            "due_at": now,
            "attempts": 0,
        }
        if note is not None and note.outcome == "sending":
            if now - note.at < SECONDS_TO_SETTLE:
                raise AnswerRefusedError(
                    "Nothing was sent: the run's task reply is sending its answer now. Look again in a minute."
                )
            maybe = {"maybe_sent_at": note.at, "maybe_sent_by": REPLY}
        else:
            maybe = _lost_attempt(call)
        if earlier := _earlier_attempt(_with_values(call, maybe)):
            values |= maybe | {"reason": earlier}
        if not self._lease(call, session, now, **values):
            raise AnswerRefusedError(
                "Nothing was sent: the dispatcher is answering this call in this moment. Look again in a minute."
            )
        tell_run(call, session, AnswerMark(by, now))
        return Claimed(_with_values(call, values), token, answer, now)

    @staticmethod
    def _token_of(call: Any) -> str:
        try:
            token: str = NewCall.from_payload(call.payload).envelope.event_token
        except UnreadablePayloadError as error:
            raise AnswerRefusedError(f"Nothing was sent: {error}.") from None
        return token

    def send(self, conn_id: str, claimed: Sequence[Claimed]) -> None:
        """Send answers that were claimed, and write down how it went."""
        if not claimed:
            return
        outcomes = _send(conn_id, claimed)
        with writing() as session:
            for one, outcome in zip(claimed, outcomes, strict=True):
                self._record(one, outcome, session)

    def _record(self, one: Claimed, outcome: Exception | None, session: Session) -> None:
        call, now = one.call, now_utc()
        if outcome is None and call.process_ends_at is not None and one.at >= call.process_ends_at:
            # The portal says the same to a process that has gone on by itself.
            _settle_over(call, session)
        elif outcome is None:
            settle(
                call,
                call.answering,
                session,
                answered_by=call.answering_by,
                answered_at=now,
                reason=call.reason,
                answer=one.answer,
            )
        elif isinstance(outcome, EventTokenError):
            self._record_refusal(one, outcome, session)
        else:
            self._postpone(
                call,
                str(outcome),
                session,
                now,
                maybe_sent=isinstance(outcome, Bitrix24Error) and outcome.ambiguous,
                longest=_LONGEST_LOCK if isinstance(outcome, ProcessLockedError) else _LONGEST_PAUSE,
            )

    def _record_refusal(self, one: Claimed, error: EventTokenError, session: Session) -> None:
        """Decide what it means that nobody waits: an earlier attempt has arrived, or it was too late."""
        call = one.call
        if call.maybe_sent_at is None:
            settle(
                call,
                "too-late",
                session,
                reason=_with_error("nobody waits any more", call),
                last_error=str(error),
            )
            return
        settle(
            call,
            {REPLY: "answered", DISPATCHER: "failure-answered"}.get(call.maybe_sent_by, "answered-by-hand"),
            session,
            answered_by=call.maybe_sent_by,
            answered_at=call.maybe_sent_at,
            reason="an earlier attempt may have arrived, and nobody waits any more: it counts as delivered",
            answer=one.answer if call.maybe_sent_by == call.answering_by else None,
        )

    def _postpone(
        self,
        call: Any,
        error: str,
        session: Session,
        now: dt.datetime,
        *,
        maybe_sent: bool = False,
        longest: float = _LONGEST_PAUSE,
    ) -> None:
        if call.process_ends_at is not None:  # some tries more before it stops waiting
            longest = min(longest, max((call.process_ends_at - now).total_seconds() / 4, _FIRST_PAUSE))
        pause = min(_FIRST_PAUSE * 2 ** min(call.attempts, 10), longest)
        values: dict[str, Any] = {
            "attempts": call.attempts + 1,
            "due_at": now + dt.timedelta(seconds=pause),
            "last_error": error,
            "leased_by": None,
            "leased_until": None,
            "maybe_sent_at": call.maybe_sent_at,
            "maybe_sent_by": call.maybe_sent_by,
        }
        if maybe_sent and call.maybe_sent_at is None:
            values |= {"maybe_sent_at": now, "maybe_sent_by": call.answering_by}
        change(call, session, **values)
        if not maybe_sent and call.maybe_sent_at is None and call.answering == "failure-answered":
            tell_run(call, session, AnswerMark())  # nothing was sent: after a clear, reply may answer
        metrics.count_repeated()
        log.warning("%s is not answered yet, trying again in %.0f s: %s", describe(call), pause, error)


def _is_open(now: dt.datetime) -> tuple[sa.ColumnElement[bool], ...]:
    is_free = sa.or_(call_table.c.leased_until.is_(None), call_table.c.leased_until <= now)
    return (call_table.c.state.in_(OPEN_STATES), is_free)


def _is_due(now: dt.datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (*_is_open(now), call_table.c.answering.is_not(None), call_table.c.due_at <= now)


def _lost_attempt(call: Any) -> dict[str, Any]:
    """Give what is to be noted of a lease whose holder has died: he may have sent the answer."""
    if call.leased_until is None or call.maybe_sent_at is not None:
        return {}
    return {"maybe_sent_at": call.leased_until - _LEASE, "maybe_sent_by": call.answering_by}


def _earlier_attempt(call: Any) -> str | None:
    """Say that an earlier attempt may have arrived, and whose it was."""
    if call.maybe_sent_at is None:
        return None
    if call.maybe_sent_by == REPLY:
        return UNCERTAIN.format(call.maybe_sent_at)
    who = str(call.maybe_sent_by).removeprefix("hand:")
    who = "the dispatcher" if who == DISPATCHER else who
    return f"an answer of {who}, sent at {call.maybe_sent_at:%Y-%m-%d %H:%M:%S} UTC, may have come first"


def _is_over(call: Any, now: dt.datetime) -> bool:
    """Tell whether the process has gone on by its own limit, whatever the clocks differ."""
    return call.process_ends_at is not None and now >= call.process_ends_at + _GRACE


def _settle_over(call: Any, session: Session) -> None:
    reason, earlier = _with_error(_OVER, call), _earlier_attempt(call)
    if earlier is not None and earlier not in reason:
        reason = f"{reason}; {earlier}"
    settle(call, "too-late", session, reason=reason)


def _with_values(call: Any, values: dict[str, Any]) -> Any:
    """Give a row with other values, as it is in the database now."""
    return SimpleNamespace(**(dict(call._mapping) | values))


def _send(conn_id: str, claimed: Sequence[Claimed]) -> list[Exception | None]:
    """Send answers.

    :return: for each ``None`` when the portal has taken it, or what went wrong.
    """
    from airflow_provider_b24.rest.call import answer_params
    from airflow_provider_b24.rest.encoding import plain

    outcomes: dict[str, Exception | None] = {}
    fit: list[tuple[str, dict[str, Any]]] = []
    for one in claimed:
        try:
            params = answer_params(one.event_token, one.answer.values, one.answer.log_message)
            plain(params)
            fit.append((one.call.id, params))
        except ValueError as error:
            outcomes[one.call.id] = ValueError(
                f"The answer cannot be sent: {error} Answer with other values: airflow-b24 calls answer."
            )
    if fit:
        outcomes |= _send_portion(conn_id, fit)
    return [outcomes[one.call.id] for one in claimed]


def _send_portion(conn_id: str, portion: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Exception | None]:
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_b24.rest import Patience

    ids = [call_id for call_id, _ in portion]
    try:
        # One that fails, or whose process is locked, must not hold up the others: it is due again by itself.
        with Bitrix24Hook(conn_id, patience=Patience(attempts=1, lock_attempts=1)) as hook:
            replies = hook.get_conn().batch(
                [("bizproc.event.send", params) for _, params in portion], deadline=_SECONDS_TO_SEND
            )
    except Bitrix24Error as error:
        return dict.fromkeys(ids, error)
    except Exception as error:
        # Airflow cannot give the connection, for example. Its words may hold secrets.
        log.warning("Connection %r cannot be used: %s", conn_id, type(error).__name__)
        words = (
            f"The Airflow connection {conn_id!r} cannot be used ({type(error).__name__}): nothing was sent."
        )
        return dict.fromkeys(ids, RuntimeError(words))
    if len(portion) > 1 and all(_is_too_much(reply) for reply in replies):
        # One of them is too long for the portal, and must not hold up the others.
        middle = len(portion) // 2
        return _send_portion(conn_id, portion[:middle]) | _send_portion(conn_id, portion[middle:])
    return {
        call_id: reply if isinstance(reply, Exception) else None
        for call_id, reply in zip(ids, replies, strict=True)
    }


def _is_too_much(reply: object) -> bool:
    """Tell whether a request as a whole was refused, and none of its calls was done."""
    return isinstance(reply, BatchError) or (isinstance(reply, Bitrix24Error) and reply.status in (413, 414))


def _with_error(reason: str, call: Any) -> str:
    return reason if call.reason is None else f"{reason}; {call.reason}"


def how_it_ended(call: Any) -> str:
    """Say what became of a call that is settled."""
    if call.state == "not-awaited":
        return "the process does not wait for an answer."
    if call.state == "too-late":
        return f"nobody waits any more: {call.reason}."
    by = str(call.answered_by)
    words = {"reply": "by its run's task reply", "dispatcher": "with the on_failure values"}
    who = words.get(by) or f"by hand, by {by.removeprefix('hand:')}"
    return f"the process has been answered {who}, at {call.answered_at:%Y-%m-%d %H:%M:%S} UTC."
