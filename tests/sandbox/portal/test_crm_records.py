"""The records of the CRM: one store behind the older methods, `crm.item.*` and processes."""

from __future__ import annotations

from typing import Any

import pytest

OLD = ("lead", "deal", "contact", "company")
TYPES = {"lead": 1, "deal": 2, "contact": 3, "company": 4}


@pytest.mark.parametrize("kind", OLD)
def test_a_record_lives_from_add_to_delete(live_portal: Any, rest: Any, error_of: Any, kind: str) -> None:
    title = "NAME" if kind == "contact" else "TITLE"
    number = rest.result(f"crm.{kind}.add", {"fields": {title: "One", "COMMENTS": "first"}})
    assert (
        rest.result(f"crm.{kind}.update", {"id": number, "fields": {"COMMENTS": "second", "ID": 9}}) is True
    )
    record = rest.result(f"crm.{kind}.get", {"id": number})
    assert (record["ID"], record[title], record["COMMENTS"]) == (str(number), "One", "second")
    [row] = rest.result(f"crm.{kind}.list", {"filter": {"COMMENTS": "second"}})
    # A list leaves out what a record has many of.
    assert {name: record[name] for name in row} == row
    declared = rest.result(f"crm.{kind}.fields")
    assert set(record) <= set(declared)
    assert declared["ID"]["isReadOnly"] is True
    assert rest.result(f"crm.{kind}.delete", {"id": number}) is True
    gone = "Company is not found" if kind == "company" else "Not found"
    assert error_of(rest.webhook(f"crm.{kind}.delete", {"id": number})) == (400, "", gone)
    for verb in ("get", "update"):
        own = kind in ("contact", "company") and verb == "update"
        gone = f"{kind.capitalize()} is not found" if own else "Not found"
        assert error_of(rest.webhook(f"crm.{kind}.{verb}", {"id": number})) == (400, "", gone)
        refused = error_of(rest.webhook(f"crm.{kind}.{verb}"))
        assert refused == (400, "", "ID is not defined or invalid")


@pytest.mark.parametrize("kind", OLD)
def test_older_methods_and_items_show_the_same_record(rest: Any, kind: str) -> None:
    fields = {"NAME" if kind == "contact" else "TITLE": "Same", "UF_CRM_SCORE": "7"}
    number = rest.result(f"crm.{kind}.add", {"fields": fields})
    where = {"entityTypeId": TYPES[kind], "id": number}
    item = rest.result("crm.item.get", where)["item"]
    assert (item["id"], item["name" if kind == "contact" else "title"]) == (number, "Same")
    assert (item["entityTypeId"], item["ufCrm_score"]) == (TYPES[kind], "7")
    record = rest.result(f"crm.{kind}.get", {"id": number})
    assert item["createdTime"] == record["DATE_CREATE"]
    rest.result("crm.item.update", {**where, "fields": {"comments": "from the other side"}})
    assert rest.result(f"crm.{kind}.get", {"id": number})["COMMENTS"] == "from the other side"
    renamed = rest.result("crm.item.get", {**where, "useOriginalUfNames": "Y"})["item"]
    assert renamed["UF_CRM_SCORE"] == "7"


def test_a_record_has_the_documented_defaults(rest: Any) -> None:
    deal = rest.result("crm.deal.get", {"id": rest.result("crm.deal.add", {"fields": {}})})
    assert deal["TITLE"] == "Deal #1"
    assert {name: deal[name] for name in ("STAGE_ID", "STAGE_SEMANTIC_ID", "CATEGORY_ID", "OPPORTUNITY")} == {
        "STAGE_ID": "NEW",
        "STAGE_SEMANTIC_ID": "P",
        "CATEGORY_ID": "0",
        "OPPORTUNITY": "0.00",
    }
    assert (deal["OPENED"], deal["CLOSED"], deal["ASSIGNED_BY_ID"], deal["COMPANY_ID"]) == (
        "Y",
        "N",
        "1",
        None,
    )
    mine = rest.employee("crm.deal.add", {"fields": {}}).json()["result"]
    assert rest.result("crm.deal.get", {"id": mine})["ASSIGNED_BY_ID"] == "2"


def test_a_stage_says_whether_it_is_won(rest: Any) -> None:
    number = rest.result("crm.deal.add", {"fields": {"TITLE": "x"}})
    rest.result("crm.deal.update", {"id": number, "fields": {"STAGE_ID": "C3:WON"}})
    deal = rest.result("crm.deal.get", {"id": number})
    assert (deal["STAGE_SEMANTIC_ID"], deal["CLOSED"]) == ("S", "Y")


