"""What an example names: numbers, and fields of the records that its filter finds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.method import MethodCall

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import SandboxPortal

Params = Mapping[str, Any]
_OPERATOR = re.compile("^[!=<>%@]*")


def named(value: Any) -> Iterator[tuple[str, Any]]:
    """Return all names in parameters, in capitals and without the signs of filters, with what they are."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield _OPERATOR.sub("", str(name).upper()), item
            yield from named(item)


def number_of(upper: Params, name: str = "ID") -> int:
    """Return a number among parameters, 0 without one."""
    value = str(upper.get(name, ""))
    return int(value) if value.isdecimal() else 0


def found_by(upper: Params) -> dict[str, Any]:
    """Return fields of a record that passes the filter, as far as that is easily said."""
    given = upper.get("FILTER")
    if isinstance(given, list):
        # Of REST 3.0: the field, the sign unless it is `=`, the value.
        given = {f"{''.join(signs)}{name}": value for name, *signs, value in given}
    fields: dict[str, Any] = {}
    for key, value in given.items() if isinstance(given, Mapping) else ():
        if isinstance(value, Mapping):
            fields = found_by({"FILTER": value}) | fields
            continue
        if key.startswith("!=") and value == "":
            # Whatever it is: not nothing.
            fields.setdefault(key[2:], "text")
        if key.startswith("!") or key.lower() == "logic":
            continue
        name = key.lstrip("=<>%@")
        sign = key.removesuffix(name)
        chosen = value[0] if isinstance(value, list) and value else value
        if sign[:1] in ("<", ">") and chosen in ("text", ""):
            # A date that the example computes.
            continue
        if sign == ">":
            # Later, where it is a date.
            chosen = int(chosen) + 1 if str(chosen).isdecimal() else f"2099{chosen[4:]}"
        if "%" in sign or name not in fields or fields[name] == "text":
            fields[name] = chosen
    return fields


def add_record(portal: SandboxPortal, kind: str, record: Mapping[str, Any]) -> None:
    """Put a record into a portal, unless there is one of its number."""
    if record.get("ID") not in portal.records(kind):
        portal.add_records(kind, [record])


def run(portal: SandboxPortal, method: str, params: Params) -> Any:
    """Let the application call a method."""
    caller = portal.callers.by_token(portal.application.access_token)
    return portal.methods[method.lower()].run(MethodCall(portal, caller, method.lower(), params))
