"""The one conversion table: what a DAG returns, as ``bizproc.event.send`` takes it."""

from __future__ import annotations

import ast
import datetime as dt
import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

PROPERTY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""A letter, then letters, digits and underscores: what Bitrix24 accepts as the name of a property."""

_SHOWN = 200


def parse_return_values(rendered: object) -> dict[str, Any]:
    """Read what the template field ``return_values`` was rendered to, see :func:`read_mapping`."""
    return read_mapping(rendered, "return_values")


def read_mapping(rendered: object, name: str) -> dict[str, Any]:
    """Read a mapping that a template field was rendered to.

    A mapping is taken as it is. A string is read as JSON, then as a Python literal: a Jinja template that pulls
    a dictionary from XCom renders to the latter. ``None`` and an empty string are an empty mapping; the text ``None``,
    which a template makes of an XCom that is not there, is none.

    :param rendered: the rendered field.
    :param name: what the field is called.
    :raises ValueError: when it is neither; the message shows what was read.
    """
    value = {} if _is_nothing(rendered) else _read(rendered, name)
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{name} must be a mapping of names to values, but this was read: {_shown(rendered)}"
        )
    return dict(value)


def read_list(rendered: object, name: str) -> list[Any]:
    """Read a list that a template field was rendered to, as :func:`read_mapping` does; results of mapped tasks are one.

    :raises ValueError: when it is none; the message shows what was read.
    """
    value = [] if _is_nothing(rendered) else _read(rendered, name)
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
        raise ValueError(f"{name} must be a list, but this was read: {_shown(rendered)}")
    return list(value)


def _is_nothing(rendered: object) -> bool:
    return rendered is None or (isinstance(rendered, str) and not rendered.strip())


def _read(rendered: object, name: str) -> object:
    if not isinstance(rendered, str):
        return rendered
    try:
        return read_text(rendered)
    except ValueError:
        raise ValueError(
            f"{name} is neither JSON nor a Python literal. This was read: {_shown(rendered)}"
        ) from None


def read_text(text: str) -> object:
    """Read JSON, or what a template makes of a Python value.

    :raises ValueError: when it is neither.
    """
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(text.strip())
        except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError):
            raise ValueError("neither JSON nor a Python literal") from None
    return value


def user_number(rendered: object, name: str) -> int:
    """Read who is meant: the number of a user, or a value of a robot's property of type ``user``.

    :raises ValueError: when it is neither.
    """
    text = str(rendered).strip().removeprefix("user_")
    if isinstance(rendered, bool) or not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"{name} is the number of a user, such as 14 or user_14, not {_shown(rendered)}.")
    return int(text)


def encode_return_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values to what the portal understands.

    ================================  =================================================
    Python                            Bitrix24
    ================================  =================================================
    ``bool``                          ``Y`` or ``N``
    ``datetime``                      ISO 8601 with offset (a naive one is taken as UTC)
    ``date``                          ``YYYY-MM-DD``
    ``int``, ``float``, ``Decimal``   a number; a ``Decimal`` no float can hold, as text
    numpy scalar                      as the Python value it holds
    ``str``                           as it is
    ``None``                          empty
    list, tuple, lazy XCom sequence   multiple value, each element by this table
    ================================  =================================================

    :param values: property name to value.
    :raises ValueError: for a bad property name, a nested mapping or list, or a value nobody could read;
        the message names the property.
    """
    encoded = {}
    for name, value in values.items():
        if not isinstance(name, str) or not PROPERTY_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot name a return property: Bitrix24 takes a letter, then letters, digits and _."
            )
        encoded[name] = _encode(value, name)
    return encoded


def _encode(value: object, name: str) -> object:
    value = _without_numpy(value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return [_encode_single(_without_numpy(element), name) for element in value]
    return _encode_single(value, name)


def _encode_single(value: object, name: str) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "Y" if value else "N"
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name}: {value} is not a number that Bitrix24 can store.")
        return value
    if isinstance(value, Decimal):
        return _encode_decimal(value, name)
    if isinstance(value, dt.datetime):
        import pendulum

        return pendulum.instance(value).to_atom_string()
    if isinstance(value, dt.date):
        return value.isoformat()
    raise ValueError(
        f"{name}: a {type(value).__name__} cannot be sent to Bitrix24. Return text, numbers, booleans, dates, "
        f"or a list of them; convert anything else first, for example with json.dumps. This was read: {_shown(value)}"
    )


def _encode_decimal(value: Decimal, name: str) -> int | float | str:
    if not value.is_finite():
        raise ValueError(f"{name}: {value} is not a number that Bitrix24 can store.")
    if value == value.to_integral_value():
        return int(value)
    as_float = float(value)
    return as_float if Decimal(repr(as_float)) == value else str(value)


def _without_numpy(value: Any) -> object:
    """Unwrap numpy's scalars and arrays without importing numpy."""
    if type(value).__module__.partition(".")[0] != "numpy":
        return value
    if value.dtype.kind == "M":  # nanoseconds would unwrap to a bare integer
        value = value.astype("datetime64[us]")
    unwrapped: object = value.tolist()
    return unwrapped


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def shown(values: Mapping[str, Any]) -> str:
    """Give an answer for the log: each name, and at most 200 characters of its value."""
    return ", ".join(f"{name}={_shown(value)}" for name, value in values.items()) or "no values"