def test_phone_numbers_are_kept_found_changed_and_removed(rest: Any) -> None:
    given = {"NAME": "Ada", "PHONE": [{"VALUE": "+49 1", "VALUE_TYPE": "HOME"}, {"VALUE": "+49 2"}]}
    number = rest.result("crm.contact.add", {"fields": given})
    contact = rest.result("crm.contact.get", {"id": number})
    first, second = contact["PHONE"]
    assert (first["VALUE"], first["VALUE_TYPE"], first["TYPE_ID"]) == ("+49 1", "HOME", "PHONE")
    assert (second["VALUE_TYPE"], contact["HAS_PHONE"], contact["HAS_EMAIL"]) == ("WORK", "Y", "N")
    found = rest.result("crm.contact.list", {"filter": {"PHONE": "+49 2"}, "select": ["ID", "PHONE"]})
    assert [row["ID"] for row in found] == [str(number)]
    assert [phone["VALUE"] for phone in found[0]["PHONE"]] == ["+49 1", "+49 2"]
    changed = [{"ID": first["ID"], "VALUE": "+49 3"}, {"ID": second["ID"], "DELETE": "Y"}]
    rest.result("crm.contact.update", {"id": number, "fields": {"PHONE": changed}})
    item = rest.result("crm.item.get", {"entityTypeId": 3, "id": number})["item"]
    [phone] = item["fm"]
    assert phone == {"id": int(first["ID"]), "typeId": "PHONE", "valueType": "HOME", "value": "+49 3"}


def test_a_selection_has_masks_for_all_fields_and_for_own_ones(rest: Any) -> None:
    rest.result("crm.lead.add", {"fields": {"TITLE": "x", "UF_CRM_A": "1", "PHONE": [{"VALUE": "1"}]}})

    def names(*select: str) -> set[str]:
        [row] = rest.result("crm.lead.list", {"select": list(select)})
        return set(row)

    assert names("UF_*") == {"ID", "UF_CRM_A"}
    assert names("TITLE") == {"ID", "TITLE"}
    assert {"ID", "TITLE"} <= names("*")
    assert not {"UF_CRM_A", "PHONE", "CONTACT_IDS"} & names("*")
    assert names("*", "UF_*") == names()
    assert names("ID", "PHONE", "NOTHING") == {"ID", "PHONE"}


@pytest.mark.parametrize("kind", OLD)
def test_older_methods_refuse_what_would_find_wrong_rows(rest: Any, error_of: Any, kind: str) -> None:
    rest.portal.add_records(kind, 3)
    for filter_by in ({"NOBODY": 1}, {"><ID": [1, 2]}, {"<>ID": 1}, {"?TITLE": "x"}, {"logic": "OR"}):
        status, code, text = error_of(rest.webhook(f"crm.{kind}.list", {"filter": filter_by}))
        assert (status, code) == (400, "")
        assert text.startswith("Failed to get list. General error.")
    for name in ("filter", "order"):
        refused = error_of(rest.webhook(f"crm.{kind}.list", {name: "ID"}))
        assert refused == (400, "", f"Parameter '{name}' must be array.")
    assert rest.webhook(f"crm.{kind}.list", {"order": {"ID": "upwards"}}).status_code == 400


def test_items_refuse_what_would_find_wrong_rows(rest: Any, error_of: Any) -> None:
    rest.portal.add_records("item:147", 3)
    where = {"entityTypeId": 147}
    assert error_of(rest.webhook("crm.item.list", {**where, "filter": {"><id": [1, 2]}})) == (
        400,
        "INVALID_ARG_VALUE",
        "Invalid filter: field '<id' is not allowed in filter",
    )
    assert error_of(rest.webhook("crm.item.list", {**where, "order": {"id": "up"}})) == (
        400,
        "INVALID_ARG_VALUE",
        "Invalid order: allowed sort directions are ASC, DESC. But got 'up' for field 'id'",
    )
    assert error_of(rest.webhook("crm.item.list")) == (
        400,
        "100",
        "Could not find value for parameter {entityTypeId}",
    )
    for verb in ("list", "add", "fields"):
        refused = error_of(rest.webhook(f"crm.item.{verb}", {"entityTypeId": 999, "fields": {}}))
        assert refused == (400, "NOT_FOUND", "SPA not found")


def test_a_smart_process_has_items_with_values_of_their_own_types(rest: Any, error_of: Any) -> None:
    rest.portal.add_records("item:147", [{"title": "first", "opportunity": 10.5}])
    where = {"entityTypeId": 147}
    fields = {"title": "second", "opportunity": "19000", "begindate": "2026-02-01", "contactIds": [4, "5"]}
    added = rest.result("crm.item.add", {**where, "fields": fields})["item"]
    assert (added["id"], added["opportunity"], added["contactIds"]) == (2, 19000, [4, 5])
    assert (added["stageId"], added["categoryId"], added["opened"]) == ("DT147_1:NEW", 1, "Y")
    assert added["entityTypeId"] == 147
    moved = {**where, "id": 2, "fields": {"stageId": "DT147_1:SUCCESS"}}
    item = rest.result("crm.item.update", moved)["item"]
    assert (item["stageId"], item["previousStageId"]) == ("DT147_1:SUCCESS", "DT147_1:NEW")
    found = rest.result(
        "crm.item.list", {**where, "filter": {">opportunity": 5}, "select": ["id", "opportunity"]}
    )
    assert found == {"items": [{"id": 1, "opportunity": 10.5}, {"id": 2, "opportunity": 19000}]}
    told = rest.result("crm.item.fields", where)["fields"]
    assert told["createdTime"]["upperName"] == "CREATED_TIME"
    assert (told["contactIds"]["isMultiple"], told["id"]["isReadOnly"]) == (True, True)
    assert rest.result("crm.item.delete", {**where, "id": 2}) == []
    assert error_of(rest.webhook("crm.item.get", {**where, "id": 2})) == (400, "NOT_FOUND", "Item not found")


