"""What a portal's users make of the CRM: fields of their own, and the entries of directories."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("kind", ["lead", "deal", "contact", "company"])
def test_an_own_field_lives_from_add_to_delete(rest: Any, error_of: Any, kind: str) -> None:
    given = {"FIELD_NAME": "SCORE", "USER_TYPE_ID": "integer", "LABEL": "Score", "MANDATORY": "N"}
    number = rest.result(f"crm.{kind}.userfield.add", {"fields": given})
    made = rest.result(f"crm.{kind}.userfield.get", {"id": number})
    assert (made["FIELD_NAME"], made["EDIT_FORM_LABEL"], made["ENTITY_ID"]) == (
        "UF_CRM_SCORE",
        {"en": "Score"},
        f"CRM_{kind.upper()}",
    )
    assert rest.result(f"crm.{kind}.fields")["UF_CRM_SCORE"]["type"] == "integer"
    for score in (9, 100):
        rest.result(f"crm.{kind}.add", {"fields": {"UF_CRM_SCORE": score}})
    # As a number: as text, 9 is more than 100.
    found = rest.result(f"crm.{kind}.list", {"filter": {">UF_CRM_SCORE": 10}, "select": ["ID", "UF_*"]})
    assert found == [{"ID": "2", "UF_CRM_SCORE": "100"}]
    assert rest.result(f"crm.{kind}.userfield.update", {"id": number, "fields": {"SORT": 5}}) is True
    assert [row["SORT"] for row in rest.result(f"crm.{kind}.userfield.list", {"order": {"SORT": "ASC"}})] == [
        "5"
    ]
    [named] = rest.result(f"crm.{kind}.userfield.list", {"filter": {"LANG": "en"}})
    assert named["LIST_COLUMN_LABEL"] == "Score"
    [unnamed] = rest.result(f"crm.{kind}.userfield.list")
    assert "LIST_COLUMN_LABEL" not in unnamed
    assert rest.result(f"crm.{kind}.userfield.delete", {"id": number}) is True
    assert error_of(rest.webhook(f"crm.{kind}.userfield.get", {"id": number}))[1] == "ERROR_NOT_FOUND"
    assert rest.webhook(f"crm.{kind}.list", {"filter": {"UF_CRM_SCORE": 9}}).status_code == 400


def test_what_a_list_can_be_has_numbers(rest: Any, error_of: Any) -> None:
    choices = [{"VALUE": "Jazz", "DEF": "Y"}, {"VALUE": ""}, {"VALUE": "Rock", "DEF": "Y", "SORT": 20}]
    given = {"FIELD_NAME": "RADIO", "USER_TYPE_ID": "enumeration", "LIST": choices}
    first = rest.result("crm.deal.userfield.add", {"fields": given})
    rest.result("crm.lead.userfield.add", {"fields": {**given, "MULTIPLE": "Y"}})

    def listed(kind: str) -> list[tuple[str, str, str, str]]:
        (field,) = rest.result(f"crm.{kind}.userfield.list")
        assert all(choice["XML_ID"] for choice in field["LIST"])
        return [tuple(choice[name] for name in ("ID", "VALUE", "SORT", "DEF")) for choice in field["LIST"]]

    assert listed("deal") == [("1", "Jazz", "0", "Y"), ("2", "Rock", "20", "N")]
    assert listed("lead") == [("3", "Jazz", "0", "Y"), ("4", "Rock", "20", "Y")]
    changes = [{"ID": 1, "DEL": "Y"}, {"ID": 2, "VALUE": "Pop"}, {"VALUE": "Folk"}]
    rest.result("crm.deal.userfield.update", {"id": first, "fields": {"LIST": changes}})
    assert listed("deal") == [("2", "Pop", "20", "N"), ("5", "Folk", "0", "N")]
    twice = {"LIST": [{"VALUE": "a", "XML_ID": "x"}, {"VALUE": "b", "XML_ID": "x"}]}
    refused = error_of(rest.webhook("crm.deal.userfield.update", {"id": first, "fields": twice}))
    assert refused == (400, "ERROR_CORE", "List item with XML_ID=x already exists.")


def test_an_own_field_may_hold_many_values(rest: Any) -> None:
    given = {"FIELD_NAME": "UF_CRM_TAGS", "USER_TYPE_ID": "string", "MULTIPLE": "Y"}
    rest.result("crm.deal.userfield.add", {"fields": given})
    number = rest.result("crm.deal.add", {"fields": {"UF_CRM_TAGS": ["a", "b"]}})
    item = rest.result("crm.item.get", {"entityTypeId": 2, "id": number})["item"]
    assert item["ufCrm_tags"] == ["a", "b"]
    assert rest.result(
        "crm.item.list", {"entityTypeId": 2, "filter": {"ufCrm_tags": "b"}, "select": ["id"]}
    ) == {"items": [{"id": number}]}


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"USER_TYPE_ID": "string"}, "", "The 'FIELD_NAME' field is not found."),
        ({"FIELD_NAME": "X"}, "", "The 'USER_TYPE_ID' field is not found."),
        ({"FIELD_NAME": "X", "USER_TYPE_ID": "colour"}, "ERROR_CORE", "Invalid custom type specified."),
        ({"FIELD_NAME": "x" * 44, "USER_TYPE_ID": "string"}, "ERROR_CORE", "Field name is too long"),
        ({"FIELD_NAME": "a-b", "USER_TYPE_ID": "string"}, "ERROR_CORE", "Field name contains invalid"),
    ],
)
def test_an_own_field_that_cannot_be_is_refused(
    rest: Any, error_of: Any, fields: Any, code: str, text: str
) -> None:
    status, said, description = error_of(rest.webhook("crm.lead.userfield.add", {"fields": fields}))
    assert (status, said) == (400, code)
    assert description.startswith(text)


def test_employees_have_own_fields_too(rest: Any) -> None:
    rest.result("user.userfield.add", {"fields": {"FIELD_NAME": "TEAM", "USER_TYPE_ID": "string"}})
    rest.result("user.update", {"ID": 2, "UF_USR_TEAM": "blue"})
    assert [user["ID"] for user in rest.result("user.get", {"FILTER": {"UF_USR_TEAM": "Blue"}})] == ["2"]
    assert [field["FIELD_NAME"] for field in rest.result("user.userfield.list")] == ["UF_USR_TEAM"]


def test_stages_are_read_added_changed_and_deleted(rest: Any, error_of: Any) -> None:
    stages = rest.result("crm.status.entity.items", {"entityId": "DEAL_STAGE"})
    assert [stage["STATUS_ID"] for stage in stages][:2] == ["NEW", "PREPARATION"]
    fields = {"ENTITY_ID": "DEAL_STAGE", "STATUS_ID": "CHECK", "NAME": "Check", "SORT": 25}
    number = rest.result("crm.status.add", {"fields": fields})
    assert rest.result("crm.status.update", {"id": number, "fields": {"NAME": "Look"}}) is True
    read = rest.result("crm.status.get", {"id": number})
    assert (read["NAME"], read["SYSTEM"], read["EXTRA"]["SEMANTICS"]) == ("Look", "N", "process")
    won = rest.result("crm.status.list", {"filter": {"ENTITY_ID": "DEAL_STAGE", "STATUS_ID": "WON"}})[0]
    assert (won["SEMANTICS"], won["EXTRA"]["SEMANTICS"]) == ("S", "success")
    assert "FORCED" in error_of(rest.webhook("crm.status.delete", {"id": won["ID"]}))[2]
    assert rest.result("crm.status.delete", {"id": number}) is True
    assert error_of(rest.webhook("crm.status.get", {"id": number})) == (400, "", "Status is not found.")
    for wrong, text in (
        ({"NAME": "x"}, "The field ENTITY_ID is required.<br>The field STATUS_ID is required."),
        ({**fields, "ENTITY_ID": "NONE"}, "Specified entity type is not supported."),
        ({**fields, "NAME": ""}, "The field Title is required."),
        ({**fields, "STATUS_ID": "WON"}, "The specified status ID already exists."),
    ):
        assert error_of(rest.webhook("crm.status.add", {"fields": wrong}))[2] == text


def test_a_smart_process_has_stages_of_its_own(rest: Any) -> None:
    rest.portal.add_records("item:147", 1)
    stages = rest.result("crm.status.entity.items", {"entityId": "DYNAMIC_147_STAGE_1"})
    item = rest.result("crm.item.get", {"entityTypeId": 147, "id": 1})["item"]
    assert stages[0]["STATUS_ID"] == item["stageId"]
    told = rest.result("crm.item.fields", {"entityTypeId": 147})["fields"]
    assert told["stageId"]["statusType"] == "DYNAMIC_147_STAGE"
    assert {"ID": "DYNAMIC_147_STAGE_1", "NAME": "Dynamic 147 stage 1"} in rest.result(
        "crm.status.entity.types"
    )
