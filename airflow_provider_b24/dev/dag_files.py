"""Whether DAG files have changed since someone looked."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_Snapshot = frozenset[tuple[str, int, int]]

AGAIN_SECONDS = 15.0
"""Between two tries to work on the same change."""


class DagFilesWatch:
    """Compares a DAG folder with what it was like when somebody was done with it last.

    :param folder: Airflow's own DAG folder by default.
    :param clock: seconds that only grow.
    """

    def __init__(self, folder: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        from airflow.providers.common.compat.sdk import conf

        self._folder = Path(folder or conf.get("core", "dags_folder"))
        self._clock = clock
        self._done = self._told = self._look()
        self._again_at = 0.0

    def have_changed(self) -> bool:
        """Tell whether there is a Python file that was added, changed or removed, to be worked on now.

        A change that is not :meth:`done` is told again after a while.
        """
        found, now = self._look(), self._clock()
        if found == self._done or (found == self._told and now < self._again_at):
            return False
        self._told, self._again_at = found, now + AGAIN_SECONDS
        return True

    def done(self) -> None:
        """Take the change that was told last for seen."""
        self._done = self._told

    def _look(self) -> _Snapshot:
        found = set()
        for file in self._folder.rglob("*.py"):
            with suppress(FileNotFoundError):  # an editor replaces files
                status = file.stat()
                found.add((str(file), status.st_mtime_ns, status.st_size))
        return frozenset(found)
