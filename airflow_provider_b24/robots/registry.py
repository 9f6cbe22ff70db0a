"""Bring the robots of a portal in line with those of a DAG folder: :func:`make_plan` and :func:`apply`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.robots.definition import KINDS, Kind
from airflow_provider_b24.robots.dev_prefix import DevPrefix, is_dev_code
from airflow_provider_b24.robots.fingerprints import (
    Change,
    Fingerprint,
    changes,
    option_name,
    option_value,
    read_options,
)

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_b24.robots.dags_folder import DagsFolder, DeclaredRobot
    from airflow_provider_b24.robots.definition import RobotDefinition

Action = Literal["add", "update", "delete", "unchanged"]

_NOT_OURS = "registered, but not by `airflow-b24 robots apply`"
_GONE = "was registered, but is gone from the portal"


class RegistryError(Exception):
    """The robots of a portal cannot be compared or changed; says what to do."""


@dataclass(frozen=True, slots=True)
class RegisteredRobot:
    """A robot as the portal has it.

    :param fingerprint: what was registered; ``None`` when another program did it.
    """

    kind: Kind
    code: str
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done about one robot.

    :param note: what is strange about it: changed behind our back.
    :param registration: what will be registered; empty for a robot to be deleted.
    :param cleared: fields that were registered and shall be empty.
    """

    action: Action
    kind: Kind
    code: str
    dag_id: str | None = None
    file: str | None = None
    changes: tuple[Change, ...] = ()
    note: str | None = None
    registration: Mapping[str, Any] = field(default_factory=dict)
    cleared: tuple[str, ...] = ()

    def call(self) -> tuple[str, dict[str, Any]]:
        """Give the REST call that does it."""
        if self.action == "delete":
            return f"bizproc.{self.kind}.delete", {"CODE": self.code}
        filled = {name: value for name, value in self.registration.items() if value != {}}
        if self.action == "add":
            return f"bizproc.{self.kind}.add", filled
        # Properties must stay an array, though a call with an empty one cannot share a request with others.
        empty: dict[str, Any] = {name: [] if name.endswith("PROPERTIES") else "" for name in self.cleared}
        fields = empty | {name: filled[name] for name in filled if name != "CODE"}
        return f"bizproc.{self.kind}.update", {"CODE": self.code, "FIELDS": fields}

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-safe form."""
        return {
            "action": self.action,
            "kind": self.kind,
            "code": self.code,
            "dag_id": self.dag_id,
            "file": self.file,
            "changes": [
                {"field": change.field, "change": change.how, "value": change.value}
                for change in self.changes
            ],
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change in a portal.

    :param conn_id: the Airflow connection.
    :param steps: one for each robot that the DAG folder or the portal has.
    :param broken: DAG files that could not be parsed. Nothing is deleted then: the robot may be in there.
    """

    conn_id: str
    steps: tuple[Step, ...]
    broken: Mapping[str, str] = field(default_factory=dict)

    def of(self, *actions: Action) -> tuple[Step, ...]:
        """List the steps of certain actions."""
        return tuple(step for step in self.steps if step.action in actions)

    @property
    def changes_something(self) -> bool:
        """Whether the portal differs from the DAG folder."""
        return any(step.action != "unchanged" for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-safe form."""
        return {
            "connection": self.conn_id,
            "robots": [step.to_json() for step in self.steps],
            "broken_files": dict(self.broken),
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step.

    :param error: why it was not done, ``None`` when it was.
    """

    step: Step
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-safe form."""
        return {**self.step.to_json(), "done": self.error is None, "error": self.error}


def registered_robots(hook: Bitrix24Hook) -> list[RegisteredRobot]:
    """Ask the portal for the robots and activities of this application; one request.

    :raises RegistryError: when the connection is no application, or the portal refuses.

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-robot-list.html
    """
    return _portal_state(hook)[0]


def make_plan(hook: Bitrix24Hook, folder: DagsFolder, prefix: DevPrefix | None = None) -> Plan:
    """Compare a DAG folder with a portal; one request.

    What `airflow-b24 dev` has registered is left alone, except for what it has under the given prefix.

    :param hook: the portal; an OAuth application, whose user is an administrator.
    :param folder: the declared robots; those of other connections are left out.
    :param prefix: register them under this prefix, beside those without.
    :raises RobotDefinitionError: when two DAGs declare the same code.
    :raises RegistryError: when the portal cannot be asked.
    """
    declared = folder.of_connection(hook.bitrix24_conn_id)
    registered, remembered = _portal_state(hook)
    present = {
        (robot.kind, robot.code): robot
        for robot in registered
        if (not is_dev_code(robot.code) if prefix is None else prefix.owns(robot.code))
    }
    steps = []
    for robot in declared:
        definition = robot.definition if prefix is None else prefix.applied(robot.definition)
        key = (definition.kind, definition.code)
        steps.append(_step(robot, definition, prefix, present.pop(key, None), remembered.get(key)))
    steps += [
        Step("delete", kind, code, note=None if robot.fingerprint else _NOT_OURS)
        for (kind, code), robot in present.items()
    ]
    return Plan(hook.bitrix24_conn_id, tuple(steps), folder.broken)


def apply(hook: Bitrix24Hook, steps: Iterable[Step]) -> list[Outcome]:
    """Do some steps of a plan, in batches; a step that fails does not keep the others from being done.

    :param steps: steps to do; those with nothing to do are passed over.
    :return: what became of each, deletions first: a code that moves from one kind to the other must be free.

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-robot-add.html
    """
    todo = [step for step in steps if step.action != "unchanged"]
    outcomes: list[Outcome] = []
    for part in (
        [step for step in todo if step.action == "delete"],
        [step for step in todo if step.action != "delete"],
    ):
        if part:
            replies = hook.batch([step.call() for step in part])
            outcomes += [
                Outcome(step, str(reply) if isinstance(reply, Bitrix24Error) else None)
                for step, reply in zip(part, replies, strict=True)
            ]
    return _remember(hook, outcomes)


def _remember(hook: Bitrix24Hook, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Store the fingerprints of what was done."""
    done = [outcome.step for outcome in outcomes if outcome.error is None]
    if not done:
        return list(outcomes)
    options = {
        option_name(step.kind, step.code): option_value(step.registration) if step.registration else ""
        for step in done
    }
    try:
        hook.call("app.option.set", {"options": options})
    except Bitrix24Error as error:
        why = f"done, but the portal did not keep its fingerprint; the next apply does it again: {error}"
        return [Outcome(one.step, one.error or why) for one in outcomes]
    return list(outcomes)


def _step(
    robot: DeclaredRobot,
    definition: RobotDefinition,
    prefix: DevPrefix | None,
    registered: RegisteredRobot | None,
    remembered: Fingerprint | None,
) -> Step:
    from airflow_provider_b24.hooks.addresses import robot_handler_url

    word = None if prefix is None else prefix.word
    handler = robot_handler_url(definition.bitrix24_conn_id, robot.dag_id, word)
    registration = definition.to_registration(handler)
    about: dict[str, Any] = {
        "kind": definition.kind,
        "code": definition.code,
        "dag_id": robot.dag_id,
        "file": robot.file,
        "registration": registration,
    }
    if registered is None:
        return Step("add", **about, changes=changes({}, registration), note=_GONE if remembered else None)
    if registered.fingerprint is None:
        cleared = tuple(name for name in _CLEARABLE if not registration.get(name))
        return Step("update", **about, changes=changes({}, registration), note=_NOT_OURS, cleared=cleared)
    found = changes(registered.fingerprint, registration)
    had = {name.partition(".")[0] for name in registered.fingerprint}
    cleared = tuple(name for name in _CLEARABLE if name in had and not registration.get(name))
    return Step("update" if found else "unchanged", **about, changes=found, cleared=cleared)


_CLEARABLE = (
    "DESCRIPTION",
    "AUTH_USER_ID",
    "PROPERTIES",
    "RETURN_PROPERTIES",
    "DOCUMENT_TYPE",
    "FILTER",
    "PLACEMENT_HANDLER",
)


def _portal_state(hook: Bitrix24Hook) -> tuple[list[RegisteredRobot], dict[tuple[Kind, str], Fingerprint]]:
    if hook.connection.kind == "webhook":
        raise RegistryError(
            f"The connection {hook.bitrix24_conn_id!r} is an incoming webhook. Bitrix24 lets only applications "
            "register robots: use a connection with client_id and client_secret of an OAuth application."
        )
    calls: list[tuple[str, Mapping[str, Any]]] = [(f"bizproc.{kind}.list", {}) for kind in KINDS]
    *lists, options = hook.batch([*calls, ("app.option.get", {})])
    for reply in (*lists, options):
        if isinstance(reply, Bitrix24Error):
            raise RegistryError(
                f"The portal does not tell which robots there are. {reply}. The user who granted the tokens of "
                f"{hook.bitrix24_conn_id!r} must be an administrator, and the application needs the scope bizproc."
            ) from reply
    remembered = read_options(options.result if not isinstance(options, Bitrix24Error) else None)
    robots = []
    for kind, reply in zip(KINDS, lists, strict=True):
        codes = [] if isinstance(reply, Bitrix24Error) else reply.result or []
        robots += [RegisteredRobot(kind, str(code), remembered.get((kind, str(code)))) for code in codes]
    return robots, remembered
