"""What calls of a batch that refer to each other need: references are found, and results put in their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_provider_b24.rest.encoding import MAX_DEPTH, RESULT_REFERENCE, Ref, Reference


def walk(value: Any, change: Callable[[Any], Any], depth: int = 0) -> Any:
    """Make a copy of nested lists and mappings with changes in it.

    :param change: gives what comes in the place of a value, or the value itself to look inside.
    """
    changed = change(value)
    if changed is not value or depth > MAX_DEPTH:
        return changed
    if isinstance(value, Mapping):
        return {name: walk(item, change, depth + 1) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview)):
        return [walk(item, change, depth + 1) for item in value]
    return value


def replaced(params: Mapping[str, Any], put: Callable[[Ref], Any]) -> dict[str, Any]:
    """Give parameters with something in the place of each reference."""
    made: dict[str, Any] = walk(params, lambda value: put(value) if isinstance(value, Ref) else value)
    return made


def refs_in(params: Mapping[str, Any]) -> list[Ref]:
    """Find the references in parameters."""
    found: list[Ref] = []
    replaced(params, found.append)
    return found


def part_of(result: Any, ref: Ref) -> Any:
    """Give the part of a result that a reference means.

    :raises LookupError: when the result has no such part.
    """
    for step in ref.path:
        if isinstance(result, list) and step.isdecimal():
            result = result[int(step)]
        elif isinstance(result, Mapping):
            result = result[step]
        else:
            raise LookupError(step)
    return result


def on_the_wire(ref: Ref, place: int) -> Reference:
    """Write a reference for the portal.

    :param place: where in the request the call stands that is meant.
    """
    return Reference(f"{RESULT_REFERENCE}c{place}]" + "".join(f"[{step}]" for step in ref.path))
