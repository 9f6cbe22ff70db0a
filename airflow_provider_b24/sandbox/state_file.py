"""A portal that survives its process: everything in it, in an SQLite file."""

from __future__ import annotations

import io
import os
import pickle
import sqlite3
import sys
import threading
import time
from contextlib import closing
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_b24 import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_b24.sandbox.core import PortalCore

#: Seconds from a change until it is written, at most.
INTERVAL = 2.0
# What a portal consists of, apart from its address, its options, and the requests it has answered.
_PARTS = (
    "member_id",
    "webhook",
    "application",
    "templates",
    "automations",
    "triggers._names",
    "triggers._rules",
    "last_template",
    "store._tables",
    "store._contacts",
    "callers._table",
    "callers.users",
    "callers.tokens",
    "callers.webhooks",
    "callers.applications",
    "callers._link_tokens",
    "robot_registry._robots",
    "disk._files",
    "disk._key",
    "kept_results._results",
    "task_list._tasks",
    "events._bindings",
    "events._queue",
    "events._last",
    "events._last_queued",
    "engine.processes",
    "engine._answers",
    "engine._deadlines",
    "engine._deadlines_set",
    "engine._tokens",
    "queue_server._calls",
    "queue_server._last",
)
_PACKAGE = "airflow_provider_b24.sandbox."
_OF_PYTHON = {("builtins", "set"), ("builtins", "frozenset"), ("collections", "OrderedDict")}
_LOST = "the portal ended before the handler answered"


class StateFile:
    """Where a portal is kept.

    :param file: made if it is missing; only its owner may read it, as tokens are in it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._written: object = None

    def load(self, portal: PortalCore) -> bool:
        """Fill a portal that does not serve yet; return whether there was anything to fill it with.

        :raises OSError: when the file cannot be used.
        :raises ValueError: when it is no such file, or one of another version.
        """
        os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            with closing(sqlite3.connect(self._file)) as database, database:
                database.execute("CREATE TABLE IF NOT EXISTS portal (version TEXT, ahead REAL, content BLOB)")
                row = database.execute("SELECT version, ahead, content FROM portal").fetchone()
        except sqlite3.Error as error:
            raise ValueError(f"{self._file} has no state of a sandbox portal in it: {error}") from None
        if row is None:
            return False
        version, ahead, content = row
        if version != __version__:
            raise ValueError(
                f"{self._file} was written by version {version}, this is {__version__}: delete it to begin anew"
            )
        try:
            parts = _Reader(content, portal).load()
        except (pickle.UnpicklingError, AttributeError, TypeError, ValueError, EOFError) as error:
            raise ValueError(f"{self._file} cannot be read: {error}. Delete it to begin anew") from None
        for name in _PARTS:
            owner, _, attribute = name.rpartition(".")
            setattr(attrgetter(owner)(portal) if owner else portal, attribute, parts[name])
        portal.clock.advance(max(0.0, ahead))
        portal.queue_server.give_up(_LOST)
        return True

    def save(self, portal: PortalCore) -> None:
        """Write the portal, if anything has changed; the file is whole at any time.

        :raises sqlite3.Error: when that cannot be done.
        """
        with portal.changed:
            mark = _mark(portal)
            if mark == self._written:
                return
            content = io.BytesIO()
            _Writer(content, portal).dump({name: attrgetter(name)(portal) for name in _PARTS})
            ahead = portal.clock.now() - time.time()
        with closing(sqlite3.connect(self._file, timeout=30)) as database, database:
            database.execute("DELETE FROM portal")
            database.execute("INSERT INTO portal VALUES (?, ?, ?)", (__version__, ahead, content.getvalue()))
        self._written = mark

    def keep(self, portal: PortalCore) -> None:
        """Write the portal whenever it has changed, until :meth:`close`."""

        def work() -> None:
            while not self._over.wait(INTERVAL):
                self._try_to_save(portal)

        self._thread = threading.Thread(target=work, name="bitrix24-sandbox-state", daemon=True)
        self._thread.start()

    def close(self, portal: PortalCore) -> None:
        """Write the portal for the last time."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        # What no mark shows, such as expired tokens, is written in any case.
        self._written = None
        self._try_to_save(portal)

    def _try_to_save(self, portal: PortalCore) -> None:
        # A full disk must not end the portal; it is tried again.
        try:
            self.save(portal)
        except sqlite3.Error as error:
            sys.stderr.write(f"The state of the portal was not written to {self._file}: {error}\n")


def _mark(portal: PortalCore) -> object:
    """Return something that is another when the portal has changed."""
    return (
        portal.journal.count,
        portal.queue_server.outcomes,
        round(portal.clock.now() - time.time(), 1),
        [portal.store.table(kind).changes for kind in portal.store.kinds()],
        [len(process.history) for process in portal.engine.processes.values()],
        [(task.status, task.user_id) for task in portal.task_list.all()],
    )


class _Writer(pickle.Pickler):
    def __init__(self, sink: io.BytesIO, portal: PortalCore) -> None:
        super().__init__(sink, pickle.HIGHEST_PROTOCOL)
        self._names = {id(thing): name for name, thing in _lasting(portal).items()}

    def persistent_id(self, thing: object) -> str | None:
        return self._names.get(id(thing))


class _Reader(pickle.Unpickler):
    """Reads what was written here, and makes no object of any other class than the portal's own."""

    def __init__(self, content: bytes, portal: PortalCore) -> None:
        super().__init__(io.BytesIO(content))
        self._things = _lasting(portal)

    def persistent_load(self, name: str) -> object:
        if name not in self._things:
            raise pickle.UnpicklingError(f"nothing is called {name}")
        return self._things[name]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _OF_PYTHON:
            return super().find_class(module, name)
        if module.startswith(_PACKAGE):
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is nothing that a portal consists of")


def _lasting(portal: PortalCore) -> dict[str, object]:
    """Return what every portal has of its own, and its parts refer to."""
    return {"clock": portal.clock, "changed": portal.changed}
