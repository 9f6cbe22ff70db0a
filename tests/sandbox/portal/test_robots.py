"""Registering robots and activities."""

from __future__ import annotations

from typing import Any

import pytest

GOOD = {"CODE": "r.1-a_B", "HANDLER": "https://app.example/robot", "NAME": "Robot"}

both = pytest.mark.parametrize("kind", ["robot", "activity"])


@both
def test_a_life_from_add_to_delete(live_portal: Any, rest: Any, kind: str) -> None:
    def call(verb: str, params: dict[str, Any] | None = None) -> Any:
        return rest.application(f"bizproc.{kind}.{verb}", params).json()["result"]

    assert call("list") == []
    assert call("add", {**GOOD, "PROPERTIES": {"p": {"Name": "P"}}}) is True
    assert call("add", {**GOOD, "CODE": "second", "NAME": {"en": "Second", "de": "Zweiter"}}) is True
    assert call("list") == ["r.1-a_B", "second"]
    assert call("update", {"CODE": "r.1-a_B", "FIELDS": {"HANDLER": "http://new.example/x"}}) is True
    robot = next(robot for robot in live_portal.robots if robot.code == "r.1-a_B")
    assert (robot.kind, robot.handler, robot.client_id) == (
        kind,
        "http://new.example/x",
        live_portal.application.client_id,
    )
    assert (robot.fields["NAME"], robot.properties) == ("Robot", {"p": {"Name": "P"}})
    assert call("delete", {"CODE": "r.1-a_B"}) is True
    assert call("list") == ["second"]


@both
@pytest.mark.parametrize("verb", ["add", "update", "list", "delete"])
def test_only_an_administrator_in_an_application_may(rest: Any, error_of: Any, kind: str, verb: str) -> None:
    method = f"bizproc.{kind}.{verb}"
    assert error_of(rest.webhook(method, GOOD)) == (400, "ACCESS_DENIED", "Application context required")
    assert error_of(rest.employee(method, GOOD)) == (400, "ACCESS_DENIED", "Access denied!")


