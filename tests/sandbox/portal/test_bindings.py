"""Contacts of leads, deals and companies, companies of contacts: by their own methods, and by the records."""

from __future__ import annotations

from typing import Any

import pytest

TYPES = {"lead": 1, "deal": 2, "contact": 3, "company": 4}
OWNERS = [("lead", "contact"), ("deal", "contact"), ("company", "contact"), ("contact", "company")]


def bound(rest: Any, kind: str, other: str, number: int) -> list[tuple[int, int, str]]:
    rows = rest.result(f"crm.{kind}.{other}.items.get", {"id": number})
    assert all(set(row) == {f"{other.upper()}_ID", "SORT", "ROLE_ID", "IS_PRIMARY"} for row in rows)
    return [(row[f"{other.upper()}_ID"], row["SORT"], row["IS_PRIMARY"]) for row in rows]


@pytest.mark.parametrize(("kind", "other"), OWNERS)
def test_bindings_are_added_ordered_and_taken_away(rest: Any, kind: str, other: str) -> None:
    rest.portal.add_records(other, 3)
    number = rest.portal.add_records(kind, 1)[0]
    key = f"{other.upper()}_ID"

    def add(**fields: Any) -> bool:
        return bool(rest.result(f"crm.{kind}.{other}.add", {"id": number, "fields": fields}))

    assert add(**{key: 2}) is True
    assert add(**{key: 2}) is False
    assert add(**{key: "1", "SORT": 5}) is True
    assert bound(rest, kind, other, number) == [(1, 5, "N"), (2, 10, "Y")]
    assert add(**{key: 3, "IS_PRIMARY": "Y"}) is True
    assert bound(rest, kind, other, number) == [(1, 5, "N"), (2, 10, "N"), (3, 20, "Y")]
    # Without the primary one the first is it.
    remove = {"id": number, "fields": {key: 3}}
    assert rest.result(f"crm.{kind}.{other}.delete", remove) is True
    assert rest.result(f"crm.{kind}.{other}.delete", remove) is False
    assert bound(rest, kind, other, number) == [(1, 5, "Y"), (2, 10, "N")]
    assert rest.result(f"crm.{kind}.{other}.items.delete", {"id": number}) is True
    assert bound(rest, kind, other, number) == []


@pytest.mark.parametrize(("kind", "other"), OWNERS)
def test_a_set_of_bindings_replaces_the_others(rest: Any, kind: str, other: str) -> None:
    number = rest.portal.add_records(kind, 1)[0]
    key = f"{other.upper()}_ID"

    def put(*items: dict[str, Any]) -> list[tuple[int, int, str]]:
        assert rest.result(f"crm.{kind}.{other}.items.set", {"id": number, "items": list(items)}) is True
        return bound(rest, kind, other, number)

    assert put({key: 7, "SORT": 100}, {key: 8, "IS_PRIMARY": "Y", "SORT": 50}, {key: 0}) == [
        (8, 50, "Y"),
        (7, 100, "N"),
    ]
    # Companies and their contacts keep the sort index, the others are numbered anew.
    first, second = (100, 110) if kind in ("company", "contact") else (10, 20)
    assert put({key: 7}, {key: 9}) == [(7, first, "Y"), (9, second, "N")]
    assert put() == []


@pytest.mark.parametrize("kind", ["lead", "deal"])
def test_records_say_the_same_as_their_bindings(rest: Any, kind: str) -> None:
    rest.portal.add_records("contact", 3)
    where = {"entityTypeId": TYPES[kind]}
    number = rest.result("crm.item.add", {**where, "fields": {"contactIds": [2, 1]}})["item"]["id"]
    where["id"] = number
    assert bound(rest, kind, "contact", number) == [(2, 10, "Y"), (1, 20, "N")]
    assert rest.result(f"crm.{kind}.get", {"id": number})["CONTACT_ID"] == "2"
    rest.result(f"crm.{kind}.contact.add", {"id": number, "fields": {"CONTACT_ID": 3, "IS_PRIMARY": "Y"}})
    item = rest.result("crm.item.get", where)["item"]
    assert (item["contactId"], item["contactIds"]) == (3, [2, 1, 3])
    assert rest.result(f"crm.{kind}.list", {"filter": {"CONTACT_ID": 3}, "select": ["ID"]}) == [
        {"ID": str(number)}
    ]
    # One that is bound becomes the primary one, another one replaces all.
    rest.result(f"crm.{kind}.update", {"id": number, "fields": {"CONTACT_ID": 1}})
    assert bound(rest, kind, "contact", number) == [(2, 10, "N"), (1, 20, "Y"), (3, 30, "N")]
    rest.result(f"crm.{kind}.update", {"id": number, "fields": {"CONTACT_ID": 9}})
    assert bound(rest, kind, "contact", number) == [(9, 10, "Y")]
    rest.result(f"crm.{kind}.update", {"id": number, "fields": {"CONTACT_ID": ""}})
    assert rest.result("crm.item.get", where)["item"]["contactIds"] == []


