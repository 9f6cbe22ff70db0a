"""How calls get on record: one writer for each process commits whatever waits; while the database is away, the spool.

Twice as many calls a second as with a session for each call, and on SQLite no writer that meets another.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.database import changed_rows, is_away, writing
from airflow_provider_b24.calls import metrics
from airflow_provider_b24.calls.table import call_table, refusal_table

if TYPE_CHECKING:
    from airflow_provider_b24.calls.new_call import NewCall
    from airflow_provider_b24.calls.spool import Spool

log = logging.getLogger(__name__)

DATABASE_SECONDS = 5.0
"""How long a call waits for the database before it goes into the spool: the caller does not wait much longer."""
_AT_ONCE = 500
_RACES = 5
_LONGEST_MESSAGE = 500


class NotDurableError(Exception):
    """Neither the database nor the spool has taken a call."""


def put_on_record(calls: Sequence[NewCall]) -> set[str]:
    """Insert rows, committed when this returns.

    :return: the ids of the calls that were not on record before.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database does not take them; none is on record then.
    """
    rows = {call.id: call for call in calls}
    for left in reversed(range(_RACES)):
        try:
            with writing() as session:
                known = set(
                    session.scalars(sa.select(call_table.c.id).where(call_table.c.id.in_(list(rows))))
                )
                new = [
                    call.to_row() | {"payload": call.to_payload()}
                    for call_id, call in rows.items()
                    if call_id not in known
                ]
                if new:
                    session.execute(sa.insert(call_table), new)
        except sa.exc.IntegrityError:
            if not left:  # another process was faster with one of them, and now it is known
                raise
        else:
            return rows.keys() - known
    raise AssertionError("unreachable")


def is_about_a_row(error: BaseException) -> bool:
    """Tell whether :func:`put_on_record` failed because of one of the calls: then the others go without it.

    What else a database says is about the statement, or about itself, and true for every call.
    """
    if isinstance(error, sa.exc.DBAPIError):
        return isinstance(error, (sa.exc.DataError, sa.exc.IntegrityError)) and not is_away(error)
    return not is_away(error)


@dataclass(slots=True)
class _Waiting:
    call: NewCall
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[bool]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a call that came in.

    :param is_new: whether it was not on record before.
    :param in_spool: whether it lies in the spool, and not in the table yet.
    """

    is_new: bool
    in_spool: bool = False


@dataclass(slots=True)
class Intake:
    """Takes calls.

    :param spool: where calls go while the database is away.
    :param committed: called after rows were committed, from the writer's thread.
    :param database_seconds: how long a call waits for the database.
    """

    spool: Spool
    committed: Callable[[], None] = lambda: None
    database_seconds: float = DATABASE_SECONDS
    _waiting: list[_Waiting] = field(default_factory=list, init=False)
    _refused: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict, init=False)
    _condition: threading.Condition = field(default_factory=threading.Condition, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _busy_since: float | None = field(default=None, init=False)

    async def take(self, call: NewCall) -> Taken:
        """Put a call on record; when this returns, it is durable.

        :raises NotDurableError: when neither the database nor the spool takes it.
        """
        loop = asyncio.get_running_loop()
        if not self._hangs():
            future: asyncio.Future[bool] = loop.create_future()
            self._enqueue(_Waiting(call, loop, future))
            try:
                return Taken(await asyncio.wait_for(future, self.database_seconds))
            except TimeoutError:
                log.error("Airflow's database has not taken a call within %.0f s.", self.database_seconds)
            except Exception as error:
                log.warning("A call goes into the spool: %s", type(error).__name__)
        try:
            is_new = await asyncio.to_thread(self.spool.keep, call)
        except OSError as error:
            log.error(
                "A robot call is lost: neither Airflow's database nor the spool in %s takes it: %s",
                self.spool.folder,
                error.strerror,
            )
            raise NotDurableError from None
        metrics.count_spooled()
        return Taken(is_new, in_spool=True)

    def refuse(self, conn_id: str, error: str, message: str) -> None:
        """Note a post that was refused, without anything it said.

        :param conn_id: the connection, empty if there is no such.
        :param error: a word.
        :param message: the reason, in words.
        """
        now = dt.datetime.now(dt.UTC)
        with self._condition:
            noted = self._refused.setdefault((conn_id, error), {"number": 0, "first_at": now})
            noted |= {"number": noted["number"] + 1, "last_at": now, "message": message[:_LONGEST_MESSAGE]}

    def note_refusals(self) -> None:
        """Bring what :meth:`refuse` has noted into the database.

        :raises sqlalchemy.exc.SQLAlchemyError: when the database does not take it; it is tried again with the next.
        """
        with self._condition:
            refused, self._refused = self._refused, {}
        try:
            if refused:
                _add_refusals(refused)
        except Exception:
            with self._condition:
                for key, noted in refused.items():
                    later = self._refused.get(key)
                    self._refused[key] = (
                        noted
                        if later is None
                        else later
                        | {"number": later["number"] + noted["number"], "first_at": noted["first_at"]}
                    )
            raise

    def _hangs(self) -> bool:
        began = self._busy_since
        return began is not None and time.monotonic() - began > self.database_seconds

    def _enqueue(self, waiting: _Waiting) -> None:
        with self._condition:
            self._waiting.append(waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="bitrix24-intake", daemon=True)
                self._thread.start()
            self._condition.notify()

    def _write_all(self) -> None:
        while True:
            with self._condition:
                while not self._waiting:
                    self._condition.wait()
                portion, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            self._write(portion)

    def _write(self, portion: Sequence[_Waiting]) -> None:
        # Who has given up waiting has put his call into the spool.
        portion = [one for one in portion if not one.future.done()]
        self._busy_since = time.monotonic()
        new: set[str] | Exception
        try:
            new = put_on_record([one.call for one in portion]) if portion else set()
        except Exception as error:
            new = error
        finally:
            self._busy_since = None
        if isinstance(new, Exception):
            if len(portion) > 1 and is_about_a_row(new):
                # One of them spoils the transaction of all.
                middle = len(portion) // 2
                self._write(portion[:middle])
                self._write(portion[middle:])
                return
            if not is_away(new):
                log.error("Calls cannot be put on record: %s", type(new).__name__)
        _tell(portion, new)
        if not isinstance(new, Exception):
            self.committed()


def _tell(portion: Sequence[_Waiting], new: set[str] | Exception) -> None:
    """Resolve what the requests wait for, with one wake-up for each event loop.

    :param new: the ids of the calls that were not on record before: each is new to the first of those that posted it.
    """
    outcomes: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[bool], bool | Exception]]] = {}
    told: set[str] = set()
    for one in portion:
        outcome = new if isinstance(new, Exception) else one.call.id in new and one.call.id not in told
        told.add(one.call.id)
        outcomes.setdefault(one.loop, []).append((one.future, outcome))
    for loop, some in outcomes.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, some)


def _resolve(outcomes: Sequence[tuple[asyncio.Future[bool], bool | Exception]]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _add_refusals(refused: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    with writing() as session:
        for (conn_id, error), noted in refused.items():
            place = (refusal_table.c.conn_id == conn_id, refusal_table.c.error == error)
            updated = changed_rows(
                session,
                sa.update(refusal_table)
                .where(*place)
                .values(
                    number=refusal_table.c.number + noted["number"],
                    last_at=noted["last_at"],
                    message=noted["message"],
                ),
            )
            if not updated:
                session.execute(sa.insert(refusal_table).values(conn_id=conn_id, error=error, **noted))
