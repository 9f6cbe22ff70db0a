"""How records become a file: JSON lines, or Parquet where pyarrow is; in constant memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any, Protocol

_ROWS_AT_A_TIME = 10_000
_EXACT_FLOATS = 2**53


class Writer(Protocol):
    """Takes records, page by page."""

    def write(self, records: Sequence[Any]) -> None:
        """Take records."""

    def finish(self) -> None:
        """Complete the file; it stays open."""


class JsonLines:
    """One JSON value in a line, in UTF-8.

    :param file: what is written to.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, records: Sequence[Any]) -> None:
        """Take records."""
        try:
            data = _lines(records, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # Half a character. Only an escape can say it.
            data = _lines(records, ensure_ascii=True).encode()
        self._file.write(data)

    def finish(self) -> None:
        """Complete the file."""


class Parquet:
    """A table with a column for each field that any record has.

    Which fields there are and what they hold is known at the end only: until then the records are in a temporary file
    on this machine. A column holds booleans, integers or floats if all its values are such, and text otherwise: what is
    no text is JSON there.

    :param file: what is written to.
    :raises ImportError: when pyarrow is not installed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        import pyarrow  # noqa: F401 - nothing is to be read in vain

        self._file = file
        self._records = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this
        self._lines = JsonLines(self._records)
        self._kinds: dict[str, set[str]] = {}

    def write(self, records: Sequence[Any]) -> None:
        """Take records.

        :raises ValueError: when one is no mapping.
        """
        for record in records:
            if not isinstance(record, Mapping):
                raise ValueError(
                    f"Parquet needs records with fields, not {type(record).__name__}: take JSON lines"
                )
            for name, value in record.items():
                if value is not None:
                    self._kinds.setdefault(name, set()).add(_kind(value))
                else:
                    self._kinds.setdefault(name, set())
        self._lines.write(records)

    def finish(self) -> None:
        """Complete the file."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        types = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string()}
        columns = {name: _column(kinds) for name, kinds in self._kinds.items()}
        schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
        self._records.seek(0)
        records = map(json.loads, self._records)
        with ParquetWriter(self._file, schema) as table, self._records:
            for rows in iter(lambda: list(islice(records, _ROWS_AT_A_TIME)), []):
                values = [
                    pa.array(_values(rows, name, kind), type=types[kind]) for name, kind in columns.items()
                ]
                table.write_batch(pa.record_batch(values, schema=schema))


FORMATS: Mapping[str, Callable[[IO[bytes]], Writer]] = {"jsonl": JsonLines, "parquet": Parquet}


def _lines(records: Sequence[Any], *, ensure_ascii: bool) -> str:
    texts = (json.dumps(record, ensure_ascii=ensure_ascii, separators=(",", ":")) for record in records)
    return "".join(f"{text}\n" for text in texts)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if -_EXACT_FLOATS <= value <= _EXACT_FLOATS:
            return "int"
        return "large int" if -(2**63) <= value < 2**63 else "text"
    return "float" if isinstance(value, float) else "text"


def _column(kinds: set[str]) -> str:
    """Tell what a column holds, by what was seen of its values."""
    if kinds == {"bool"}:
        return "bool"
    if kinds and kinds <= {"int", "large int"}:
        return "int"
    return "float" if kinds and kinds <= {"int", "float"} else "text"


def _values(rows: Sequence[Mapping[str, Any]], name: str, kind: str) -> Iterator[Any]:
    for row in rows:
        value = row.get(name)
        if value is None or kind != "text":
            yield value
        elif isinstance(value, str):
            yield value.encode("utf-8", "replace").decode()
        else:
            yield json.dumps(value, separators=(",", ":"))
