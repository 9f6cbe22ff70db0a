"""Values for REST 3.0, which takes JSON with its types: what is a number stays one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

from airflow_provider_b24.rest.encoding import MAX_DEPTH, UnsendableValueError, name_text, scalar_text


def typed(params: Mapping[str, Any]) -> dict[str, Any]:
    """Bring parameters into what JSON knows.

    ====================================  ==========================================
    value                                 arrives as
    ====================================  ==========================================
    ``str``, ``bool``, ``None``, ``int``  itself
    ``float``                             a number
    ``Decimal``                           the nearest number
    ``datetime`` (with time zone)         ISO 8601 with offset, to the second
    ``date``, ``time``, ``UUID``          ISO 8601; the usual text
    ``Enum``                              its value, by this table
    ``list``, ``tuple``, other sequences  an array
    mapping                               an object
    numpy scalars and the like            their ``item()``, by this table
    ====================================  ==========================================

    :raises UnsendableValueError: for everything else, with the name of the parameter and no value.
    """
    return {name_text(key, "the parameters"): _typed(value, str(key), 1) for key, value in params.items()}


def _typed(value: Any, path: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _typed(value.value, path, depth)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (float, Decimal)):
        if not math.isfinite(value):
            raise UnsendableValueError(f"{path}: {value} is not a number that can be sent")
        whole = isinstance(value, Decimal) and value == value.to_integral_value()
        return int(value) if whole else float(value)
    if isinstance(value, (Sequence, Mapping)) and not isinstance(value, (str, bytes, bytearray, memoryview)):
        if depth >= MAX_DEPTH:
            raise UnsendableValueError(f"{path}: nested deeper than {MAX_DEPTH} levels")
        if not isinstance(value, Mapping):
            return [_typed(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        return {
            name_text(key, path): _typed(item, f"{path}[{key}]", depth + 1) for key, item in value.items()
        }
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return _typed(item(), path, depth)
    return scalar_text(value, path)
