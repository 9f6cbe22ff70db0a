"""The ten property types: how each is written by Bitrix24, in a JSON schema, and in an answer."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

TypeName = Literal["bool", "date", "datetime", "double", "file", "int", "select", "string", "text", "user"]

_TRUTHS = {"Y": True, "1": True, "TRUE": True, "N": False, "0": False, "FALSE": False}
_INT = re.compile(r"[+-]?\d{1,4000}(?:\.0+)?")
_LEAST_INT, _GREATEST_INT = -(2**63), 2**63 - 1
_USER = re.compile(r"(?:user_)?0*([1-9]\d{0,17})")
_DATE = re.compile(
    r"""
    (?: (?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})       # ISO 8601
      | (?P<day2>\d{1,2})\.(?P<month2>\d{1,2})\.(?P<year2>\d{4})  # most portals
      | (?P<month3>\d{1,2})/(?P<day3>\d{1,2})/(?P<year3>\d{4})    # US portals
    )
    (?: [T\ ]
        (?P<hour>\d{1,2}):(?P<minute>\d{2}) (?: :(?P<second>\d{2}) (?:\.\d+)? )?
        (?: \ ?(?P<half>[ap]m) )?
        (?P<offset> Z | \ ?[+-]\d{2}:?\d{2} )?
    )?
    (?: \ \[(?P<seconds>-?\d{1,5})\] )?                           # a process value's own offset
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ValueType:
    """What one property type needs.

    :param schema: JSON schema of a value that must be there; gives the field of Airflow's trigger form.
    :param read: from a value as Bitrix24 posts it, or as Python code gives it, to the JSON-safe typed value.
    :param write: from the typed value to what Bitrix24 takes.
    """

    schema: Mapping[str, Any]
    read: Callable[[object], Any]
    write: Callable[[Any], Any]


def read_bool(raw: object) -> bool:
    """Read ``Y`` or ``N``; also ``1``/``0`` and ``true``/``false``, which some portal fields hold."""
    if isinstance(raw, bool):
        return raw
    truth = _TRUTHS.get(str(raw).strip().upper()) if isinstance(raw, (str, int)) else None
    if truth is None:
        raise ValueError(f"{raw!r} is neither Y nor N")
    return truth


def read_int(raw: object) -> int:
    """Read a whole number of at most 64 bits; ``12.00`` counts as one.

    A longer one would start a run, but Airflow's messages to its tasks do not carry it: not even the failure answer
    would be sent.
    """
    if isinstance(raw, float) and raw.is_integer():
        number = int(raw)
    elif isinstance(raw, int) and not isinstance(raw, bool):
        number = raw
    elif isinstance(raw, str) and _INT.fullmatch(raw.strip()):
        number = int(raw.strip().partition(".")[0])
    else:
        raise ValueError(f"{raw!r} is no whole number")
    if not _LEAST_INT <= number <= _GREATEST_INT:
        raise ValueError("the number has more than 64 bits")
    return number


def read_double(raw: object) -> float:
    """Read a finite number with a decimal point."""
    if isinstance(raw, (int, float, str)) and not isinstance(raw, bool) and "_" not in str(raw):
        try:
            number = float(raw)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise ValueError(f"{raw!r} is no number")


def read_text(raw: object) -> str:
    """Read any text; a number becomes its digits."""
    if isinstance(raw, (str, int, float)) and not isinstance(raw, bool):
        return str(raw)
    raise ValueError(f"{raw!r} is no text")


def read_user(raw: object) -> int:
    """Read the number of ``user_14``."""
    match = (
        _USER.fullmatch(str(raw).strip())
        if isinstance(raw, (str, int)) and not isinstance(raw, bool)
        else None
    )
    if match is None:
        raise ValueError(f"{raw!r} is no user such as 'user_14'")
    return int(match[1])


def read_date(raw: object) -> str:
    """Read a day as ``YYYY-MM-DD``, from any format that :func:`read_datetime` knows; a time of day is dropped."""
    return _read_moment(raw, "date").date().isoformat()


def read_datetime(raw: object) -> str:
    """Read a moment as ISO 8601 with offset.

    Known are ISO 8601 (``2026-12-25T10:00:00+03:00``), what the documentation shows of portal settings
    (``25.12.2026 10:00:00``, ``12/25/2026 10:00:00 am``: with slashes the month comes first), each with or
    without time, and with a process value's offset in seconds behind it (``… [10800]``). A time without offset is
    in Airflow's ``[core] default_timezone``.
    """
    return _read_moment(raw, "date and time").isoformat()


def _read_moment(raw: object, what: str) -> dt.datetime:
    match = _DATE.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if match is None:
        raise ValueError(f"{raw!r} is no {what} such as '2026-12-25T10:00:00+03:00' or '25.12.2026 10:00:00'")
    part = match.groupdict()
    try:
        moment = dt.datetime(  # noqa: DTZ001 - the offset comes next
            int(part["year"] or part["year2"] or part["year3"]),
            int(part["month"] or part["month2"] or part["month3"]),
            int(part["day"] or part["day2"] or part["day3"]),
            _hour(int(part["hour"] or 0), (part["half"] or "").lower()),
            int(part["minute"] or 0),
            int(part["second"] or 0),
        )
        return _with_offset(moment, part["offset"], part["seconds"])
    except ValueError as error:
        raise ValueError(f"{raw!r} is no {what}: {error}") from None


def _hour(hour: int, half: str) -> int:
    if not half:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError(f"there is no {hour} {half}")
    return hour % 12 + (12 if half == "pm" else 0)


def _with_offset(moment: dt.datetime, offset: str | None, seconds: str | None) -> dt.datetime:
    if offset:
        return moment.replace(
            tzinfo=dt.datetime.fromisoformat(f"2000-01-01T00:00:00{offset.strip().upper()}").tzinfo
        )
    if seconds:
        return moment.replace(tzinfo=dt.timezone(dt.timedelta(seconds=int(seconds))))
    from airflow.providers.common.compat.sdk import timezone  # type: ignore[attr-defined]

    aware: dt.datetime = timezone.parse(moment.isoformat())
    return aware


def _as_it_is(value: Any) -> Any:
    return value


def _write_bool(value: bool) -> str:
    return "Y" if value else "N"


def _write_user(value: int) -> str:
    return f"user_{value}"


_TEXT = ValueType({"type": "string"}, read_text, _as_it_is)

VALUE_TYPES: Mapping[TypeName, ValueType] = {
    "bool": ValueType({"type": "boolean"}, read_bool, _write_bool),
    "date": ValueType({"type": "string", "format": "date"}, read_date, _as_it_is),
    "datetime": ValueType({"type": "string", "format": "date-time"}, read_datetime, _as_it_is),
    "double": ValueType({"type": "number"}, read_double, _as_it_is),
    "file": _TEXT,
    "int": ValueType({"type": "integer"}, read_int, _as_it_is),
    "select": _TEXT,
    "string": _TEXT,
    "text": ValueType({"type": "string", "format": "multiline"}, read_text, _as_it_is),
    "user": ValueType({"type": "integer", "minimum": 1}, read_user, _write_user),
}
