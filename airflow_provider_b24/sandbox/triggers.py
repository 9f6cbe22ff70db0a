"""Triggers of the CRM's automation: what an application has registered, and the stage that each moves a record to.

Documented on https://apidocs.bitrix24.com/api-reference/crm/automation/triggers/index.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class TriggerRule:
    """Where a trigger moves records to.

    :param client_id: the application whose trigger it is, `None` for any.
    :param kind: whose, such as `deal`.
    :param backwards: whether also from a later stage.
    """

    client_id: str | None
    code: str
    kind: str
    stage: str
    backwards: bool = False


class Triggers:
    """The triggers of all applications, and the stages that people have put them on."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._rules: list[TriggerRule] = []

    def register(self, client_id: str, code: str, name: str) -> None:
        """Register a trigger, or give it another name."""
        self._names[client_id, code] = name

    def registered(self, client_id: str) -> Mapping[str, str]:
        """Return what an application has registered: names by code."""
        return {code: name for (owner, code), name in self._names.items() if owner == client_id}

    def delete(self, client_id: str, code: str) -> None:
        """Delete a trigger; it moves nothing any more.

        :raises KeyError: when there is none.
        """
        del self._names[client_id, code]

    def forget(self, client_id: str) -> None:
        """Delete all of an application that was uninstalled."""
        self._names = {key: name for key, name in self._names.items() if key[0] != client_id}

    def put(self, rule: TriggerRule) -> None:
        """Put a trigger on a stage; it may be registered later."""
        self._rules.append(rule)

    def stage(self, client_id: str, code: str, kind: str, stages: list[str], now: str) -> str | None:
        """Return the stage that a trigger moves a record to, `None` when it leaves it where it is.

        :param stages: all stages of such a record, in order.
        :param now: where it stands.
        """
        place = {stage: index for index, stage in enumerate(stages)}
        for rule in self._rules:
            if rule.client_id not in (None, client_id) or (rule.code, rule.kind) != (code, kind):
                continue
            if rule.stage == now:
                continue
            if rule.backwards or place.get(rule.stage, len(stages)) > place.get(now, -1):
                return rule.stage
        return None
