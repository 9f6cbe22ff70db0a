"""Products of records: rows, their prices, and the sum of the record."""

from __future__ import annotations

from typing import Any

import pytest

OWNERS = [("lead", "L", 1), ("deal", "D", 2), ("item:147", "T93", 147), ("item:31", "SI", 31)]


def add(rest: Any, code: str = "D", **fields: Any) -> dict[str, Any]:
    given = {"ownerId": 1, "ownerType": code, **fields}
    row: dict[str, Any] = rest.result("crm.item.productrow.add", {"fields": given})["productRow"]
    return row


def item(rest: Any, entity_type_id: int = 2) -> dict[str, Any]:
    found: dict[str, Any] = rest.result("crm.item.get", {"entityTypeId": entity_type_id, "id": 1})["item"]
    return found


def test_prices_follow_from_the_price_with_discount_and_tax(rest: Any) -> None:
    rest.portal.add_records("deal", 1)
    row = add(rest, productId=9621, price=80000, quantity=2, discountRate=20, taxRate=20, taxIncluded="Y")
    assert {name: row[name] for name in ("priceExclusive", "priceNetto", "priceBrutto", "discountSum")} == {
        "priceExclusive": 66666.67,
        "priceNetto": 83333.34,
        "priceBrutto": 100000.01,
        "discountSum": 16666.67,
    }
    assert (row["measureCode"], row["measureName"], row["sort"], row["ownerType"]) == (796, "pcs", 10, "D")
    absolute = add(rest, productName="Case", price="90", discountTypeId=1, discountSum=10)
    assert (absolute["priceNetto"], absolute["discountRate"], absolute["taxRate"]) == (100, 10, None)
    assert (absolute["productName"], absolute["quantity"], absolute["sort"]) == ("Case", 1, 20)


@pytest.mark.parametrize(("kind", "code", "entity_type_id"), OWNERS)
def test_a_record_costs_what_its_products_cost(rest: Any, kind: str, code: str, entity_type_id: int) -> None:
    rest.portal.add_records(kind, [{"OPPORTUNITY": 5}])
    first = add(rest, code, price=100, quantity=3)["id"]
    second = add(rest, code, price=12, taxRate=20)["id"]
    assert item(rest, entity_type_id)["opportunity"] == 312
    rest.result("crm.item.productrow.update", {"id": first, "fields": {"quantity": 1, "price": "50.5"}})
    assert item(rest, entity_type_id)["opportunity"] == 62.5
    # The sum stays that of the products, whatever somebody writes.
    changed = {"entityTypeId": entity_type_id, "id": 1, "fields": {"opportunity": 7}}
    assert rest.result("crm.item.update", changed)["item"]["opportunity"] == 62.5
    assert rest.result("crm.item.productrow.delete", {"id": first}) is None
    assert item(rest, entity_type_id)["opportunity"] == 12
    if kind != "lead":
        assert item(rest, entity_type_id)["taxValue"] == 2
    rest.result("crm.item.productrow.delete", {"id": second})
    assert item(rest, entity_type_id)["opportunity"] == 0


def test_a_sum_that_was_set_by_hand_stays(rest: Any) -> None:
    rest.portal.add_records("deal", [{"OPPORTUNITY": 5, "IS_MANUAL_OPPORTUNITY": "Y"}])
    add(rest, price=100)
    assert item(rest)["opportunity"] == 5
    rest.result("crm.deal.update", {"id": 1, "fields": {"OPPORTUNITY": 6}})
    assert item(rest)["opportunity"] == 6
    rest.result("crm.deal.update", {"id": 1, "fields": {"IS_MANUAL_OPPORTUNITY": "N"}})
    assert item(rest)["opportunity"] == 100


