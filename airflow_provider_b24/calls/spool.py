"""A folder that keeps calls while Airflow's database does not take them.

One file for each call, named by the call's id, on disk before the call is answered, and encrypted with Airflow's
Fernet key. Any process may bring a file into the table: the same call is one row, however often it comes.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_b24._airflow.home import airflow_home
from airflow_provider_b24.calls.new_call import NewCall, UnreadablePayloadError

log = logging.getLogger(__name__)

_WAITING = ".call"
_UNREADABLE = ".unreadable"
_AT_ONCE = 200


def default_folder() -> Path:
    """Where calls are kept: ``[bitrix24] spool_folder``, else ``bitrix24_spool`` in Airflow's home."""
    from airflow.configuration import conf

    return Path(conf.get("bitrix24", "spool_folder", fallback=None) or airflow_home() / "bitrix24_spool")


@dataclass(frozen=True, slots=True)
class Spool:
    """Keeps calls in a folder, and gives them back.

    :param folder: made when the first call is kept.
    """

    folder: Path

    def keep(self, call: NewCall) -> bool:
        """Keep a call; when this returns, it survives a crash of the machine.

        :return: ``False`` when the same call is waiting already.
        :raises OSError: when the disk does not take it.
        """
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(self.folder.parent)
        final = self.folder / f"{call.id}{_WAITING}"
        if final.exists():
            return False
        unfinished = self.folder / f"{call.id}.{os.getpid()}.{time.monotonic_ns()}.unfinished"
        try:
            with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(call.to_payload())
                file.flush()
                os.fsync(file.fileno())
            # Over a file of the same call, if another process made one meanwhile: they say the same.
            unfinished.replace(final)
        finally:
            unfinished.unlink(missing_ok=True)
        _sync_folder(self.folder)
        return True

    def depth(self) -> int:
        """Count the calls that wait."""
        return sum(1 for _ in self._files(_WAITING))

    def unreadable(self) -> int:
        """Count the files that could not be read, and wait for someone who looks into it."""
        return sum(1 for _ in self._files(_UNREADABLE))

    def drain(self, take: Callable[[Sequence[NewCall]], object]) -> int:
        """Hand over the calls that wait, the oldest first, and forget them.

        :param take: puts calls on record; what it raises leaves them here.
        :return: how many have gone.
        """
        gone = 0
        files = sorted(self._files(_WAITING), key=_age)
        for start in range(0, len(files), _AT_ONCE):
            read = [(path, call) for path in files[start : start + _AT_ONCE] if (call := self._read(path))]
            take([call for _, call in read])
            for path, _ in read:
                path.unlink(missing_ok=True)
            gone += len(read)
        return gone

    def _read(self, path: Path) -> NewCall | None:
        try:
            return NewCall.from_payload(path.read_text(), path.stat().st_mtime)
        except FileNotFoundError:
            return None  # another process was faster
        except (UnreadablePayloadError, UnicodeDecodeError) as error:
            aside = path.with_suffix(_UNREADABLE)
            path.replace(aside)
            log.error(
                "A robot call that was kept while the database was away cannot be read: %s. Its process may be "
                "waiting for an answer. It is kept in %s; to try it again, name it %s.",
                "it is no text" if isinstance(error, UnicodeDecodeError) else error,
                aside,
                path.name,
            )
            return None

    def _files(self, suffix: str) -> Iterator[Path]:
        try:
            with os.scandir(self.folder) as entries:
                yield from (Path(entry.path) for entry in entries if entry.name.endswith(suffix))
        except FileNotFoundError:
            return


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
