"""What crosses from the triggerer to the worker: events that Airflow can carry, and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_b24 import exceptions
from airflow_provider_b24.exceptions import Bitrix24Error

LARGEST_EVENT = 4_000_000
"""Characters of JSON. Airflow puts an event into its database, and gives it to the task with all else it is told."""
_INTEGERS = range(-(2**63), 2**64)


def event_of(payload: Mapping[str, Any]) -> TriggerEvent:
    """Make the event of a trigger.

    What comes from a portal can hold what Airflow cannot carry from its triggerer: half a surrogate pair, or an
    integer of more than 64 bits. Airflow would end the triggerer over it, with all that waits there. What is too large
    becomes an error.

    :param payload: JSON values.
    """
    carried = portable(payload)
    if len(json.dumps(carried)) > LARGEST_EVENT:
        carried = error_event(too_large())
    return TriggerEvent(carried)


def too_large(method: str = "") -> Bitrix24Error:
    """Say that a result does not fit into an event."""
    text = (
        f"The result has more than {LARGEST_EVENT:,} characters, too many for what Airflow's triggerer reports. Ask "
        "for less (select, limit), or set deferrable=False."
    )
    return Bitrix24Error("too_large_for_an_event", text, method=method)


def portable(value: Any) -> Any:
    """Make a JSON value what Airflow can carry: text without lone surrogates, too large integers as text."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {portable(key): portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    if isinstance(value, int) and value not in _INTEGERS:
        return str(value)
    return value


def error_event(error: Bitrix24Error) -> dict[str, Any]:
    """Write an error as the payload of a trigger event."""
    return {
        "status": "error",
        "error_type": type(error).__name__,
        # Not what it was made with: of a batch that has failed each call has the error under its own name.
        "error_args": [error.code, error.description, error.status, error.method, error.portal],
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
