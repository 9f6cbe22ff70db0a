"""A folder that keeps authenticated robot calls while Airflow's database is away.

One file for each call, written to disk before the call is answered. Several processes of the API server share the
folder: each may write, one at a time reads. The files are encrypted with Airflow's Fernet key, because a call
holds its event token.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_b24.receiver import metrics
from airflow_provider_b24.receiver.database import is_away

log = logging.getLogger(__name__)

_WAITING = ".call"
_REFUSED = "refused"
_REPLAYED = "replayed"


class RefusedForGoodError(Exception):
    """A kept call can never be done. The text says why, without anything secret."""


class NotYetError(Exception):
    """A kept call cannot be done yet, for a reason of its own."""


@dataclass(frozen=True, slots=True)
class SpooledCall:
    """A call, as far as it was understood without the database.

    :param conn_id: the connection whose application token it carried.
    :param dag_id: the DAG it is for.
    :param run_id: the run it starts.
    :param fields: its form, without credentials.
    """

    conn_id: str
    dag_id: str
    run_id: str
    fields: Mapping[str, Any] = field(repr=False)


def default_folder() -> Path:
    """Where calls are kept: ``[bitrix24] spool_folder``, else ``bitrix24_spool`` in Airflow's home."""
    from airflow.configuration import AIRFLOW_HOME, conf

    return Path(conf.get("bitrix24", "spool_folder", fallback=None) or Path(AIRFLOW_HOME) / "bitrix24_spool")


@dataclass(frozen=True, slots=True)
class Spool:
    """Keeps calls in a folder and gives them back in the order in which they came.

    :param folder: made when the first call is kept.
    """

    folder: Path

    def keep(self, call: SpooledCall) -> bool:
        """Keep a call; when this returns, it survives a crash of the machine.

        :return: ``False`` when the same call is waiting already.
        :raises OSError: when the disk does not take it.
        """
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(self.folder.parent)
        name = hashlib.sha256(json.dumps([call.dag_id, call.run_id]).encode()).hexdigest()[:32]
        final = self.folder / f"{name}{_WAITING}"
        unfinished = self.folder / f"{name}.{os.getpid()}.{time.monotonic_ns()}.unfinished"
        try:
            with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(_encrypt(json.dumps(asdict(call)).encode()))
                file.flush()
                os.fsync(file.fileno())
            # A link, not a renaming: it fails when the file is there, whichever process made it.
            final.hardlink_to(unfinished)
        except FileExistsError:
            return False
        finally:
            unfinished.unlink(missing_ok=True)
        _sync_folder(self.folder)
        metrics.count_spooled()
        return True

    def depth(self) -> int:
        """Count the calls that wait."""
        return len(list(self.folder.glob(f"*{_WAITING}")))

    def refused(self) -> int:
        """Count the calls that can never be done, and wait for somebody who looks into it."""
        return len(list((self.folder / _REFUSED).glob(f"*{_WAITING}")))

    def replayed(self) -> int:
        """Count the calls that were done from here so far, by whichever process."""
        try:
            return int((self.folder / _REPLAYED).read_text())
        except (OSError, ValueError):
            return 0

    def replay(self, do: Callable[[SpooledCall], None]) -> int:
        """Do the waiting calls, the oldest first.

        Does nothing while another process is at it. A call that fails for another reason than the database waits on,
        and does not hold up the others.

        :param do: does a call, or raises :class:`RefusedForGoodError` or :class:`NotYetError`.
        :return: how many calls left the spool.
        :raises sqlalchemy.exc.SQLAlchemyError: when the database is away; the rest waits on.
        """
        gone = 0
        if not self.folder.is_dir():
            return gone
        with self._alone() as alone:
            for path in self._waiting() if alone else ():
                try:
                    do(_read(path))
                except RefusedForGoodError as error:
                    self._set_aside(path, error)
                except NotYetError:
                    continue
                except Exception as error:
                    if is_away(error):
                        raise
                    # Never the error's own text: it may quote the call.
                    log.error(
                        "A kept robot call failed and waits on (%s): %s", path.name, type(error).__name__
                    )
                    continue
                else:
                    path.unlink()
                    (self.folder / _REPLAYED).write_text(str(self.replayed() + 1))
                    metrics.count_replayed("done")
                gone += 1
        return gone

    def _set_aside(self, path: Path, error: RefusedForGoodError) -> None:
        aside = self.folder / _REFUSED
        aside.mkdir(mode=0o700, exist_ok=True)
        path.rename(aside / path.name)
        metrics.count_replayed("refused")
        log.error(
            "A robot call that was kept while the database was away cannot be done: %s It is kept in %s; its "
            "process may be waiting for an answer. To try it again, move it back to %s.",
            error,
            aside / path.name,
            self.folder,
        )

    def _waiting(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{_WAITING}"), key=lambda path: path.stat().st_mtime_ns)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        with (self.folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True


def _read(path: Path) -> SpooledCall:
    try:
        return SpooledCall(**json.loads(_decrypt(path.read_bytes())))
    except (ValueError, TypeError):
        raise RefusedForGoodError("the file cannot be read; was Airflow's Fernet key changed?") from None


def _encrypt(data: bytes) -> bytes:
    from airflow.models.crypto import get_fernet

    return get_fernet().encrypt(data)


def _decrypt(data: bytes) -> bytes:
    from airflow.models.crypto import get_fernet
    from cryptography.fernet import InvalidToken

    try:
        return get_fernet().decrypt(data)
    except InvalidToken:
        raise ValueError("wrong key") from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