def test_items_refuse_values_that_do_not_fit(rest: Any, error_of: Any) -> None:
    for fields, code, text in (
        (
            {"assignedById": "nobody"},
            "CRM_FIELD_ERROR_VALUE_NOT_VALID",
            'Invalid value for field "assignedById"',
        ),
        ({"contactIds": 5}, "100", "Expected iterable value for multiple field, but got integer instead"),
    ):
        refused = error_of(rest.webhook("crm.item.add", {"entityTypeId": 2, "fields": fields}))
        assert refused == (400, code, text)
    assert len(rest.portal.records("deal")) == 0


def test_items_are_imported_one_by_one_and_in_batches(rest: Any, error_of: Any) -> None:
    assert rest.result("crm.item.import", {"entityTypeId": 2, "fields": {"title": "a"}}) == {
        "item": {"id": 1}
    }
    told = rest.result(
        "crm.item.batchImport", {"entityTypeId": 2, "data": [{"title": "b"}, {"contactIds": 1}]}
    )
    assert told["items"][0] == {"item": {"id": 2}}
    assert told["items"][1]["error"] == "100"
    many = {"entityTypeId": 2, "data": [{"title": "x"}] * 21}
    assert error_of(rest.webhook("crm.item.batchImport", many))[1] == "MAX_IMPORT_BATCH_SIZE_EXCEEDED"


@pytest.mark.parametrize("kind", ["lead", "deal", "item:147"])
def test_subscribers_hear_of_every_change(live_portal: Any, rest: Any, robot_handler: Any, kind: str) -> None:
    live_portal.add_records(kind, 1)
    entity_type_id = TYPES.get(kind, 147)
    name = "CRMDYNAMICITEM" if kind == "item:147" else f"CRM{kind.upper()}"
    verbs = ("ADD", "UPDATE", "DELETE")
    for verb in verbs:
        rest.application("event.bind", {"event": f"ON{name}{verb}", "handler": robot_handler.url})
    where = {"entityTypeId": entity_type_id}
    number = rest.result("crm.item.add", {**where, "fields": {"title": "x"}})["item"]["id"]
    rest.result("crm.item.update", {**where, "id": number, "fields": {"title": "y"}})
    rest.result("crm.item.delete", {**where, "id": number})
    assert [call.fields["event"] for call in live_portal.event_calls] == [f"ON{name}{verb}" for verb in verbs]
    assert {call.fields["data"]["FIELDS"]["ID"] for call in live_portal.event_calls} == {number}


def test_seeded_records_are_told_to_nobody_and_checked(live_portal: Any) -> None:
    assert live_portal.add_records("deal", [{"TITLE": "a", "ID": 5, "SCORE": 3}, {"title": "b"}]) == [5, 6]
    assert live_portal.records("deal").get(5)["SCORE"] == 3
    for wrong in ({"ID": 5}, {"OPPORTUNITY": "much"}, {"CONTACT_IDS": 1}):
        with pytest.raises(ValueError, match=r"deal|OPPORTUNITY|opportunity|iterable"):
            live_portal.add_records("deal", [wrong])


def test_parts_of_texts_are_found_whatever_has_changed_since(live_portal: Any, rest: Any) -> None:
    titles = ["Piano", "Grand piano", "", "Violin", "no Piano", "an", "o\0G"]
    live_portal.add_records("lead", [{"TITLE": title} for title in titles])

    def found(part: str, **more: Any) -> list[int]:
        rows = rest.result("crm.lead.list", {"filter": {"%TITLE": part, **more}, "order": {"ID": "ASC"}})
        return [int(row["ID"]) for row in rows]

    assert found("PIANO") == [1, 2, 5]
    assert found("an") == [1, 2, 5, 6]
    # Neither from one value into the next, nor beyond the last.
    assert (found("oG"), found("anv"), found("o\0G"), found("")) == ([], [], [7], [1, 2, 3, 4, 5, 6, 7])
    assert found("piano", **{">ID": 1, "!ID": 5}) == [2]
    rest.result("crm.lead.update", {"id": 4, "fields": {"TITLE": "Pianino"}})
    rest.result("crm.lead.delete", {"id": 2})
    rest.result("crm.lead.add", {"fields": {"TITLE": "pIaN"}})
    assert found("pian") == [1, 4, 5, 8]
    assert found("lead #") == []
    assert found("2", **{"%ID": "1"}) == []