def test_a_smart_process_has_a_primary_contact_too(rest: Any) -> None:
    rest.portal.add_records("item:147", 1)
    changed = {"entityTypeId": 147, "id": 1, "fields": {"contactIds": [5, 6]}}
    item = rest.result("crm.item.update", changed)["item"]
    assert (item["contactId"], item["contactIds"]) == (5, [5, 6])


def test_contacts_and_companies_know_of_each_other(rest: Any) -> None:
    rest.portal.add_records("company", 2)
    ada = rest.result("crm.contact.add", {"fields": {"NAME": "Ada", "COMPANY_IDS": [1, 2]}})
    eve = rest.result("crm.contact.add", {"fields": {"NAME": "Eve"}})
    assert bound(rest, "company", "contact", 1) == [(ada, 10, "Y")]
    rest.result("crm.company.contact.add", {"id": 1, "fields": {"CONTACT_ID": eve}})
    assert rest.result("crm.contact.get", {"id": eve})["COMPANY_ID"] == "1"
    rest.result("crm.company.contact.items.set", {"id": 1, "items": [{"CONTACT_ID": eve}]})
    assert bound(rest, "contact", "company", ada) == [(2, 20, "Y")]
    assert rest.result("crm.contact.get", {"id": ada})["COMPANY_ID"] == "2"


def test_nothing_stays_bound_to_what_is_deleted(rest: Any) -> None:
    rest.portal.add_records("contact", [{"COMPANY_ID": 1}, {}])
    rest.portal.add_records("company", [{"CONTACT_ID": [1, 2]}])
    rest.portal.add_records("deal", [{"CONTACT_IDS": [1, 2]}])
    rest.result("crm.contact.delete", {"id": 1})
    assert bound(rest, "deal", "contact", 1) == [(2, 20, "Y")]
    assert bound(rest, "company", "contact", 1) == [(2, 20, "Y")]
    rest.result("crm.company.delete", {"id": 1})
    assert bound(rest, "contact", "company", 2) == []


def test_a_binding_is_a_change_of_the_record(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    live_portal.add_records("deal", 1)
    rest.application("event.bind", {"event": "ONCRMDEALUPDATE", "handler": robot_handler.url})
    rest.result("crm.deal.contact.add", {"id": 1, "fields": {"CONTACT_ID": 4}})
    assert [call.fields["data"]["FIELDS"]["ID"] for call in live_portal.event_calls] == [1]


@pytest.mark.parametrize(("kind", "other"), OWNERS)
def test_what_cannot_be_bound_is_refused(rest: Any, error_of: Any, kind: str, other: str) -> None:
    number = rest.portal.add_records(kind, 1)[0]
    fields = {f"{other.upper()}_ID": 1}
    code = "NOT_FOUND" if kind == "lead" else ""
    unfit = "fields" if kind == "contact" else "item"
    for verb, params, refused, text in (
        ("add", {"fields": fields}, "", "The parameter 'ownerEntityID' is invalid or not defined."),
        ("items.get", {"id": "x"}, "", "The parameter ownerEntityID is invalid or not defined."),
        ("items.set", {"items": []}, "", "The parameter ownerEntityID is invalid or not defined."),
        ("items.set", {"id": number}, "", "The parameter items must be array."),
        ("add", {"id": number, "fields": "x"}, "", "The parameter 'fields' must be array."),
        ("delete", {"id": number}, "", f"The parameter '{unfit}' must be array."),
        ("add", {"id": number, "fields": {}}, "", "The parameter 'fields' is not valid."),
        ("delete", {"id": number, "fields": {}}, "", "The parameter 'fields' is not valid."),
        ("add", {"id": 99, "fields": fields}, code, "Not found."),
        ("items.get", {"id": 99}, code, "Not found."),
        ("items.delete", {"id": 99}, code, "Not found."),
    ):
        assert error_of(rest.webhook(f"crm.{kind}.{other}.{verb}", params)) == (400, refused, text)


def test_the_fields_of_a_binding_are_told(rest: Any) -> None:
    told = rest.result("crm.contact.company.fields")
    assert {name: (field["type"], field["isRequired"]) for name, field in told.items()} == {
        "COMPANY_ID": ("integer", True),
        "SORT": ("integer", False),
        "IS_PRIMARY": ("char", False),
    }
