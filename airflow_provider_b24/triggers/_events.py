"""How an error crosses from the triggerer to the worker: one writer, one reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_b24 import exceptions
from airflow_provider_b24.exceptions import Bitrix24Error


def error_event(error: Bitrix24Error) -> dict[str, Any]:
    """Write an error as the payload of a trigger event."""
    return {
        "status": "error",
        "error_type": type(error).__name__,
        "error_args": list(error.args),
        "retryable": error.retryable,
        "ambiguous": error.ambiguous,
    }


def error_of(event: Mapping[str, Any]) -> Bitrix24Error | None:
    """Read the error that a trigger reported, ``None`` when it reported none.

    :raises ValueError: when the event is none that :func:`error_event` wrote.
    """
    if event.get("status") != "error":
        return None
    error_class = getattr(exceptions, str(event.get("error_type")), None)
    args = event.get("error_args")
    if not (
        isinstance(error_class, type) and issubclass(error_class, Bitrix24Error) and isinstance(args, list)
    ):
        raise ValueError(f"This trigger event reports an error of an unknown kind: {sorted(event)}")
    error = error_class(*args)
    error.retryable = bool(event.get("retryable"))
    error.ambiguous = bool(event.get("ambiguous", error.ambiguous))
    return error
