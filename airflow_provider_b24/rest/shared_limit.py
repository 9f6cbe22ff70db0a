"""Where processes keep the buckets of portals together: a folder of small files, or Redis.

A portal counts requests by their source address, whichever process sends them. The record of a bucket is read,
changed and written in one piece; what that needs is the operation of a store. Libraries that limit rates keep logs of
time stamps in files, know windows instead of a bucket, or have everybody ask again until there is room: none hands out
places in a queue, or can be told that the portal has refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")
Change = Callable[[str | None, float], tuple[str | None, _T]]
"""Is given the record, if there is one, and the time; gives the new record, ``None`` to leave it, and a result."""

LOCK_SECONDS = 0.5
"""How long to wait for another process, which needs some ten microseconds, unless it is put off or stopped."""
_LOCK_POLL = 0.0005
_RECORD_BYTES = 1024
_NOT_IN_FILE_NAMES = re.compile(r"[^a-z0-9.-]")


class SharedLimit(Protocol):
    """Keeps a record for each portal. Whatever it raises, the caller goes on without it."""

    is_remote: bool
    """Whether it talks to another machine, which an event loop must not wait for."""

    def update(self, portal: str, change: Change[_T]) -> _T:
        """Change a portal's record so that no other process comes in between.

        :param portal: the portal's host.
        """


class FolderLimit:
    """Keeps a file for each portal, for all processes of a host that use the same folder.

    A process that dies in the midst leaves no lock behind and no half of a record.

    :param folder: is made if it is not there. Without one, it is a folder of this user among the temporary files.
    :param clock: Unix time in seconds.
    """

    is_remote = False

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._given = folder is not None
        self.folder = Path(folder) if folder is not None else _folder_of_this_user()
        self._clock = clock
        self._usable = False

    def update(self, portal: str, change: Change[_T]) -> _T:
        """Change a portal's record.

        :raises OSError: when the file cannot be used.
        :raises TimeoutError: when another process holds it for too long.
        """
        import fcntl

        self._prepare()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(self.folder / _file_name(portal), flags, 0o600)
        try:
            give_up_at = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > give_up_at:
                        raise TimeoutError(f"another process holds the lock of {self.folder}") from None
                    time.sleep(_LOCK_POLL)
            text = os.pread(file, _RECORD_BYTES, 0).decode("ascii", "replace").strip()
            if not text and self._given:
                # Of several users, each may use it whom the folder is for.
                with suppress(PermissionError):
                    os.fchmod(file, self.folder.stat().st_mode & 0o666)
            new, result = change(text or None, self._clock())
            if new is not None:
                # One write of always the same length: nobody finds a part of it.
                os.pwrite(file, new.encode("ascii").ljust(_RECORD_BYTES), 0)
            return result
        finally:
            os.close(file)  # That opens the lock, too.

    def _prepare(self) -> None:
        if self._usable and self.folder.is_dir():
            return
        self.folder.mkdir(mode=0o777 if self._given else 0o700, parents=True, exist_ok=True)
        if not self._given:
            # Anyone may make a folder of that name among the temporary files.
            found = self.folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise PermissionError(f"{self.folder} belongs to someone else")
        self._usable = True


def _folder_of_this_user() -> Path:
    return Path(tempfile.gettempdir()) / f"airflow-b24-limits-{os.getuid()}"


def _file_name(portal: str) -> str:
    """Name a portal's file: with a digest, because a host may hold what file names may not."""
    readable = _NOT_IN_FILE_NAMES.sub("_", portal.lower())[:80]
    return f"{readable}-{hashlib.sha256(portal.lower().encode()).hexdigest()[:8]}"


class RedisLimit:
    """Keeps a key for each portal in Redis, for several hosts behind one address.

    The time is the server's: those of hosts differ. Needs the package ``redis``.

    :param url: ``redis://``, ``rediss://`` or ``unix://``, as the package takes it; it may hold a password.
    :raises ImportError: when the package is not installed.
    :raises ValueError: when the URL is none.
    """

    is_remote = True

    def __init__(self, url: str) -> None:
        import redis

        seconds = 0.25
        self._redis = redis.Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, decode_responses=True
        )
        self._conflict: type[Exception] = redis.WatchError

    def __repr__(self) -> str:
        return "RedisLimit()"

    def update(self, portal: str, change: Change[_T]) -> _T:
        """Change a portal's record.

        :raises redis.RedisError: when the server cannot be used.
        :raises TimeoutError: when other processes come in between again and again.
        """
        key = f"airflow-b24:limit:{portal.lower()}"
        for _ in range(50):
            with self._redis.pipeline() as pipeline:
                # The package's types do not know that what comes before MULTI is sent at once.
                transaction: Any = pipeline
                transaction.watch(key)
                text, (seconds, micros) = transaction.get(key), transaction.time()
                new, result = change(text, seconds + micros / 1e6)
                if new is None:
                    return result
                transaction.multi()
                transaction.set(key, new, ex=3600)
                try:
                    transaction.execute()
                except self._conflict:
                    continue
                return result
        raise TimeoutError("other processes change the record again and again")


def shared_limit(place: str) -> SharedLimit | None:
    """Read where processes keep the buckets together.

    :param place: a folder; ``redis://``, ``rediss://`` or ``unix://``; ``process`` for each process by itself; or an
        empty text for a folder of this user among the temporary files.
    :raises ValueError: when it is none of these. The message does not repeat it: it may hold a password.
    """
    place = place.strip()
    if place == "process":
        return None
    scheme, separator, _ = place.partition("://")
    if separator and scheme in ("redis", "rediss", "unix"):
        return RedisLimit(place)
    if separator or (place and not Path(place).is_absolute()):
        raise ValueError(
            "expected the whole path of a folder, an address that begins with redis://, rediss:// or unix://, "
            "or 'process'"
        )
    return FolderLimit(place or None)
