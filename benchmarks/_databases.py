"""The databases that the receiver is measured on, and how each of them goes away for a while."""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from _postgresql import NoPostgreSqlError, PostgreSqlServer
from _table import progress

DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Database:
    """An empty database.

    :param name: one of `DATABASES`.
    :param home: a folder for Airflow, gone afterwards.
    :param outages: ways to take it away for so many seconds.
    """

    name: str
    url: str
    home: Path
    outages: tuple[Callable[[float], None], ...]


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", choices=DATABASES, help="only this one; it must be there")


def chosen(name: str | None) -> Iterator[Database]:
    """Give the chosen database, or all there are."""
    for each in [name] if name else DATABASES:
        try:
            with _database(each) as database:
                yield database
        except NoPostgreSqlError as error:
            if name:
                raise
            progress(f"{each} is not measured: {error}")


@contextmanager
def _database(name: str) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="airflow-b24-benchmark-") as folder:
        home = Path(folder)
        if name == "sqlite":
            path = home / "airflow.db"
            yield Database(name, f"sqlite:///{path}", home, (lambda seconds: _lock(path, seconds),) * 2)
            return
        with PostgreSqlServer() as server:
            in_order_and_as_in_a_crash = (
                lambda seconds: server.restart_after(seconds, "fast"),
                lambda seconds: server.restart_after(seconds, "immediate"),
            )
            yield Database(name, server.url, home, in_order_and_as_in_a_crash)


def _lock(path: Path, seconds: float) -> None:
    """Hold SQLite's lock for writing."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(seconds)
    connection.execute("ROLLBACK")
    connection.close()
