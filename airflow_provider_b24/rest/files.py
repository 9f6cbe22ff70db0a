"""Files: as parameters of calls, and what a download is written to."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import IO, Protocol, Self, overload

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.rest.encoding import UnsendableValueError


class ReadablePath(Protocol):
    """What is needed of a path: ``pathlib.Path`` and Airflow's ``ObjectStoragePath`` have it."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    def read_bytes(self) -> bytes:
        """Read the file."""


class File(Sequence[str]):
    """A file as a parameter: what Bitrix24 takes for one, a list of its name and its content in Base64.

    Put it where a method takes such a list: ``{"fileContent": File(path)}``, ``{"fileData": File(data, "offer.pdf")}``,
    or several in a list. A method that takes the content alone gets ``File(path)[1]``.

    :param content: the bytes, or a path, which is read when the call is sent.
    :param name: the name of the file; that of the path if it is not given.
    :raises UnsendableValueError: when the content is neither, or has no name.

    Documentation: https://apidocs.bitrix24.com/api-reference/files/how-to-upload-files.html
    """

    def __init__(self, content: bytes | ReadablePath, name: str | None = None) -> None:
        if not isinstance(content, bytes) and not hasattr(content, "read_bytes"):
            raise UnsendableValueError(
                f"A file is made of bytes or of a path (pathlib.Path), not of {type(content).__name__}"
            )
        if name is None and not isinstance(content, bytes):
            name = content.name
        if not name:
            raise UnsendableValueError("A file needs a name")
        self._content = content
        self._name = name

    def __len__(self) -> int:
        return 2

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(2)[index]]
        if range(2)[index] == 0:
            return self._name
        content = self._content if isinstance(self._content, bytes) else self._content.read_bytes()
        return base64.b64encode(content).decode("ascii")

    def __repr__(self) -> str:
        content = f"{len(self._content)} bytes" if isinstance(self._content, bytes) else repr(self._content)
        return f"File({self._name!r}, {content})"


class PartFile:
    """A file that has another name until it is whole, and vanishes when it does not become so.

    :param path: what it is called then; what is there before is replaced.
    :param max_bytes: how many bytes it may have.
    """

    _file: IO[bytes]

    def __init__(self, path: str | os.PathLike[str], max_bytes: int | None = None) -> None:
        self._path = Path(path)
        # The beginning of the name: with the whole of it this one could be longer than a file system allows.
        self._part = self._path.with_name(f".{self._path.name[:40]}.{token_hex(8)}.part")
        self._max_bytes = max_bytes
        self.size = 0
        """Bytes that were written."""

    def __enter__(self) -> Self:
        self._file = self._part.open("xb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Write what has come.

        :raises Bitrix24Error: when it is more than there may be.
        """
        self.size += len(data)
        if self._max_bytes is not None and self.size > self._max_bytes:
            text = f"The file has more than {self._max_bytes:,} bytes; nothing of it was kept."
            raise Bitrix24Error("file_too_large", text, method="download")
        self._file.write(data)

    def restart(self) -> None:
        """Forget what was written."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
