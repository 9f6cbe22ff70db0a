"""Recurring deals: a template, its settings, and the deals that are made of it."""

from __future__ import annotations

from typing import Any

import pytest

METHODS = "crm.deal.recurring"
MONTHLY = {
    "MODE": "multiple",
    "MULTIPLE_TYPE": "month",
    "MULTIPLE_INTERVAL": 1,
    "OFFSET_BEGINDATE_TYPE": "day",
    "OFFSET_BEGINDATE_VALUE": 1,
    "OFFSET_CLOSEDATE_TYPE": "month",
    "OFFSET_CLOSEDATE_VALUE": 2,
}


def add(rest: Any, deal: int, **fields: Any) -> int:
    return int(rest.result(f"{METHODS}.add", {"fields": {"DEAL_ID": deal, **fields}}))


def prices(rest: Any, deal: int) -> list[float]:
    return [row["PRICE"] for row in rest.result("crm.deal.productrows.get", {"id": deal})]


def test_a_template_is_a_copy_of_a_deal(rest: Any) -> None:
    fields = {"TITLE": "Rent", "CONTACT_IDS": [4, 5], "UF_CRM_FLAT": "12", "STAGE_ID": "WON"}
    rest.portal.add_records("deal", [fields])
    rest.portal.add_records("productrow", [{"ownerType": "D", "ownerId": 1, "price": 700}])
    row = rest.result(f"{METHODS}.get", {"id": add(rest, 1, CATEGORY_ID="2", PARAMS=MONTHLY)})
    assert (row["DEAL_ID"], row["BASED_ID"], row["ACTIVE"], row["CATEGORY_ID"]) == ("2", "1", "Y", "2")
    assert (row["COUNTER_REPEAT"], row["LAST_EXECUTION"], row["LIMIT_DATE"]) == (None, "", "")
    assert row["PARAMS"] == {
        **MONTHLY,
        "SINGLE_BEFORE_START_DATE_TYPE": None,
        "SINGLE_BEFORE_START_DATE_VALUE": 0,
    }
    template = rest.result("crm.deal.get", {"id": 2})
    assert (template["TITLE"], template["IS_RECURRING"], template["UF_CRM_FLAT"]) == ("Rent", "Y", "12")
    assert template["OPPORTUNITY"] == "700.00"
    assert prices(rest, 2) == prices(rest, 1) == [700]
    assert rest.result("crm.deal.get", {"id": 1})["IS_RECURRING"] == "N"


