"""What `crm.item.*` answers beside the fields of a record."""

from __future__ import annotations

from typing import Any

import pytest


def test_an_address_is_there_by_its_kind_too(rest: Any) -> None:
    addresses = [
        {"typeId": "PHONE", "valueType": "MOBILE", "value": "1"},
        {"typeId": "PHONE", "valueType": "WORK", "value": "2"},
        {"typeId": "PHONE", "valueType": "WORK", "value": "3"},
        {"typeId": "EMAIL", "valueType": "HOME", "value": "a@portal.example"},
    ]
    given = {"entityTypeId": 3, "fields": {"name": "Ada", "fm": addresses}}
    item = rest.result("crm.item.add", given)["item"]
    assert (item["phone"], item["phoneMobile"], item["phoneWork"], item["phoneMailing"]) == (
        "1",
        "1",
        "2",
        "",
    )
    assert (item["email"], item["emailHome"], item["emailWork"]) == ("a@portal.example",) * 2 + ("",)
    assert len(item["fm"]) == 4


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (1, {"dateCreateShort", "isConvert", "shortName", "skype"}),
        (2, {"begindateShort", "closedateShort", "isWon", "eventId", "orderStage"}),
        (3, {"login", "shortName"}),
        (147, {"opportunityAccount"}),
    ],
)
def test_what_is_disabled_is_there_without_a_value(rest: Any, kind: int, names: set[str]) -> None:
    rest.portal.records("item:147")
    item = rest.result("crm.item.add", {"entityTypeId": kind, "fields": {"title": "x"}})["item"]
    assert {name: item[name] for name in names} == dict.fromkeys(names)


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_observers_are_kept_and_the_older_methods_do_not_have_them(rest: Any, kind: int) -> None:
    given = {"entityTypeId": kind, "fields": {"observers": [1, 2]}}
    assert rest.result("crm.item.add", given)["item"]["observers"] == [1, 2]
    assert rest.result("crm.item.fields", {"entityTypeId": kind})["fields"]["observers"]["isMultiple"] is True
    name = {1: "lead", 2: "deal", 3: "contact", 4: "company"}[kind]
    assert "OBSERVERS" not in rest.result(f"crm.{name}.fields")
    assert "OBSERVERS" not in rest.result(f"crm.{name}.get", {"id": 1})


def test_a_record_has_what_it_is_searched_by(rest: Any) -> None:
    fields = {"title": "Call back", "name": "Ada"}
    item = rest.result("crm.item.add", {"entityTypeId": 1, "fields": fields})["item"]
    assert item["searchContent"] == "1 Call back Ada"
