"""A folder that keeps calls while Airflow's database does not take them.

One file for each call, named by the call's id, on disk before the call is answered, and encrypted with Airflow's
Fernet key. Any process may bring a file into the table: the same call is one row, however often it comes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_provider_b24._airflow.home import airflow_home
from airflow_provider_b24.calls.intake import is_about_a_row
from airflow_provider_b24.calls.new_call import NewCall, UnreadablePayloadError

log = logging.getLogger(__name__)

_WAITING = ".call"
_UNREADABLE = ".unreadable"
_AT_ONCE = 200
_naming = threading.Lock()
_SECONDS_BETWEEN_COMPLAINTS = 3600.0
_WAITS = "; it is tried again, and its process may be waiting for an answer"


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
    _complained_at: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def keep(self, call: NewCall) -> bool:
        """Keep a call; when this returns, it survives a crash of the machine.

        :return: ``False`` when the same call is waiting already; two processes that keep it at once may both be first.
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
            with _naming:
                is_new = not final.exists()
                # Over a file of the same call, if somebody made one meanwhile: they say the same.
                unfinished.replace(final)
        finally:
            unfinished.unlink(missing_ok=True)
        _sync_folder(self.folder)
        return is_new

    def depth(self) -> int:
        """Count the calls that wait."""
        return sum(1 for _ in self._files(_WAITING))

    def unreadable(self) -> int:
        """Count the files that could not be read, and wait for someone who looks into it."""
        return sum(1 for _ in self._files(_UNREADABLE))

    def drain(self, take: Callable[[Sequence[NewCall]], object]) -> int:
        """Hand over the calls that wait, the oldest first, and forget them.

        :param take: puts calls on record, all or none. Those that it refuses stay here, and so do all when it raises
            something that is not about one of them.
        :return: how many have gone.
        """
        gone = 0
        files = sorted(self._files(_WAITING), key=_age)
        for start in range(0, len(files), _AT_ONCE):
            read = [(path, call) for path in files[start : start + _AT_ONCE] if (call := self._read(path))]
            gone += self._hand_over(read, take)
        return gone

    def _hand_over(
        self, read: Sequence[tuple[Path, NewCall]], take: Callable[[Sequence[NewCall]], object]
    ) -> int:
        if not read:
            return 0
        try:
            take([call for _, call in read])
        except Exception as error:
            if not is_about_a_row(error):
                raise
            if len(read) == 1:
                self._complain(read[0][0], f"the database does not take it ({type(error).__name__}){_WAITS}")
                return 0
            # One of them spoils the transaction of all.
            middle = len(read) // 2
            return self._hand_over(read[:middle], take) + self._hand_over(read[middle:], take)
        return sum(self._forget(path) for path, _ in read)

    def _forget(self, path: Path) -> bool:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._complain(path, f"it is on record, and cannot be deleted ({error.strerror})")
            return False
        return True

    def _read(self, path: Path) -> NewCall | None:
        try:
            try:
                return NewCall.from_payload(path.read_text(), path.stat().st_mtime)
            except (UnreadablePayloadError, UnicodeDecodeError) as error:
                _set_aside(path, "it is no text" if isinstance(error, UnicodeDecodeError) else str(error))
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            self._complain(path, f"it cannot be read ({error.strerror}){_WAITS}")
        return None

    def _complain(self, path: Path, what: str) -> None:
        """Log what is wrong with a file that is looked at again and again, once an hour."""
        now = time.monotonic()
        if now - self._complained_at.get(path.name, float("-inf")) < _SECONDS_BETWEEN_COMPLAINTS:
            return
        self._complained_at[path.name] = now
        log.error("A robot call stays in the spool, %s: %s.", path, what)

    def _files(self, suffix: str) -> Iterator[Path]:
        try:
            with os.scandir(self.folder) as entries:
                yield from (Path(entry.path) for entry in entries if entry.name.endswith(suffix))
        except FileNotFoundError:
            return


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _set_aside(path: Path, why: str) -> None:
    aside = path.with_suffix(_UNREADABLE)
    path.replace(aside)
    log.error(
        "A robot call that was kept while the database was away cannot be read: %s. Its process may be "
        "waiting for an answer. It is kept in %s; to try it again, name it %s.",
        why,
        aside,
        path.name,
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
