"""The dispatcher: a loop that starts runs for calls, watches what becomes of them, and sends the answers it owes.

Any number may run on PostgreSQL and MySQL: rows are claimed, each step is one transaction, and a step that is done
twice does no harm. On SQLite one at a time works, and the others stand by.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.database import is_away, is_sqlite, lock_file, reading, writing
from airflow_provider_b24._airflow.jobs import DispatcherJob
from airflow_provider_b24.calls import metrics
from airflow_provider_b24.calls.adoption import adopt_runs
from airflow_provider_b24.calls.answering import BATCH, Sender
from airflow_provider_b24.calls.changes import now_utc
from airflow_provider_b24.calls.listing import waits_for_person
from airflow_provider_b24.calls.starting import Starter
from airflow_provider_b24.calls.table import OPEN_STATES, call_table
from airflow_provider_b24.calls.watching import Watcher

log = logging.getLogger(__name__)

_SENDERS = 8
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_BEATS = 15.0
_SECONDS_BETWEEN_COUNTS = 30.0
_SECONDS_BETWEEN_PURGES = 3600.0
_PURGED_AT_ONCE = 1000
DEFAULT_KEEP_DAYS = 90


@dataclass(slots=True)
class Every:
    """Says when it is time again.

    :param seconds: how long it is not.
    """

    seconds: float
    _last: float = field(default=float("-inf"), init=False)

    def is_due(self) -> bool:
        """Tell whether it is time; if so, the time begins anew."""
        now = time.monotonic()
        if now - self._last < self.seconds:
            return False
        self._last = now
        return True


@dataclass(slots=True)
class Dispatcher:
    """Does all that is due, a little at each turn."""

    starter: Starter = field(default_factory=Starter)
    watcher: Watcher = field(default_factory=Watcher)
    sender: Sender = field(default_factory=Sender)
    _sending: dict[str, Future[int]] = field(default_factory=dict, init=False)
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_SENDERS, "bitrix24-answers"), init=False
    )
    _job: DispatcherJob = field(default_factory=DispatcherJob, init=False)
    _beat: Every = field(default_factory=lambda: Every(_SECONDS_BETWEEN_BEATS), init=False)
    _look: Every = field(default_factory=lambda: Every(_SECONDS_BETWEEN_LOOKS), init=False)
    _count: Every = field(default_factory=lambda: Every(_SECONDS_BETWEEN_COUNTS), init=False)
    _purge: Every = field(default_factory=lambda: Every(_SECONDS_BETWEEN_PURGES), init=False)
    _has_adopted: bool = field(default=False, init=False)
    _lock: IO[str] | None = field(default=None, init=False)
    _has_stopped: bool = field(default=False, init=False)

    def turn(self) -> bool:
        """Do what is due.

        :return: whether there is more to do at once.
        :raises sqlalchemy.exc.SQLAlchemyError: when the database is away.
        """
        if not self._may_work():
            return False
        if self._beat.is_due():
            self._job.beat()
        if not self._has_adopted:
            adopt_runs(self.starter.robots)
            self._has_adopted = True
        looked_at = self.starter.start_some()
        if self._look.is_due():
            try:
                self.watcher.watch()
            finally:
                self._send()
        if self._count.is_due():
            self._show_numbers()
        if self._purge.is_due():
            purge(keep_days())
        return looked_at > 0

    def stop(self) -> None:
        """Begin nothing new; answers that are on their way go on to their end."""
        self._has_stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        try:
            self._job.end()
        except Exception as error:
            _say(error, "That the dispatcher has ended could not be put on record")
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _may_work(self) -> bool:
        """Tell whether this is the one dispatcher of a SQLite database; elsewhere all may."""
        if not is_sqlite() or self._lock is not None:
            return True
        file = lock_file("dispatcher").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._lock = file
        return True

    def _send(self) -> None:
        for conn_id, future in list(self._sending.items()):
            if future.done():
                del self._sending[conn_id]
                if (error := future.exception()) is not None:
                    _say(error, f"Answers over the connection {conn_id!r} could not be sent")
        for conn_id in self.sender.connections_due():
            if conn_id not in self._sending:
                self._sending[conn_id] = self._pool.submit(self._send_all, conn_id)

    def _send_all(self, conn_id: str) -> int:
        """Send until nothing is due over this connection, or the end has come."""
        sent = 0
        while not self._has_stopped and (number := self.sender.send_due(conn_id)) > 0:
            sent += number
            if number < BATCH:
                break
        return sent

    @staticmethod
    def _show_numbers() -> None:
        query = sa.select(sa.func.count()).select_from(call_table)
        with reading() as session:
            metrics.show_open(session.scalar(query.where(call_table.c.state.in_(OPEN_STATES))) or 0)
            metrics.show_waiting(session.scalar(query.where(waits_for_person())) or 0)


def purge(days: int) -> int:
    """Forget calls that are over, and older than so many days.

    :return: how many.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database is away.
    """
    oldest, gone = now_utc() - dt.timedelta(days=days), 0
    old = (
        sa.select(call_table.c.id)
        .where(call_table.c.received_at < oldest, call_table.c.state.not_in(OPEN_STATES))
        .limit(_PURGED_AT_ONCE)
    )
    while True:
        with writing() as session:
            ids = list(session.scalars(old))
            if ids:
                session.execute(sa.delete(call_table).where(call_table.c.id.in_(ids)))
        gone += len(ids)
        if len(ids) < _PURGED_AT_ONCE:
            return gone


def keep_days() -> int:
    """Tell how long calls are kept: ``[bitrix24] keep_calls_days``."""
    from airflow.providers.common.compat.sdk import conf

    days: int = conf.getint("bitrix24", "keep_calls_days", fallback=DEFAULT_KEEP_DAYS)
    return days


def _say(error: BaseException, what: str) -> None:
    """Log an error by its kind, never by its own text: SQLAlchemy puts statements and their parameters into it."""
    level: Any = log.warning if is_away(error) else log.error
    level("%s: %s", what, type(error).__name__)
