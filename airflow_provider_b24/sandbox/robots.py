"""Registered robots and activities, and the rules a registration must follow.

Documented on https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-robot-add.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from airflow_provider_b24.sandbox.errors import RestError

Kind = Literal["robot", "activity"]

_CODE = re.compile(r"[a-z0-9._-]+", re.IGNORECASE)
_PROPERTY = re.compile(r"[a-z][a-z0-9_]*", re.IGNORECASE)
_FIELDS = (
    "HANDLER",
    "AUTH_USER_ID",
    "USE_SUBSCRIPTION",
    "NAME",
    "DESCRIPTION",
    "PROPERTIES",
    "RETURN_PROPERTIES",
    "DOCUMENT_TYPE",
    "FILTER",
    "USE_PLACEMENT",
    "PLACEMENT_HANDLER",
)


@dataclass(slots=True)
class Robot:
    """A registered robot (automation rule) or activity (workflow action).

    :param client_id: the application it belongs to.
    :param fields: everything that was registered beside the code, by upper-case name.
    """

    kind: Kind
    client_id: str
    code: str
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def handler(self) -> str:
        """Where its calls are posted."""
        return str(self.fields["HANDLER"])

    @property
    def properties(self) -> dict[str, dict[str, Any]]:
        """The declared inputs."""
        return dict(self.fields.get("PROPERTIES") or {})

    @property
    def required_properties(self) -> list[str]:
        """The inputs that must not be empty."""
        return [name for name, declared in self.properties.items() if _required(declared)]

    @property
    def return_properties(self) -> dict[str, dict[str, Any]]:
        """The declared outputs."""
        return dict(self.fields.get("RETURN_PROPERTIES") or {})

    @property
    def use_subscription(self) -> str:
        """`Y`, `N`, or empty, which leaves the choice to the step."""
        return str(self.fields.get("USE_SUBSCRIPTION") or "")

    @property
    def auth_user_id(self) -> int | None:
        """The user whose tokens its calls carry."""
        value = self.fields.get("AUTH_USER_ID")
        return int(str(value)) if str(value).isdecimal() else None


class RobotRegistry:
    """The robots and activities of all applications; both share one set of codes per application."""

    def __init__(self) -> None:
        self._robots: dict[tuple[str, str], Robot] = {}

    def all(self) -> list[Robot]:
        """Return everything registered."""
        return list(self._robots.values())

    def codes(self, kind: Kind, client_id: str) -> list[str]:
        """Return the codes one application has registered."""
        return [robot.code for robot in self._of(kind, client_id)]

    def add(self, kind: Kind, client_id: str, parameters: Mapping[str, Any]) -> None:
        """Register.

        :raises RestError: with the documented codes.
        """
        if not parameters:
            raise _invalid("Empty data!")
        code = _code(parameters)
        fields = {name: parameters[name] for name in _FIELDS if name in parameters}
        _check_handler(fields.get("HANDLER"))
        if not fields.get("NAME"):
            raise _invalid("Empty activity NAME!")
        _check(fields)
        if (client_id, code) in self._robots:
            raise RestError(
                400, "ERROR_ACTIVITY_ALREADY_INSTALLED", "Activity or Automation rule already installed!"
            )
        self._robots[client_id, code] = Robot(kind, client_id, code, fields)

    def update(self, kind: Kind, client_id: str, parameters: Mapping[str, Any]) -> None:
        """Change the fields that are given, keep the others.

        :raises RestError: with the documented codes.
        """
        robot = self._existing(kind, client_id, _code(parameters))
        given = parameters.get("FIELDS")
        if not isinstance(given, Mapping):
            raise _invalid("No fields to update")
        upper = {str(name).upper(): value for name, value in given.items()}
        fields = {name: upper[name] for name in _FIELDS if name in upper}
        if not fields:
            raise _invalid("No fields to update")
        if "HANDLER" in fields:
            _check_handler(fields["HANDLER"])
        if "NAME" in fields and not fields["NAME"]:
            raise _invalid("Empty activity NAME!")
        _check(fields)
        robot.fields.update(fields)

    def delete(self, kind: Kind, client_id: str, parameters: Mapping[str, Any]) -> None:
        """Remove one.

        :raises RestError: with the documented codes.
        """
        robot = self._existing(kind, client_id, _code(parameters))
        del self._robots[client_id, robot.code]

    def find(self, kind: Kind, code: str, client_id: str | None = None) -> Robot | None:
        """Return the robot a process means.

        :param client_id: its application; without it the first that has the code.
        """
        for robot in self._robots.values():
            if robot.kind == kind and robot.code == code and client_id in (None, robot.client_id):
                return robot
        return None

    def forget(self, client_id: str) -> None:
        """Remove all that belongs to an application that was uninstalled."""
        self._robots = {key: robot for key, robot in self._robots.items() if key[0] != client_id}

    def _of(self, kind: Kind, client_id: str) -> list[Robot]:
        return [r for r in self._robots.values() if r.kind == kind and r.client_id == client_id]

    def _existing(self, kind: Kind, client_id: str, code: str) -> Robot:
        robot = self._robots.get((client_id, code))
        if robot is None or robot.kind != kind:
            raise RestError(400, "ERROR_ACTIVITY_NOT_FOUND", "Activity or Automation rule not found!")
        return robot


def _required(declared: Mapping[str, Any]) -> bool:
    return any(
        str(name).upper() == "REQUIRED" and str(value).lower() in ("y", "1", "true")
        for name, value in declared.items()
    )


def _invalid(description: str) -> RestError:
    return RestError(400, "ERROR_ACTIVITY_VALIDATION_FAILURE", description)


def _code(parameters: Mapping[str, Any]) -> str:
    code = parameters.get("CODE")
    if not code:
        raise _invalid("Empty activity code!")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise _invalid("Wrong activity code!")
    return code


def _check_handler(handler: object) -> None:
    try:
        parts = urlsplit(handler) if isinstance(handler, str) else None
        host = parts.hostname if parts else None
    except ValueError:
        parts = host = None
    if parts is None or (not host and parts.scheme in ("", "http", "https")):
        raise RestError(400, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL")
    if parts.scheme not in ("http", "https"):
        raise RestError(400, "ERROR_UNSUPPORTED_PROTOCOL", "Unsupported handler protocol")


def _check(fields: Mapping[str, Any]) -> None:
    if fields.get("USE_PLACEMENT") == "Y" or fields.get("PLACEMENT_HANDLER"):
        _check_handler(fields.get("PLACEMENT_HANDLER"))
    for name in ("PROPERTIES", "RETURN_PROPERTIES"):
        _check_properties(fields.get(name))
    allowed = fields.get("FILTER")
    if allowed and not (isinstance(allowed, Mapping) and {str(k) for k in allowed} <= {"INCLUDE", "EXCLUDE"}):
        raise _invalid("Wrong activity FILTER!")
    document_type = fields.get("DOCUMENT_TYPE")
    if document_type and not (
        isinstance(document_type, list)
        and len(document_type) == 3
        and all(isinstance(part, str) and part for part in document_type)
    ):
        raise _invalid("Wrong activity DOCUMENT_TYPE!")


def _check_properties(properties: object) -> None:
    # An empty array is `[]` in JSON whatever it was meant to be.
    if properties is None or properties in ([], ""):
        return
    if not isinstance(properties, Mapping):
        raise _invalid("Wrong properties array!")
    for key, declared in properties.items():
        if not _PROPERTY.fullmatch(str(key)):
            raise _invalid(f"Wrong property key {key}!")
        if not isinstance(declared, Mapping):
            raise _invalid("Wrong properties array!")
        if not any(str(name).upper() == "NAME" and value for name, value in declared.items()):
            raise _invalid(f"Empty property NAME {key}!")
