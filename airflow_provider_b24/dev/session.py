"""Robots under a prefix of one's own: registered, and removed again, whatever happens in between.

Beside them, the portal keeps whose they are (``app.option.set``): two people who choose the same prefix must not take
each other's robots, and what a crash leaves must be found by the next start.
"""

from __future__ import annotations

import getpass
import json
import re
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.robots.dags_folder import read_dags_folder
from airflow_provider_b24.robots.dev_prefix import DevPrefix
from airflow_provider_b24.robots.registry import (
    Outcome,
    Plan,
    RegisteredRobot,
    Step,
    apply,
    make_plan,
    registered_robots,
)

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_b24.robots.dags_folder import DeclaredRobot

_OPTION = "airflow_dev:"


class PrefixTakenError(Exception):
    """Someone else has robots under this prefix; says who, and what to do."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the robots of the DAG folder.

    :param robots: as the DAG files declare them.
    :param outcomes: what was done, and what could not be.
    """

    robots: Sequence[DeclaredRobot]
    plan: Plan
    outcomes: Sequence[Outcome]


@dataclass(slots=True)
class DevSession:
    """The robots of this machine at one portal.

    :param hook: the portal.
    :param prefix: what they are registered under.
    """

    hook: Bitrix24Hook
    prefix: DevPrefix
    _id: str = field(default_factory=lambda: secrets.token_hex(8), init=False)

    def take(self) -> None:
        """Take the prefix; what an earlier session of this machine has left under it is this one's now.

        :raises PrefixTakenError: when it is someone else's.
        :raises Bitrix24Error: when the portal does not say.
        :raises RegistryError: when the connection is no application, or the portal cannot be asked.
        """
        self._check_owner()
        self._note({"owner": _owner(), "session": self._id})
        self._check_session()

    def apply(self, dags_folder: str | None) -> Applied:
        """Register the robots of a DAG folder as they are now, and remove those that are gone from it.

        :raises PrefixTakenError: when another session has the prefix by now, and this one has to end.
        :raises Bitrix24Error: when the portal does not say.
        :raises RegistryError: when the portal cannot be asked.
        :raises RobotDefinitionError: when two DAGs declare the same code.
        :raises FileNotFoundError: when there is no such folder.
        """
        folder = read_dags_folder(dags_folder)
        # What is registered under the prefix is another's then, and would be deleted.
        self._check_session()
        plan = make_plan(self.hook, folder, self.prefix)
        steps = [step for step in plan.steps if not (plan.broken and step.action == "delete")]
        return Applied(folder.of_connection(self.hook.bitrix24_conn_id), plan, apply(self.hook, steps))

    def release(self) -> list[Outcome]:
        """Remove what this session has registered, unless another one of this machine has taken over.

        :raises Bitrix24Error: when the portal does not say.
        :raises RegistryError: when the portal cannot be asked.
        """
        return self._remove() if self._is_present(self._noted()) else []

    def clean(self) -> list[Outcome]:
        """Remove what any session of this machine has left.

        :raises PrefixTakenError: when the prefix is someone else's.
        :raises Bitrix24Error: when the portal does not say.
        :raises RegistryError: when the portal cannot be asked.
        """
        self._check_owner()
        return self._remove()

    def _remove(self) -> list[Outcome]:
        outcomes = apply(self.hook, [Step("delete", robot.kind, robot.code) for robot in self._registered()])
        if all(outcome.error is None for outcome in outcomes):
            self._note(None)
        return outcomes

    def _check_owner(self) -> None:
        registered, owner = self._registered(), self._noted().get("owner")
        if registered and owner not in (None, _owner()):
            raise PrefixTakenError(
                f"The prefix {self.prefix.word!r} is taken at this portal by {owner}, and this is {_owner()}. Take "
                "another one with --prefix. If nobody uses it any more, `airflow-b24 robots delete "
                f"--conn-id {self.hook.bitrix24_conn_id} CODE …` removes robots by their codes."
            )

    def _check_session(self) -> None:
        noted = self._noted()
        if not self._is_present(noted):
            raise PrefixTakenError(
                f"Another `airflow-b24 dev` has the prefix {self.prefix.word!r} at this portal now, that of "
                f"{noted.get('owner')}; this one registers no more. --prefix takes another."
            )

    def _is_present(self, noted: dict[str, Any]) -> bool:
        return bool(noted.get("session", self._id) == self._id)

    def _registered(self) -> list[RegisteredRobot]:
        return [robot for robot in registered_robots(self.hook) if self.prefix.owns(robot.code)]

    def _noted(self) -> dict[str, Any]:
        options = self.hook.call("app.option.get")
        noted: object = None
        if isinstance(options, dict):  # PHP's empty array is a list
            with suppress(ValueError, TypeError):
                noted = json.loads(options.get(_OPTION + self.prefix.word) or "null")
        return noted if isinstance(noted, dict) else {}

    def _note(self, value: dict[str, Any] | None) -> None:
        text = "" if value is None else json.dumps(value)
        self.hook.call("app.option.set", {"options": {_OPTION + self.prefix.word: text}})


def own_prefix() -> DevPrefix:
    """Give the prefix of whoever runs this, by their name on this machine."""
    word = re.sub(r"[^A-Za-z0-9_-]", "-", getpass.getuser())[:40]
    return DevPrefix(word or "me")


def _owner() -> str:
    from airflow_provider_b24._airflow.home import airflow_home

    return f"{getpass.getuser()}@{socket.gethostname()}:{airflow_home()}"
