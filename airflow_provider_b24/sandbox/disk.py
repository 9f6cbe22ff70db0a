"""The portal's Drive, with one folder, and links that files are downloaded by."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

ROOT = 1


@dataclass(frozen=True, slots=True)
class Content:
    """A file as the answer to a request.

    :param elsewhere: where it is instead: the request is redirected there.
    """

    name: str
    data: bytes = field(repr=False)
    elsewhere: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on the Drive."""

    id: int
    name: str
    data: bytes = field(repr=False)
    created_by: int
    created: float


class Disk:
    """The files of a portal."""

    def __init__(self) -> None:
        self._files: dict[int, StoredFile] = {}
        self._key = secrets.token_bytes(32)
        #: Where downloads are redirected to, as portals do that keep files at another host; a number is appended.
        self.elsewhere: str | None = None

    @property
    def files(self) -> list[StoredFile]:
        """Every file, in order."""
        return list(self._files.values())

    def add(self, name: str, data: bytes, user_id: int, now: float) -> StoredFile:
        """Store a file."""
        number = len(self._files) + ROOT + 1
        file = self._files[number] = StoredFile(number, name, data, user_id, now)
        return file

    def get(self, number: int) -> StoredFile | None:
        """Return a file by its number."""
        return self._files.get(number)

    def token(self, file: StoredFile) -> str:
        """Return what opens a file to whoever has its link."""
        signature = hmac.digest(self._key, str(file.id).encode(), hashlib.sha256).hex()
        return f"disk|{file.id}|{signature}"

    def by_token(self, token: str) -> Content | None:
        """Return the file that a token opens, `None` for a wrong one."""
        _, _, rest = token.partition("|")
        number = rest.partition("|")[0]
        file = self._files.get(int(number)) if number.isdecimal() else None
        if file is None or not hmac.compare_digest(self.token(file).encode(), token.encode()):
            return None
        return Content(file.name, file.data, f"{self.elsewhere}{file.id}" if self.elsewhere else None)
