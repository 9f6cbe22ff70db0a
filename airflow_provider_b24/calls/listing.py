"""The calls on record, as people and programs read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.database import reading
from airflow_provider_b24.calls.rules import PAUSED
from airflow_provider_b24.calls.table import OPEN_STATES, CallState, call_table, refusal_table

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class CallReport:
    """What is on record of one call. Times are in UTC.

    :param reason: what it waits for, or why it ended like this.
    :param answer_by: until when its run may answer; ``None`` without limit.
    :param answered_by: ``reply``, ``dispatcher`` or ``hand:USER``.
    :param last_error: what went wrong last, and what to do about it.
    """

    id: str
    conn_id: str
    code: str
    dag_id: str
    run_id: str
    process: str
    document: str
    state: CallState
    reason: str | None
    sent_at: dt.datetime
    received_at: dt.datetime
    answer_by: dt.datetime | None
    answered_at: dt.datetime | None
    answered_by: str | None
    last_error: str | None

    @property
    def document_id(self) -> str:
        """The last part of the document: ``LEAD_77`` of ``crm/CCrmDocumentLead/LEAD_77``."""
        return self.document.split("/", 2)[-1]

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-safe form."""
        return {
            name: value.isoformat() if isinstance(value, dt.datetime) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Which calls; what is not given does not matter.

    :param since: received at this time or later.
    :param until: received before.
    :param document: ``crm/CCrmDocumentLead/LEAD_77``, or its last part.
    """

    since: dt.datetime | None = None
    until: dt.datetime | None = None
    states: Collection[str] = ()
    dag_ids: Collection[str] = ()
    codes: Collection[str] = ()
    conn_ids: Collection[str] = ()
    process: str | None = None
    document: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Give the conditions of a query."""
        call = call_table.c
        given: list[sa.ColumnElement[bool]] = []
        if self.since is not None:
            given.append(call.received_at >= self.since)
        if self.until is not None:
            given.append(call.received_at < self.until)
        for column, values in (
            (call.state, self.states),
            (call.dag_id, self.dag_ids),
            (call.code, self.codes),
            (call.conn_id, self.conn_ids),
        ):
            if values:
                given.append(column.in_(list(values)))
        if self.process is not None:
            given.append(call.process == self.process)
        if self.document is not None:
            given.append(
                sa.or_(
                    call.document == self.document,
                    call.document.endswith(f"/{self.document}", autoescape=True),
                )
            )
        return given


def list_calls(wanted: CallFilter) -> Iterator[CallReport]:
    """Read calls, the oldest first.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    columns = [call_table.c[name] for name in CallReport.__dataclass_fields__]
    query = sa.select(*columns).where(*wanted.conditions())
    query = query.order_by(call_table.c.received_at, call_table.c.id).limit(_AT_ONCE)
    last: Any = None
    while True:
        portion = query
        if last is not None:
            later = call_table.c.received_at > last.received_at
            same = sa.and_(call_table.c.received_at == last.received_at, call_table.c.id > last.id)
            portion = query.where(sa.or_(later, same))
        with reading() as session:
            rows = session.execute(portion).all()
        yield from (CallReport(**row._mapping) for row in rows)
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1]


@dataclass(frozen=True, slots=True)
class Refusals:
    """Posts to the receiver that were refused, for one connection and reason. Times are in UTC.

    :param number: how many since ``first_at``.
    """

    conn_id: str
    error: str
    number: int
    first_at: dt.datetime
    last_at: dt.datetime
    message: str


def list_refusals(since: dt.datetime | None = None) -> list[Refusals]:
    """Read what was refused, the last first.

    :param since: only what happened again since then; the numbers count from the first time all the same.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    query = sa.select(refusal_table).order_by(refusal_table.c.last_at.desc())
    if since is not None:
        query = query.where(refusal_table.c.last_at >= since)
    with reading() as session:
        return [Refusals(**row._mapping) for row in session.execute(query)]


def find_call(name: str) -> CallReport | None:
    """Find a call by its id, or by the id of its run."""
    columns = [call_table.c[column] for column in CallReport.__dataclass_fields__]
    query = sa.select(*columns).where(sa.or_(call_table.c.id == name, call_table.c.run_id == name))
    with reading() as session:
        row = session.execute(query).first()
    return None if row is None else CallReport(**row._mapping)


def conn_ids_on_record() -> list[str]:
    """Name the connections that calls have come by.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    with reading() as session:
        return list(session.scalars(sa.select(call_table.c.conn_id).distinct()))


def list_waiting(conn_id: str) -> list[CallReport]:
    """Read the calls over a connection that wait for a person, the oldest first.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    columns = [call_table.c[name] for name in CallReport.__dataclass_fields__]
    query = sa.select(*columns).where(waits_for_person(), call_table.c.conn_id == conn_id)
    with reading() as session:
        rows = session.execute(query.order_by(call_table.c.received_at)).all()
    return [CallReport(**row._mapping) for row in rows]


def overdue_calls(age: dt.timedelta) -> tuple[int, dt.datetime | None]:
    """Count the calls, of all connections, for which a dispatcher should have done something long ago.

    :param age: how long ago.
    :return: how many, and since when the first is due, in UTC.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    before = dt.datetime.now(dt.UTC) - age
    call = call_table.c
    query = sa.select(sa.func.count(), sa.func.min(call.due_at)).where(
        call.state.in_(OPEN_STATES),
        sa.or_(call.state == "received", call.answering.is_not(None)),
        sa.or_(call.leased_until.is_(None), call.leased_until < before),
        call.due_at < before,
    )
    with reading() as session:
        number, oldest = session.execute(query).one()
    return number, oldest


@dataclass(frozen=True, slots=True)
class MissedLimits:
    """How many processes with a time limit waited no more for a robot's answer, or got ``on_failure`` shortly before.

    :param number: how many.
    :param calls: of how many with a time limit.
    """

    code: str
    number: int
    calls: int


def missed_limits(conn_id: str, since: dt.datetime) -> list[MissedLimits]:
    """Count the calls over a connection whose answer was not ready when the process's time limit was near, or over.

    :param since: received at this time or later.
    :return: by robot, those that missed the most first.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    call = call_table.c
    nearly_over = sa.and_(
        call.state == "failure-answered",
        call.answer_by < call.process_ends_at,
        call.answered_at >= call.answer_by,
    )
    number = sa.func.sum(sa.case((sa.or_(call.state == "too-late", nearly_over), 1), else_=0))
    query = (
        sa.select(call.code, number, sa.func.count())
        .where(call.conn_id == conn_id, call.received_at >= since, call.process_ends_at.is_not(None))
        .group_by(call.code)
        .having(number > 0)
        .order_by(number.desc(), call.code)
    )
    with reading() as session:
        return [MissedLimits(code, int(missed), int(calls)) for code, missed, calls in session.execute(query)]


def waits_for_operator() -> sa.ColumnElement[bool]:
    """Tell which calls wait for someone to fix something: an answer that does not get through, or no DAG."""
    return sa.and_(
        call_table.c.state.in_(OPEN_STATES),
        sa.or_(
            sa.and_(call_table.c.answering.is_not(None), call_table.c.attempts > 0),
            sa.and_(call_table.c.state == "received", call_table.c.reason.is_not(None)),
        ),
    )


def waits_for_person() -> sa.ColumnElement[bool]:
    """Tell which calls go on only when a person has acted: fixed what fails, or unpaused the DAG."""
    paused = sa.and_(call_table.c.state == "running", call_table.c.reason == PAUSED)
    return sa.or_(waits_for_operator(), paused)
