"""The cards of records: what people have set for themselves, and what is common."""

from __future__ import annotations

from typing import Any

import pytest

TYPES = {"lead": 1, "deal": 2, "contact": 3, "company": 4}
SECTION = {
    "name": "main",
    "title": "Main",
    "type": "section",
    "elements": [
        {"name": "TITLE"},
        {"name": "CLIENT", "optionFlags": 1, "options": {"defaultCountry": "DE"}},
    ],
}
KEPT = {
    **SECTION,
    "elements": [
        {"name": "TITLE", "optionFlags": "0"},
        {"name": "CLIENT", "optionFlags": "1", "options": {"defaultCountry": "DE"}},
    ],
}


def section(title: str) -> dict[str, Any]:
    return {"name": "main", "title": title, "type": "section"}


def title(found: Any) -> Any:
    return found and found[0]["title"]


@pytest.mark.parametrize("kind", list(TYPES))
def test_a_card_is_set_read_and_reset(rest: Any, kind: str) -> None:
    older, where = f"crm.{kind}.details.configuration", {"entityTypeId": TYPES[kind]}
    assert rest.result(f"{older}.get") is None
    assert rest.result(f"{older}.set", {"data": [SECTION]}) is True
    # Older and newer methods have the same cards.
    assert rest.result(f"{older}.get") == rest.result("crm.item.details.configuration.get", where) == [KEPT]
    assert rest.result(f"{older}.get", {"scope": "C"}) is None
    assert rest.result("crm.item.details.configuration.reset", where) is True
    assert rest.result(f"{older}.get") is None


def test_everybody_has_a_card_until_a_common_one_is_forced(rest: Any, error_of: Any) -> None:
    methods = "crm.deal.details.configuration"
    rest.result(f"{methods}.set", {"data": [section("common")], "scope": "C"})
    rest.result(f"{methods}.set", {"data": [section("mine")]})
    rest.employee(f"{methods}.set", {"data": [section("theirs")]})
    assert title(rest.employee(f"{methods}.get").json()["result"]) == "theirs"
    assert title(rest.result(f"{methods}.get", {"userId": 2})) == "theirs"
    assert title(rest.employee(f"{methods}.get", {"scope": "C"}).json()["result"]) == "common"
    denied = (400, "", "Access denied.")
    assert error_of(rest.employee(f"{methods}.get", {"userId": 1})) == denied
    assert error_of(rest.employee(f"{methods}.set", {"data": [section("x")], "scope": "C"})) == denied
    assert error_of(rest.employee(f"{methods}.reset", {"scope": "C"})) == denied
    assert error_of(rest.employee(f"{methods}.forceCommonScopeForAll")) == denied
    assert rest.result(f"{methods}.forceCommonScopeForAll") is True
    assert rest.result(f"{methods}.get") is None
    assert rest.result(f"{methods}.get", {"userId": 2}) is None
    assert title(rest.result(f"{methods}.get", {"scope": "C"})) == "common"


@pytest.mark.parametrize(
    ("entity_type_id", "name", "usual"),
    [(1, "leadCustomerType", 1), (2, "dealCategoryId", 0), (147, "categoryId", 1)],
)
def test_funnels_and_kinds_of_leads_have_cards_of_their_own(
    rest: Any, entity_type_id: int, name: str, usual: int
) -> None:
    rest.portal.add_records("item:147", 1)
    methods, where = "crm.item.details.configuration", {"entityTypeId": entity_type_id}
    rest.result(f"{methods}.set", {**where, "data": [section("usual")]})
    rest.result(f"{methods}.set", {**where, "data": [section("other")], "extras": {name: 2}})
    assert title(rest.result(f"{methods}.get", {**where, "extras": {name: usual}})) == "usual"
    rest.result(f"{methods}.reset", where)
    assert rest.result(f"{methods}.get", where) is None
    assert title(rest.result(f"{methods}.get", {**where, "extras": {name: "2"}})) == "other"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "Parameter 'data' must be array."),
        ("x", "Parameter 'data' must be array."),
        ([], "There are no data to write."),
        ({"main": section("x")}, "The data must be indexed array."),
        (
            [section("x"), {"type": "column"}],
            "Section at index 1 have type column. The expected type is 'section'.",
        ),
        ([{"type": "section", "title": "x"}], "Section at index 0 does not have name."),
        ([section("")], "Section at index 0 does not have title."),
        (
            [section("x"), section("x") | {"elements": [{"name": "TITLE"}, {}]}],
            "Element at index 1 in section at index 1 does not have name.",
        ),
    ],
)
def test_a_card_that_cannot_be_is_refused(rest: Any, error_of: Any, data: Any, text: str) -> None:
    methods, where = "crm.item.details.configuration", {"entityTypeId": 2}
    assert error_of(rest.webhook(f"{methods}.set", {**where, "data": data})) == (400, "", text)
    assert rest.result(f"{methods}.get", where) is None


@pytest.mark.parametrize("verb", ["get", "set", "reset", "forceCommonScopeForAll"])
def test_a_card_belongs_to_a_type_that_there_is(rest: Any, error_of: Any, verb: str) -> None:
    method = f"crm.item.details.configuration.{verb}"
    data = {"data": [section("x")]}
    assert error_of(rest.webhook(method, data)) == (400, "", "Parameter 'entityTypeId' is not defined")
    unknown = "The entity type 'DYNAMIC_999' is not supported in current context."
    assert error_of(rest.webhook(method, {**data, "entityTypeId": 999})) == (400, "", unknown)


def test_cards_stay_when_records_are_forgotten(live_portal: Any, rest: Any) -> None:
    rest.result("crm.lead.details.configuration.set", {"data": [section("x")]})
    live_portal.reset()
    assert title(rest.result("crm.lead.details.configuration.get")) == "x"
