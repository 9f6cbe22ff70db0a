"""The changes of a call's row: each in one place, with its log line, its metric, and what its run is told."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.dag_runs import change_conf
from airflow_provider_b24._airflow.database import changed_rows
from airflow_provider_b24._airflow.encryption import WrongKeyError, decrypt, encrypt
from airflow_provider_b24.calls import metrics
from airflow_provider_b24.calls.table import OPEN_STATES, call_table
from airflow_provider_b24.robots.answer_mark import NOBODY, AnswerMark

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_LONGEST_REASON = 1000
DISPATCHER = "dispatcher"
REPLY = "reply"


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a process is, or was, answered with.

    :param values: as the portal takes them.
    :param log_message: text for the process's log.
    """

    values: Mapping[str, Any]
    log_message: str | None = None

    def encrypted(self) -> str:
        """Write it as it is stored."""
        return encrypt(json.dumps({"values": dict(self.values), "log_message": self.log_message}))

    @classmethod
    def read(cls, stored: str | None) -> StoredAnswer:
        """Read what :meth:`encrypted` wrote; nothing is an answer without values.

        :raises ValueError: when it cannot be read; says what to do.
        """
        if stored is None:
            return cls({})
        try:
            data = json.loads(decrypt(stored))
            return cls(dict(data["values"]), data["log_message"])
        except WrongKeyError:
            raise
        except (KeyError, TypeError, ValueError):
            raise ValueError("what is stored of the answer is damaged") from None


def now_utc() -> dt.datetime:
    """Give the time."""
    return dt.datetime.now(dt.UTC)


def change(call: Any, session: Session, **values: Any) -> bool:
    """Change the row of a call that is open.

    :return: ``False`` when someone else has settled it meanwhile.
    """
    query = sa.update(call_table).where(call_table.c.id == call.id, call_table.c.state.in_(OPEN_STATES))
    return bool(changed_rows(session, query.values(**values)))


def when_committed(session: Session, do: Callable[[], None]) -> None:
    """Tell the world of a change as soon as it has happened; not at all when it is rolled back."""
    sa.event.listen(session, "after_commit", lambda _: do(), once=True)


def settle(
    call: Any,
    state: str,
    session: Session,
    *,
    answered_by: str | None = None,
    answered_at: dt.datetime | None = None,
    reason: str | None = None,
    answer: StoredAnswer | None = None,
    last_error: str | None = None,
) -> bool:
    """Write down how a call has ended; its secret is erased, and its run is told.

    :return: ``False`` when someone else has settled it meanwhile.
    """
    done = change(
        call,
        session,
        state=state,
        answered_by=answered_by,
        answered_at=answered_at,
        reason=reason,
        answer=answer.encrypted() if answer is not None else None,
        last_error=last_error,
        payload=None,
        answering=None,
        answering_by=None,
        leased_by=None,
        leased_until=None,
    )
    if done:
        if state != "not-awaited":
            tell_run(call, session, AnswerMark(answered_by or NOBODY, answered_at))
        by = f" by {answered_by}" if answered_by else ""
        why = f" ({reason})" if reason else ""

        def tell() -> None:
            metrics.count_settled(call.dag_id, state)
            log.info("%s: %s%s%s", describe(call), state, by, why)

        when_committed(session, tell)
    return done


def owe(
    call: Any,
    session: Session,
    reason: str,
    answer: StoredAnswer | None,
    *,
    maybe_sent_at: dt.datetime | None = None,
) -> bool:
    """Leave a call to the dispatcher: it sends the answer as soon as it can.

    :param reason: why ``reply`` does not answer; goes into the process's log as well.
    :param answer: ``None`` for what is stored, which cannot be read now: the call waits for a person.
    :param maybe_sent_at: when ``reply`` began to send an answer of which nobody knows whether it arrived.
    :return: ``False`` when someone else has settled it meanwhile.
    """
    reason = reason[:_LONGEST_REASON]
    values: dict[str, Any] = {
        "answering": "failure-answered",
        "answering_by": DISPATCHER,
        "reason": reason,
        "attempts": 0,
        "due_at": now_utc(),
    }
    if answer is not None:
        message = f"Airflow DAG {call.dag_id}, run {call.run_id}: {reason}"
        values["answer"] = StoredAnswer(answer.values, message).encrypted()
    if maybe_sent_at is not None:
        values |= {"maybe_sent_at": maybe_sent_at, "maybe_sent_by": REPLY}
    done = change(call, session, **values)
    if done:
        when_committed(
            session, lambda: log.info("%s: the dispatcher answers, because %s", describe(call), reason)
        )
    return done


def give_back(call: Any, session: Session) -> bool:
    """Leave a call to ``reply`` again, after its run was cleared before anything was sent."""
    done = change(
        call, session, answering=None, answering_by=None, reason=None, leased_by=None, leased_until=None
    )
    if done:
        tell_run(call, session, AnswerMark())
        when_committed(
            session, lambda: log.info("%s: its run was cleared, and its reply answers", describe(call))
        )
    return done


def tell_run(call: Any, session: Session, mark: AnswerMark) -> None:
    """Leave a mark in the conf of a call's run."""
    change_conf(call.dag_id, call.run_id, mark.put_into, session)


def describe(call: Any) -> str:
    """Name a call in a log line."""
    return f"Call {call.id} of process {call.process} (connection {call.conn_id}, robot {call.code})"
