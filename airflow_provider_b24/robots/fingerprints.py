"""What was registered for a robot, remembered in the portal: it tells nobody, not even the application, later.

``bizproc.robot.list`` gives codes and nothing else. So each registration leaves a fingerprint, a short digest of each
field, in the application's own storage in the portal (``app.option.set``). It lies beside the robots, is the same
for every machine that registers robots, and ends with them when the application is removed. A registration that
another program changes afterwards is still taken for ours: the portal offers no way to notice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_b24.robots.definition import KINDS, Kind

Fingerprint = Mapping[str, str]
"""Field of a registration, such as ``NAME`` or ``PROPERTIES.model``, to the digest of its value."""

_ORDER = "order"
_GROUPS = ("PROPERTIES", "RETURN_PROPERTIES")
_PREFIX = "airflow_"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that is registered otherwise than it was.

    :param field: such as ``NAME`` or ``PROPERTIES.model``.
    :param how: what happens to it.
    :param value: what will be registered.
    """

    field: str
    how: Literal["added", "changed", "removed"]
    value: Any = None

    def __str__(self) -> str:
        return self.field if self.how == "changed" else f"{self.field} {self.how}"


def fingerprint(registration: Mapping[str, Any]) -> dict[str, str]:
    """Digest each field of a registration."""
    return {name: _digest(value) for name, value in _flat(registration).items()}


def changes(old: Fingerprint, registration: Mapping[str, Any]) -> tuple[Change, ...]:
    """Compare what was registered with what shall be, field by field."""
    new = _flat(registration)
    found = [
        Change(name, "changed" if name in old else "added", value)
        for name, value in new.items()
        if old.get(name) != _digest(value)
    ]
    found += [Change(name, "removed") for name in old if name not in new]
    others = [change for change in found if not change.field.endswith(f".{_ORDER}")]
    # The order of properties is worth a word of its own only if nothing else says that they changed.
    return tuple(others or found)


def option_name(kind: Kind, code: str) -> str:
    """Name the entry of a robot in the application's storage."""
    return f"{_PREFIX}{kind}:{code}"


def option_value(registration: Mapping[str, Any]) -> str:
    """Write a fingerprint as it is stored."""
    return json.dumps(fingerprint(registration), separators=(",", ":"))


def read_options(options: object) -> dict[tuple[Kind, str], Fingerprint]:
    """Pick the fingerprints from all that the application has stored.

    What cannot be read counts as not there: the robot is then registered once more.

    :param options: the result of ``app.option.get``.
    """
    found: dict[tuple[Kind, str], Fingerprint] = {}
    if not isinstance(options, Mapping):  # PHP's empty array
        return found
    for kind in KINDS:
        prefix = option_name(kind, "")
        for name, value in options.items():
            if isinstance(name, str) and name.startswith(prefix) and value:
                read = _read(value)
                if read:
                    found[kind, name.removeprefix(prefix)] = read
    return found


def _read(value: object) -> dict[str, str]:
    try:
        data = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    if not isinstance(data, Mapping):
        return {}
    return {str(name): digest for name, digest in data.items() if isinstance(digest, str)}


def _flat(registration: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in registration.items():
        if name == "CODE":
            continue
        if name in _GROUPS:
            flat |= {f"{name}.{key}": prop for key, prop in value.items()}
            if len(value) > 1:
                flat[f"{name}.{_ORDER}"] = list(value)
        else:
            flat[name] = value
    return flat


def _digest(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
