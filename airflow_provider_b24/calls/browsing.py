"""The calls on record as a page shows them: some at a time, the newest first, and those that wait for a person.

A page goes on from the last call of the one before (*key*), never by counting rows, so that the thousandth is as quick
as the first.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24.calls.listing import CallReport, waits_for_person
from airflow_provider_b24.calls.table import OPEN_STATES, RUN_ID_PREFIX, STATES, CallState, call_table

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_ID = re.compile(r"[0-9a-f]{32}")
_COLUMNS = tuple(call_table.c[name] for name in CallReport.__dataclass_fields__)


class MalformedKeyError(ValueError):
    """The text says not which call a page goes on from."""


@dataclass(frozen=True, slots=True)
class PageKey:
    """Which call a page goes on from.

    :param received_at: when that call came, in UTC.
    :param id: its id.
    """

    received_at: dt.datetime
    id: str

    @classmethod
    def parse(cls, text: str) -> PageKey:
        """Read what ``str`` gives of a key.

        :raises MalformedKeyError: when it is something else.
        """
        microseconds, _, call_id = text.partition("-")
        if not re.fullmatch(r"[0-9]{1,17}", microseconds) or not _ID.fullmatch(call_id):
            raise MalformedKeyError(f"{text[:60]!r} does not say where a page begins")
        return cls(_EPOCH + dt.timedelta(microseconds=int(microseconds)), call_id)

    def __str__(self) -> str:
        return f"{(self.received_at - _EPOCH) // dt.timedelta(microseconds=1)}-{self.id}"


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which calls a page shows; what is not given does not matter.

    :param visible: only calls of these DAGs; ``None`` for all. Not a wish, but what a user may see.
    :param state: a state, ``open``, or ``waiting`` for what waits for a person.
    :param since: received at this time or later.
    :param search: the id of a call, run, process or document, a robot's code, a DAG, or words of a reason or an error.
    """

    visible: Collection[str] | None = None
    state: str | None = None
    dag_id: str | None = None
    conn_id: str | None = None
    since: dt.datetime | None = None
    search: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Give the conditions of a query."""
        call = call_table.c
        given: list[sa.ColumnElement[bool]] = []
        if self.visible is not None:
            given.append(_by_hand(call.dag_id).in_(list(self.visible)))
        if self.state == "waiting":
            given.append(waits_for_person())
        elif self.state == "open":
            given.append(call.state.in_(OPEN_STATES))
        elif self.state in OPEN_STATES:
            given.append(call.state == self.state)
        elif self.state is not None:
            given.append(_by_hand(call.state) == self.state)
        if self.dag_id is not None:
            given.append(_by_hand(call.dag_id) == self.dag_id)
        if self.conn_id is not None:
            given.append(call.conn_id == self.conn_id)
        if self.since is not None:
            given.append(call.received_at >= self.since)
        if self.search is not None:
            given.append(_matches(self.search))
        return given


def _by_hand(column: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Compare a column without its own index: that of the order has it, too, and most rows match."""
    return column.concat("")


def _matches(words: str) -> sa.ColumnElement[bool]:
    call = call_table.c
    name = words.removeprefix(RUN_ID_PREFIX)
    if _ID.fullmatch(name):
        return call.id == name
    return sa.or_(
        *(column == words for column in (call.process, call.code, call.dag_id, call.document)),
        call.document.endswith(f"/{words}", autoescape=True),
        *(
            sa.func.lower(column).contains(words.lower(), autoescape=True)
            for column in (call.reason, call.last_error)
        ),
    )


def browse(
    wanted: Wanted, session: Session, *, before: PageKey | None = None, limit: int
) -> tuple[list[CallReport], PageKey | None]:
    """Read calls, the newest first.

    :param before: go on after this call; ``None`` begins with the newest.
    :param limit: read so many at most.
    :return: the calls, and where the next page begins; ``None`` when there is none.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    call = call_table.c
    query = sa.select(*_COLUMNS).where(*wanted.conditions())
    if before is not None:
        earlier = call.received_at < before.received_at
        same = sa.and_(call.received_at == before.received_at, call.id < before.id)
        # The first condition alone tells the database where in its index to begin.
        query = query.where(call.received_at <= before.received_at, sa.or_(earlier, same))
    query = query.order_by(call.received_at.desc(), call.id.desc()).limit(limit + 1)
    calls = [CallReport(**row._mapping) for row in session.execute(query)]
    if len(calls) <= limit:
        return calls, None
    last = calls[limit - 1]
    return calls[:limit], PageKey(last.received_at, last.id)


def count(wanted: Wanted, session: Session, at_most: int) -> int:
    """Count calls.

    :param at_most: count no further.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    some = sa.select(call_table.c.id).where(*wanted.conditions()).limit(at_most).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def count_by_state(wanted: Wanted, session: Session) -> dict[CallState, int]:
    """Count calls by their states, in the order of :data:`STATES`.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    state = _by_hand(call_table.c.state)
    query = sa.select(state, sa.func.count()).where(*wanted.conditions()).group_by(state)
    counts: dict[str, int] = {row[0]: row[1] for row in session.execute(query)}
    return {one: counts[one] for one in STATES if one in counts}


def last_received(visible: Collection[str], session: Session, among: int) -> dict[str, dt.datetime]:
    """Tell when the last call came over each connection.

    :param visible: of calls of these DAGs.
    :param among: look at so many of the newest calls; a connection with none of them is left out.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    call = call_table.c
    newest = sa.select(call.conn_id, call.dag_id, call.received_at).order_by(
        call.received_at.desc(), call.id.desc()
    )
    some = newest.limit(among).subquery()
    query = (
        sa.select(some.c.conn_id, sa.func.max(some.c.received_at))
        .where(some.c.dag_id.in_(list(visible)))
        .group_by(some.c.conn_id)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def dag_ids_on_record(session: Session) -> list[str]:
    """Name the DAGs that calls are for, in order.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    return _distinct(call_table.c.dag_id, session)


def _distinct(column: sa.ColumnElement[Any], session: Session) -> list[str]:
    """Give the values of a column that begins an index: one look for each, not one at each row."""
    found: list[str] = []
    while True:
        later = sa.select(sa.func.min(column))
        value = session.scalar(later.where(column > found[-1]) if found else later)
        if value is None:
            return found
        found.append(value)
