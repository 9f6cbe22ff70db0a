"""Whether DAG files have changed since someone looked."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_Snapshot = frozenset[tuple[str, int, int]]


class DagFilesWatch:
    """Compares a DAG folder with what it was like at the last look.

    :param folder: Airflow's own DAG folder by default.
    """

    def __init__(self, folder: str | None) -> None:
        from airflow.providers.common.compat.sdk import conf

        self._folder = Path(folder or conf.get("core", "dags_folder"))
        self._seen = self._look()

    def have_changed(self) -> bool:
        """Tell whether a Python file was added, changed or removed since the last time this was asked."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> _Snapshot:
        found = set()
        for file in self._folder.rglob("*.py"):
            with suppress(FileNotFoundError):  # an editor replaces files
                status = file.stat()
                found.add((str(file), status.st_mtime_ns, status.st_size))
        return frozenset(found)