def test_rows_are_read_listed_and_replaced(rest: Any, error_of: Any) -> None:
    rest.portal.add_records("deal", 2)
    for price in (1, 2, 3):
        add(rest, productName=f"for {price}", price=price)
    add(rest, ownerId=2, price=99)
    where = {"=ownerType": "D", "=ownerId": 1}
    answer = rest.webhook(
        "crm.item.productrow.list", {"filter": {**where, ">price": 1}, "order": {"price": "desc"}}
    ).json()
    assert ([row["id"] for row in answer["result"]["productRows"]], answer["total"]) == ([3, 2], 2)
    assert rest.result("crm.item.productrow.get", {"id": 2})["productRow"]["productName"] == "for 2"
    kept = {"id": 2, "price": 20}
    given = {"ownerId": 1, "ownerType": "D", "productRows": [kept, {"productName": "new", "price": 5}]}
    rows = rest.result("crm.item.productrow.set", given)["productRows"]
    assert [(row["id"], row["price"]) for row in rows] == [(2, 20), (5, 5)]
    assert item(rest)["opportunity"] == 25
    assert error_of(rest.webhook("crm.item.productrow.get", {"id": 1})) == (
        400,
        "NOT_FOUND",
        "Item not found",
    )
    rest.result("crm.deal.delete", {"id": 1})
    assert rest.webhook("crm.item.productrow.get", {"id": 2}).status_code == 400
    assert rest.result("crm.item.productrow.get", {"id": 4})["productRow"]["price"] == 99


@pytest.mark.parametrize(("kind", "code"), [("lead", "L"), ("deal", "D")])
def test_older_methods_have_the_same_rows(rest: Any, kind: str, code: str) -> None:
    rest.portal.add_records(kind, 1)
    rows = [
        {"PRODUCT_ID": 5, "PRICE": 22175.328, "DISCOUNT_RATE": 40, "TAX_RATE": 12, "SORT": 30},
        {"PRICE": "10", "QUANTITY": 2, "SORT": 20},
    ]
    assert rest.result(f"crm.{kind}.productrows.set", {"id": 1, "rows": rows}) is True
    first, second = rest.result(f"crm.{kind}.productrows.get", {"id": 1})
    assert (first["ID"], first["OWNER_TYPE"], first["PRODUCT_NAME"]) == ("2", code, "[2]")
    assert (first["PRICE_ACCOUNT"], first["PRICE"], first["MEASURE_CODE"]) == ("10.00", 10, 0)
    assert (second["PRICE_EXCLUSIVE"], second["PRICE_NETTO"], second["PRICE_BRUTTO"]) == (
        19799.4,
        32999,
        36958.88,
    )
    newer = rest.result("crm.item.productrow.list", {"filter": {"=ownerType": code, "=ownerId": 1}})
    assert [row["id"] for row in newer["productRows"]] == [1, 2]
    assert rest.result(f"crm.{kind}.get", {"id": 1})["OPPORTUNITY"] == "22195.33"
    rest.result(f"crm.{kind}.productrows.set", {"id": 1, "rows": []})
    assert rest.result(f"crm.{kind}.productrows.get", {"id": 1}) == []


def test_a_set_with_a_wrong_row_changes_nothing(rest: Any, error_of: Any) -> None:
    rest.portal.add_records("deal", 1)
    add(rest, price=3)
    given = {"ownerId": 1, "ownerType": "D", "productRows": [{"price": 4}, {"price": "much"}]}
    refused = error_of(rest.webhook("crm.item.productrow.set", given))
    assert refused[:2] == (400, "CRM_FIELD_ERROR_VALUE_NOT_VALID")
    assert item(rest)["opportunity"] == 3
    # For the older methods it is nothing.
    rows = [{"PRICE": "much", "QUANTITY": "some"}, {"PRICE": 4}]
    rest.result("crm.deal.productrows.set", {"id": 1, "rows": rows})
    assert [row["QUANTITY"] for row in rest.result("crm.deal.productrows.get", {"id": 1})] == [1, 1]
    assert item(rest)["opportunity"] == 4