@both
@pytest.mark.parametrize(
    ("changes", "code", "description"),
    [
        ({"CODE": ""}, "ERROR_ACTIVITY_VALIDATION_FAILURE", "Empty activity code!"),
        ({"CODE": "a b"}, "ERROR_ACTIVITY_VALIDATION_FAILURE", "Wrong activity code!"),
        ({"CODE": ["a"]}, "ERROR_ACTIVITY_VALIDATION_FAILURE", "Wrong activity code!"),
        ({"HANDLER": None}, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"),
        ({"HANDLER": "nowhere"}, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"),
        ({"HANDLER": "https://"}, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"),
        ({"HANDLER": "http://[x/"}, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"),
        ({"HANDLER": "ftp://x.example/"}, "ERROR_UNSUPPORTED_PROTOCOL", "Unsupported handler protocol"),
        ({"NAME": ""}, "ERROR_ACTIVITY_VALIDATION_FAILURE", "Empty activity NAME!"),
        ({"PROPERTIES": "x"}, "ERROR_ACTIVITY_VALIDATION_FAILURE", "Wrong properties array!"),
        ({"PROPERTIES": ["x"]}, "ERROR_ACTIVITY_VALIDATION_FAILURE", "Wrong properties array!"),
        ({"PROPERTIES": {"p": "x"}}, "ERROR_ACTIVITY_VALIDATION_FAILURE", "Wrong properties array!"),
        (
            {"PROPERTIES": {"1p": {"Name": "x"}}},
            "ERROR_ACTIVITY_VALIDATION_FAILURE",
            "Wrong property key 1p!",
        ),
        (
            {"RETURN_PROPERTIES": {"p-q": {"Name": "x"}}},
            "ERROR_ACTIVITY_VALIDATION_FAILURE",
            "Wrong property key p-q!",
        ),
        (
            {"RETURN_PROPERTIES": {"p": {"Type": "int"}}},
            "ERROR_ACTIVITY_VALIDATION_FAILURE",
            "Empty property NAME p!",
        ),
        ({"FILTER": {"ONLY": ["crm"]}}, "ERROR_ACTIVITY_VALIDATION_FAILURE", "Wrong activity FILTER!"),
        ({"DOCUMENT_TYPE": ["crm"]}, "ERROR_ACTIVITY_VALIDATION_FAILURE", "Wrong activity DOCUMENT_TYPE!"),
        ({"USE_PLACEMENT": "Y"}, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"),
    ],
)
def test_a_wrong_registration_is_refused(
    live_portal: Any,
    rest: Any,
    error_of: Any,
    kind: str,
    changes: dict[str, Any],
    code: str,
    description: str,
) -> None:
    refused = rest.application(f"bizproc.{kind}.add", {**GOOD, **changes})
    assert error_of(refused) == (400, code, description)
    assert live_portal.robots == []


@pytest.mark.parametrize(
    "changes",
    [
        {"PROPERTIES": [], "RETURN_PROPERTIES": {}},
        {"PROPERTIES": {"p": {"NAME": {"en": "P"}, "TYPE": "int"}}},
        {"FILTER": {"INCLUDE": [["crm", "CCrmDocumentLead"]], "EXCLUDE": ["box"]}},
        {"DOCUMENT_TYPE": ["crm", "CCrmDocumentLead", "LEAD"]},
        {"USE_PLACEMENT": "Y", "PLACEMENT_HANDLER": "https://app.example/settings"},
    ],
)
def test_an_unusual_registration_is_accepted(rest: Any, changes: dict[str, Any]) -> None:
    assert rest.application("bizproc.robot.add", {**GOOD, **changes}).json()["result"] is True


def test_nothing_at_all_is_empty_data(rest: Any, error_of: Any) -> None:
    assert error_of(rest.application("bizproc.robot.add"))[2] == "Empty data!"


def test_a_code_is_unique_within_an_application(live_portal: Any, rest: Any, error_of: Any) -> None:
    assert rest.application("bizproc.robot.add", GOOD).status_code == 200
    for kind in ("robot", "activity"):
        assert error_of(rest.application(f"bizproc.{kind}.add", GOOD)) == (
            400,
            "ERROR_ACTIVITY_ALREADY_INSTALLED",
            "Activity or Automation rule already installed!",
        )
    other = live_portal.create_application()
    assert rest.application("bizproc.robot.list", token=other.access_token).json()["result"] == []
    assert rest.application("bizproc.robot.add", GOOD, other.access_token).json()["result"] is True


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_a_robot_that_is_not_there_is_not_found(rest: Any, error_of: Any, verb: str) -> None:
    rest.application("bizproc.activity.add", GOOD)
    params = {"CODE": GOOD["CODE"], "FIELDS": {"NAME": "x"}}
    assert error_of(rest.application(f"bizproc.robot.{verb}", params))[:2] == (
        400,
        "ERROR_ACTIVITY_NOT_FOUND",
    )


@pytest.mark.parametrize(
    ("fields", "description"),
    [
        (None, "No fields to update"),
        ({}, "No fields to update"),
        ({"COLOUR": "red"}, "No fields to update"),
        ({"NAME": ""}, "Empty activity NAME!"),
        ({"HANDLER": "x"}, "Wrong handler URL"),
        ({"PROPERTIES": "x"}, "Wrong properties array!"),
    ],
)
def test_a_wrong_update_changes_nothing(
    live_portal: Any, rest: Any, error_of: Any, fields: Any, description: str
) -> None:
    rest.application("bizproc.robot.add", GOOD)
    refused = rest.application("bizproc.robot.update", {"CODE": GOOD["CODE"], "FIELDS": fields})
    assert error_of(refused)[2] == description
    assert live_portal.robots[0].fields == {"HANDLER": GOOD["HANDLER"], "NAME": GOOD["NAME"]}
