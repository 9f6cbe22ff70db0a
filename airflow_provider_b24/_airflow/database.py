"""Airflow's metadata database: sessions of our own in it, how writers queue for SQLite, and how its absence shows.

======  ==================================================================================================
3.0 on  ``settings.Session`` is a ``scoped_session`` of the thread: whoever nests in it commits it. So sessions here
        are made from ``settings.engine``.
3.0 on  ``create_global_lock`` locks nothing on SQLite, and waits for 1.8 s on PostgreSQL.
3.0-3.1 It asks what the session is bound to for a connection, which only an engine gives, and leaves that one of the
        pool, in a transaction, to the garbage collector.
======  ==================================================================================================

The connection for ``create_global_lock`` may go when the provider needs 3.2.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_b24._airflow.home import airflow_home
from airflow_provider_b24._airflow.versions import airflow_version

if TYPE_CHECKING:
    from sqlalchemy import Delete, Update
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import Session

_SQLITE_SECONDS = 60
_one_writer = threading.Lock()


class DatabaseHangsError(Exception):
    """The database has not answered for so long that nobody waits any longer."""


def is_away(error: BaseException) -> bool:
    """Tell whether an error means that the database did not answer, or could not just now.

    What failed this way may have been done all the same, and may be tried again.
    """
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    if isinstance(error, (DatabaseHangsError, OperationalError, InterfaceError, PoolTimeoutError)):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def engine() -> Engine:
    """Give the engine that Airflow has configured for this process.

    :raises DatabaseHangsError: when it has none.
    """
    from airflow import settings

    if settings.engine is None:
        raise DatabaseHangsError("Airflow has no database in this process.")
    found: Engine = settings.engine
    return found


def is_sqlite() -> bool:
    """Tell whether the database is SQLite, which lets one writer in at a time and locks no rows."""
    return engine().dialect.name == "sqlite"


@contextmanager
def reading() -> Iterator[Session]:
    """Give a session that nothing else of this process shares; what it wrote is rolled back."""
    from sqlalchemy.orm import sessionmaker

    with (
        engine().connect() as connection,
        _patient(connection) if is_sqlite() else nullcontext(),
        sessionmaker(bind=connection, expire_on_commit=False)() as session,
    ):
        yield session


@contextmanager
def _patient(connection: Connection) -> Iterator[None]:
    """Wait longer for SQLite than its driver's five seconds: Airflow's own writers may take more on a busy machine.

    The connection goes back to the pool as it was. Airflow's API server writes its audit log in the event loop that
    another of its writes needs to end: whoever waits longer there holds the database, and everybody, as long.
    """
    usual = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {_SQLITE_SECONDS * 1000}")
    connection.rollback()  # only then is what a session commits committed
    try:
        yield
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {usual}")


@contextmanager
def writing() -> Iterator[Session]:
    """Give a session whose work is committed at the end of the block, or rolled back when it fails.

    SQLite locks no rows: there the session has the whole database for writing from its beginning. And the writers of
    this process come one after another, because those that meet there sleep longer and longer.
    """
    with _one_writer if is_sqlite() else nullcontext(), reading() as session:
        if is_sqlite():
            from sqlalchemy import text

            session.execute(text("BEGIN IMMEDIATE"))
        yield session
        session.commit()


def changed_rows(session: Session, statement: Update | Delete) -> int:
    """Execute a statement that changes rows, and tell how many it has changed."""
    result = session.execute(statement)
    return int(result.rowcount)  # type: ignore[attr-defined]


@contextmanager
def migrating() -> Iterator[Session]:
    """Give a session under the lock that Airflow's own migrations take; on SQLite under a lock of a file.

    :raises sqlalchemy.exc.SQLAlchemyError: when another process has held the lock for too long.
    """
    from airflow.utils.db import DBLocks, create_global_lock
    from sqlalchemy.orm import sessionmaker

    try:
        with (
            _alone_on_this_machine() if is_sqlite() else nullcontext(),
            sessionmaker(bind=engine())() as session,
            create_global_lock(session, lock=DBLocks.MIGRATIONS),
        ):
            yield session
    finally:
        if airflow_version() < (3, 2):
            gc.collect()


@contextmanager
def _alone_on_this_machine() -> Iterator[None]:
    import fcntl

    with lock_file("migration").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lock_file(name: str) -> Path:
    """Name a file beside a SQLite database that processes lock; a database in memory gets one in Airflow's home."""
    path = engine().url.database
    folder = Path(path).parent if path and path != ":memory:" else airflow_home()
    return folder / f".bitrix24_{name}.lock"