def test_a_template_makes_deals(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    live_portal.add_records("deal", [{"TITLE": "Rent", "CONTACT_IDS": [4, 5], "STAGE_ID": "WON"}])
    live_portal.add_records("productrow", [{"ownerType": "D", "ownerId": 1, "price": 700}])
    number = add(rest, 1, CATEGORY_ID="2", IS_LIMIT="T", LIMIT_REPEAT=2, PARAMS=MONTHLY)
    for event in ("ONCRMDEALADD", "ONCRMDEALRECURRINGEXPOSE"):
        rest.application("event.bind", {"event": event, "handler": robot_handler.url})
    assert rest.result(f"{METHODS}.expose", {"id": number}) == {"DEAL_ID": 3}
    deal = rest.result("crm.deal.get", {"id": 3})
    assert (deal["TITLE"], deal["STAGE_ID"], deal["CATEGORY_ID"], deal["CLOSED"]) == (
        "Rent",
        "C2:NEW",
        "2",
        "N",
    )
    assert (deal["IS_RECURRING"], deal["CONTACT_ID"], deal["OPPORTUNITY"]) == ("N", "4", "700.00")
    assert prices(rest, 3) == [700]
    assert deal["BEGINDATE"] > deal["DATE_CREATE"]
    assert deal["CLOSEDATE"] > deal["BEGINDATE"]
    assert [call.fields["event"] for call in live_portal.event_calls] == [
        "ONCRMDEALADD",
        "ONCRMDEALRECURRINGEXPOSE",
    ]
    told = live_portal.event_calls[1].fields["data"]["FIELDS"]
    assert told == {"ID": number, "RECURRING_DEAL_ID": 2, "DEAL_ID": 3}
    first = rest.result(f"{METHODS}.get", {"id": number})
    assert (first["COUNTER_REPEAT"], first["ACTIVE"]) == ("1", "Y")
    assert first["NEXT_EXECUTION"] > first["LAST_EXECUTION"]
    rest.result(f"{METHODS}.expose", {"id": number})
    last = rest.result(f"{METHODS}.get", {"id": number})
    assert (last["COUNTER_REPEAT"], last["ACTIVE"], last["NEXT_EXECUTION"]) == ("2", "N", "")


def test_settings_are_changed_and_say_when_the_next_deal_comes(rest: Any) -> None:
    rest.portal.add_records("deal", 1)
    number = add(rest, 1, START_DATE="2090-01-31", IS_LIMIT="sometimes")
    row = rest.result(f"{METHODS}.get", {"id": number})
    assert (row["IS_LIMIT"], row["NEXT_EXECUTION"]) == ("N", "2090-01-31T00:00:00+00:00")
    fields = {"IS_LIMIT": "D", "LIMIT_DATE": "2089-12-31", "DEAL_ID": 99}
    assert rest.result(f"{METHODS}.update", {"id": number, "fields": fields}) is True
    row = rest.result(f"{METHODS}.get", {"id": number})
    assert (row["LIMIT_DATE"], row["NEXT_EXECUTION"]) == ("2089-12-31T00:00:00+00:00", "")
    assert row["DEAL_ID"] == "2"


def test_templates_are_listed(rest: Any) -> None:
    rest.portal.add_records("deal", 3)
    for deal in (1, 2, 3):
        add(rest, deal, ACTIVE="N" if deal == 2 else "Y")
    found = rest.result(
        f"{METHODS}.list", {"filter": {"ACTIVE": "Y", "PARAMS": "x"}, "order": {"ID": "DESC"}}
    )
    assert [row["BASED_ID"] for row in found] == ["3", "1"]


def test_settings_go_with_the_deal_of_the_template(rest: Any, error_of: Any) -> None:
    rest.portal.add_records("deal", 1)
    number = add(rest, 1)
    refused = error_of(rest.webhook(f"{METHODS}.delete", {"id": number}))
    assert refused == (400, "", "Deleting is impossible. Connected recurring deal exists.")
    rest.result("crm.deal.delete", {"id": 2})
    refused = error_of(rest.webhook(f"{METHODS}.delete", {"id": number}))
    assert refused == (400, "", "Recurring deal is not found.")


def test_settings_without_a_deal_are_deleted(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    [number] = live_portal.add_records("recurring", [{"DEAL_ID": 99}])
    rest.application("event.bind", {"event": "ONCRMDEALRECURRINGDELETE", "handler": robot_handler.url})
    assert rest.result(f"{METHODS}.delete", {"id": number}) is True
    assert [call.fields["data"] for call in live_portal.event_calls] == [{"FIELDS": {"ID": number}}]
    assert len(live_portal.records("recurring")) == 0


@pytest.mark.parametrize(
    ("verb", "params", "text"),
    [
        ("add", {}, "Parameter 'fields' must be array."),
        ("add", {"fields": {}}, "Deal id is empty."),
        ("add", {"fields": {"DEAL_ID": 1, "PARAMS": "x"}}, "Parameter 'params' must be array."),
        ("add", {"fields": {"DEAL_ID": 99}}, "Access denied."),
        ("add", {"fields": {"DEAL_ID": 2}}, "Deal already has recurring settings."),
        ("get", {}, "id is not defined or invalid."),
        ("expose", {"id": 99}, "Recurring deal is not found."),
        ("update", {"id": 1}, "Parameter 'fields' must be array."),
        ("list", {"order": "ID"}, "Parameter 'order' must be array."),
        ("list", {"filter": "ID"}, "Parameter 'filter' must be array."),
    ],
)
def test_wrong_templates_are_refused(rest: Any, error_of: Any, verb: str, params: Any, text: str) -> None:
    rest.portal.add_records("deal", 1)
    add(rest, 1)
    assert error_of(rest.webhook(f"{METHODS}.{verb}", params)) == (400, "", text)


def test_the_fields_of_a_template_are_told(rest: Any) -> None:
    told = rest.result(f"{METHODS}.fields")
    assert (told["DEAL_ID"]["isRequired"], told["DEAL_ID"]["isImmutable"]) == (True, True)
    assert (told["CATEGORY_ID"]["type"], told["NEXT_EXECUTION"]["isReadOnly"]) == ("char", True)
    assert told["PARAMS"]["type"] == "recurring_params"
    assert told["PARAMS"]["definition"]["MULTIPLE_INTERVAL"]["type"] == "integer"
