"""The steps a process is made of, and how they are written in JSON."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_REFERENCE = re.compile(r"\{=([A-Za-z0-9_]+):([A-Za-z0-9_]+)\}")

#: The statuses a task can be completed with, by its type: 1 yes, 2 no, 3 ok, 4 cancel.
TASK_STATUSES = {
    "ApproveActivity": {1, 2},
    "ReviewActivity": {3},
    "RequestInformationActivity": {3},
    "RequestInformationOptionalActivity": {3, 4},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an earlier step answered: `Answer("A1", "score")` is `{=A1:score}` as a value of its own type."""

    step: str
    field: str


@dataclass(frozen=True, slots=True)
class CallRobot:
    """Call a robot and, if it is subscribed to, wait for its answer.

    :param code: the robot's code.
    :param properties: its inputs; what is missing takes the declared default.
    :param timeout_duration: seconds to wait, 0 forever.
    :param use_subscription: `Y` waits, `N` does not; counts only if the robot's registration leaves the choice, and
        then `N` is what the designer begins with.
    :param name: the activity's name, under which its answer is found; `A1`, `A2` … by default.
    :param client_id: the robot's application; without it the first that registered the code.
    :param user_id: the user behind the call; `None` for nobody, and then it carries no tokens.
    """

    code: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    timeout_duration: int = 0
    use_subscription: str = "N"
    name: str | None = None
    client_id: str | None = None
    user_id: int | None = 1

    def __post_init__(self) -> None:
        if not isinstance(self.properties, Mapping):
            raise ValueError(f"The properties of {self.code} must be a mapping")
        if not isinstance(self.timeout_duration, int) or self.timeout_duration < 0:
            raise ValueError(f"{self.code} waits a whole number of seconds, 0 forever")


@dataclass(frozen=True, slots=True)
class CallActivity(CallRobot):
    """The same for a workflow activity."""


@dataclass(frozen=True, slots=True)
class SetField:
    """Write a field of the document: a plain value, an :class:`Answer`, or text with `{=A1:score}` in it."""

    field: str
    value: Any


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Give someone a task and wait until it is done.

    :param activity: `ApproveActivity`, `ReviewActivity`, `RequestInformationActivity` or
        `RequestInformationOptionalActivity`.
    :param fields: descriptions of the requested fields, each with `Id`, `Type`, `Name` and so on.
    """

    user_id: int
    title: str = "Please decide"
    description: str = ""
    activity: str = "ApproveActivity"
    fields: Sequence[Mapping[str, Any]] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        if self.activity not in TASK_STATUSES:
            raise ValueError(f"No task type {self.activity!r}: choose one of {', '.join(TASK_STATUSES)}")


@dataclass(frozen=True, slots=True)
class Finish:
    """End the process here, whatever follows."""


Step = CallRobot | CallActivity | SetField | AskPerson | Finish
#: Looks up `{=Source:field}`; `None` where there is no such thing.
Lookup = Callable[[str, str], Any]

_BY_TYPE: dict[str, type[Step]] = {
    "call_robot": CallRobot,
    "call_activity": CallActivity,
    "set_field": SetField,
    "ask_person": AskPerson,
    "finish": Finish,
}


def resolve(value: Any, lookup: Lookup) -> Any:
    """Replace references inside a value by what they stand for."""
    if isinstance(value, Answer):
        return lookup(value.step, value.field)
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value)
        if whole:
            return lookup(whole[1], whole[2])
        return _REFERENCE.sub(lambda match: _text(lookup(match[1], match[2])), value)
    if isinstance(value, Mapping):
        return {key: resolve(item, lookup) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(item, lookup) for item in value]
    return value


def steps_from_json(items: object) -> list[Step]:
    """Read steps such as `{"type": "call_robot", "code": "score"}`.

    :raises ValueError: naming the step that cannot be read.
    """
    if not isinstance(items, list) or not items:
        raise ValueError("steps must be a list with at least one step")
    return [_step(number, item) for number, item in enumerate(items, 1)]


def _step(number: int, item: object) -> Step:
    if not isinstance(item, Mapping) or item.get("type") not in _BY_TYPE:
        raise ValueError(f"step {number} must be an object with a type out of {', '.join(_BY_TYPE)}")
    kind = _BY_TYPE[item["type"]]
    given = {name: value for name, value in item.items() if name != "type"}
    declared = dataclasses.fields(kind)
    unknown = given.keys() - {entry.name for entry in declared}
    missing = {
        entry.name
        for entry in declared
        if entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    } - given.keys()
    if unknown or missing:
        raise ValueError(f"step {number} ({item['type']}): {_complain(unknown, missing)}")
    try:
        return kind(**given)
    except ValueError as error:
        raise ValueError(f"step {number} ({item['type']}): {error}") from None


def _complain(unknown: Iterable[str], missing: Iterable[str]) -> str:
    parts = [f"no field {name}" for name in sorted(unknown)] + [
        f"{name} is missing" for name in sorted(missing)
    ]
    return ", ".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return "" if value is None else str(value)
