"""Triggers: an application says that something has happened, and a record moves to the trigger's stage."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_b24.sandbox import SetField

METHODS = "crm.automation.trigger"
PAID = {"CODE": "paid", "NAME": "Paid"}


def execute(rest: Any, number: int = 1, entity_type_id: int = 2, code: str = "paid") -> bool:
    params = {"CODE": code, "OWNER_TYPE_ID": entity_type_id, "OWNER_ID": number}
    response = rest.application(f"{METHODS}.execute", params)
    assert response.status_code == 200, response.text
    return bool(response.json()["result"])


def test_triggers_are_registered_renamed_and_deleted(live_portal: Any, rest: Any, error_of: Any) -> None:
    assert rest.application(f"{METHODS}.add", PAID).json()["result"] is True
    rest.application(f"{METHODS}.add", {**PAID, "NAME": "Money is here"})
    assert rest.application(f"{METHODS}.list").json()["result"] == [{"NAME": "Money is here", "CODE": "paid"}]
    other = live_portal.create_application()
    assert rest.application(f"{METHODS}.list", token=other.access_token).json()["result"] == []
    assert rest.application(f"{METHODS}.delete", {"CODE": "paid"}).json()["result"] is True
    assert error_of(rest.application(f"{METHODS}.delete", {"CODE": "paid"})) == (400, "", "Trigger not found")


@pytest.mark.parametrize(
    ("kind", "entity_type_id", "field", "stage"),
    [
        ("lead", 1, "STATUS_ID", "PROCESSED"),
        ("deal", 2, "STAGE_ID", "WON"),
        ("item:147", 147, "STAGE_ID", "DT147_1:CLIENT"),
    ],
)
def test_a_trigger_moves_a_record_and_starts_the_robots_of_the_stage(
    live_portal: Any, rest: Any, kind: str, entity_type_id: int, field: str, stage: str
) -> None:
    live_portal.add_records(kind, 2)
    live_portal.add_trigger("paid", kind, stage)
    live_portal.add_automation(kind, stage, [SetField("TITLE", "moved by {=Document:MODIFY_BY_ID}")])
    rest.application(f"{METHODS}.add", PAID)
    assert execute(rest, 1, entity_type_id) is True
    assert live_portal.records(kind).get(1)[field] == stage
    assert live_portal.records(kind).get(1)["TITLE"].startswith("moved by")
    assert live_portal.records(kind).get(2)[field] != stage


def test_a_trigger_moves_nothing_back_unless_it_is_told_to(live_portal: Any, rest: Any) -> None:
    live_portal.add_records("deal", [{"STAGE_ID": "EXECUTING"}] * 2)
    live_portal.add_trigger("paid", "deal", "PREPARATION")
    live_portal.add_trigger("again", "deal", "PREPARATION", backwards=True)
    for code in ("paid", "again"):
        rest.application(f"{METHODS}.add", {"CODE": code, "NAME": code})
    assert execute(rest, 1) is True
    assert live_portal.records("deal").get(1)["STAGE_ID"] == "EXECUTING"
    execute(rest, 2, code="again")
    assert live_portal.records("deal").get(2)["STAGE_ID"] == "PREPARATION"


def test_a_trigger_is_that_of_its_application(live_portal: Any, rest: Any) -> None:
    live_portal.add_records("deal", 1)
    live_portal.add_trigger("paid", "deal", "WON", application=live_portal.create_application())
    rest.application(f"{METHODS}.add", PAID)
    assert execute(rest) is True
    assert live_portal.records("deal").get(1)["STAGE_ID"] == "NEW"


def test_the_triggers_of_an_application_go_with_it(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    rest.application(f"{METHODS}.add", PAID)
    live_portal.send_uninstall_event(robot_handler.url)
    assert live_portal.triggers.registered(live_portal.application.client_id) == {}


def test_records_without_stages_have_no_triggers(live_portal: Any) -> None:
    with pytest.raises(ValueError, match="no stages"):
        live_portal.add_trigger("paid", "contact", "NEW")


@pytest.mark.parametrize(
    ("verb", "params", "text"),
    [
        ("add", {}, "Empty trigger code!"),
        ("add", {"CODE": "a b"}, "Wrong trigger code!"),
        ("add", {"CODE": "a"}, "Empty trigger name!"),
        ("delete", {"CODE": ""}, "Empty trigger code!"),
        ("execute", {"CODE": "other"}, "Trigger with code other is not registered."),
        ("execute", {"CODE": "paid", "OWNER_TYPE_ID": 999}, "Incorrect parameter OWNER_TYPE_ID."),
        ("execute", {"CODE": "paid", "OWNER_TYPE_ID": 2, "OWNER_ID": 0}, "Incorrect parameter OWNER_ID."),
    ],
)
def test_wrong_triggers_are_refused(rest: Any, error_of: Any, verb: str, params: Any, text: str) -> None:
    rest.application(f"{METHODS}.add", PAID)
    assert error_of(rest.application(f"{METHODS}.{verb}", params)) == (400, "", text)


@pytest.mark.parametrize("verb", ["add", "list", "delete", "execute"])
def test_triggers_belong_to_administrators_in_an_application(rest: Any, error_of: Any, verb: str) -> None:
    denied = (400, "ACCESS_DENIED", "Access denied! Application context required")
    assert error_of(rest.webhook(f"{METHODS}.{verb}", PAID)) == denied
    denied = (400, "ACCESS_DENIED", "Access denied! Admin permissions required")
    assert error_of(rest.employee(f"{METHODS}.{verb}", PAID)) == denied