def test_products_are_a_change_of_the_record(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    live_portal.add_records("deal", 1)
    rest.application("event.bind", {"event": "ONCRMDEALUPDATE", "handler": robot_handler.url})
    row = add(rest, price=1)["id"]
    rest.result("crm.item.productrow.update", {"id": row, "fields": {"price": 2}})
    rest.result("crm.item.productrow.delete", {"id": row})
    assert [call.fields["event"] for call in live_portal.event_calls] == ["ONCRMDEALUPDATE"] * 3


def test_seeded_products_make_the_sum_of_their_record(live_portal: Any) -> None:
    live_portal.add_records("deal", 1)
    live_portal.add_records("productrow", [{"ownerType": "D", "ownerId": 1, "price": 4, "quantity": 2}] * 2)
    assert live_portal.records("deal").get(1)["OPPORTUNITY"] == 16


@pytest.mark.parametrize(
    ("verb", "params", "code", "text"),
    [
        ("add", {}, "100", "Could not find value for parameter {fields}"),
        ("add", {"fields": {"ownerType": "D"}}, "100", "Could not find value for parameter {ownerId}"),
        ("add", {"fields": {"ownerType": "C", "ownerId": 1}}, "ENTITY_TYPE_NOT_SUPPORTED", ""),
        ("add", {"fields": {"ownerType": "T999", "ownerId": 1}}, "ENTITY_TYPE_NOT_SUPPORTED", ""),
        ("add", {"fields": {"ownerType": "D", "ownerId": 7}}, "OWNER_NOT_FOUND", "Owner was not found"),
        (
            "add",
            {"fields": {"ownerType": "D", "ownerId": 1, "price": "much"}},
            "CRM_FIELD_ERROR_VALUE_NOT_VALID",
            'Invalid value for field "price"',
        ),
        ("set", {"ownerType": "D", "ownerId": 1}, "100", "Could not find value for parameter {productRows}"),
        ("update", {"id": 1, "fields": {"ownerId": 2}}, "INVALID_ARG_VALUE", "Field 'ownerId'"),
        ("update", {"id": 1, "fields": {"colour": 2}}, "INVALID_ARG_VALUE", "Field 'colour'"),
        ("delete", {}, "100", "Could not find value for parameter {id}"),
        ("delete", {"id": 9}, "NOT_FOUND", "Item not found"),
        ("list", {}, "100", "Could not find value for parameter {filter}"),
        ("list", {"filter": {"=ownerId": 1}}, "INVALID_ARG_VALUE", "Invalid filter"),
    ],
)
def test_rows_that_cannot_be_are_refused(
    rest: Any, error_of: Any, verb: str, params: Any, code: str, text: str
) -> None:
    rest.portal.add_records("deal", 1)
    add(rest, price=3)
    status, said, description = error_of(rest.webhook(f"crm.item.productrow.{verb}", params))
    assert (status, said) == (400, code)
    assert description.startswith(text)
    assert item(rest)["opportunity"] == 3


@pytest.mark.parametrize(
    ("params", "code", "text"),
    [
        ({"rows": []}, "", "The parameter id is invalid or not defined."),
        ({"id": 1}, "", "The parameter rows must be array."),
        ({"id": 7, "rows": []}, "", "Not found."),
        ({"id": 1, "rows": [{"DISCOUNT_TYPE_ID": 2}]}, "ERROR_CORE", "Discount Rate (DISCOUNT_RATE) is"),
        ({"id": 1, "rows": [{"DISCOUNT_TYPE_ID": "1"}]}, "ERROR_CORE", "Discount Sum (DISCOUNT_SUM) is"),
        (
            {"id": 1, "rows": [{"DISCOUNT_TYPE_ID": 2, "DISCOUNT_RATE": 100}]},
            "ERROR_CORE",
            "Discount Sum (DISCOUNT_SUM) is required if Percentage Discount Type (DISCOUNT_TYPE_ID) is defined"
            " and Discount Rate (DISCOUNT_RATE) is 100%<br>",
        ),
    ],
)
def test_older_methods_refuse_what_the_page_says(
    rest: Any, error_of: Any, params: Any, code: str, text: str
) -> None:
    rest.portal.add_records("lead", 1)
    status, said, description = error_of(rest.webhook("crm.lead.productrows.set", params))
    assert (status, said) == (400, code)
    assert description.startswith(text)


def test_the_fields_of_a_row_are_told(rest: Any) -> None:
    told = rest.result("crm.item.productrow.fields")["fields"]
    assert (told["ownerId"]["isImmutable"], told["ownerId"]["isRequired"]) == (True, True)
    assert (told["priceNetto"]["isReadOnly"], told["taxIncluded"]["type"]) == (True, "char")
