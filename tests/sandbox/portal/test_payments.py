"""Payments of records, what they are for, and deliveries."""

from __future__ import annotations

from typing import Any

import pytest

DEAL = {"entityId": 1, "entityTypeId": 2}
OWNER = {"ownerId": 1, "ownerType": "D"}
PAYMENT = "crm.item.payment"


@pytest.fixture
def deal(live_portal: Any) -> Any:
    """A deal with two products and two deliveries, and another deal."""
    live_portal.add_records("deal", 2)
    live_portal.add_records(
        "productrow", [{**OWNER, "price": 10, "quantity": 3}, {**OWNER, "price": 7, "quantity": 1}]
    )
    sent = {**OWNER, "accountNumber": "1/1", "priceDelivery": 79.5, "deliveryName": "Taxi"}
    live_portal.add_records("delivery", [sent, {**sent, "priceDelivery": 5}, {**sent, "ownerId": 2}])
    return live_portal


def pay_for(rest: Any, payment: int, row: int, quantity: float) -> int:
    params = {"paymentId": payment, "rowId": row, "quantity": quantity}
    return int(rest.result(f"{PAYMENT}.product.add", params))


def total(rest: Any, payment: int = 1) -> float:
    return float(rest.result(f"{PAYMENT}.get", {"id": payment})["sum"])


@pytest.mark.usefixtures("deal")
def test_a_payment_is_paid_and_unpaid(rest: Any) -> None:
    assert rest.result(f"{PAYMENT}.add", DEAL) == 1
    new = {
        "id": 1,
        "accountNumber": "1/1",
        "paid": "N",
        "datePaid": None,
        "empPaidId": None,
        "paySystemId": 1,
        "paySystemName": "Cash",
        "sum": 0,
        "currency": "USD",
    }
    assert rest.result(f"{PAYMENT}.get", {"id": 1}) == new
    assert rest.result(f"{PAYMENT}.pay", {"id": 1}) is True
    paid = rest.result(f"{PAYMENT}.get", {"id": 1})
    assert (paid["paid"], paid["empPaidId"]) == ("Y", 1)
    assert paid["datePaid"]
    assert rest.result(f"{PAYMENT}.list", DEAL) == [paid]
    # What is paid is not paid again by somebody else.
    assert rest.employee(f"{PAYMENT}.pay", {"id": 1}).json()["result"] is True
    assert rest.result(f"{PAYMENT}.get", {"id": 1}) == paid
    assert rest.result(f"{PAYMENT}.unpay", {"id": 1}) is True
    assert rest.result(f"{PAYMENT}.get", {"id": 1}) == new
    changed = {"id": 1, "fields": {"paid": "Y", "paySystemId": 3}}
    assert rest.result(f"{PAYMENT}.update", changed) is True
    now = rest.result(f"{PAYMENT}.get", {"id": 1})
    assert (now["paid"], now["paySystemId"], now["paySystemName"]) == ("Y", 3, "Bank transfer")


@pytest.mark.usefixtures("deal")
def test_payments_are_those_of_a_record(rest: Any) -> None:
    for number in (1, 1, 2):
        rest.result(f"{PAYMENT}.add", {**DEAL, "entityId": number})
    rest.result(f"{PAYMENT}.pay", {"id": 2})

    def listed(**how: Any) -> list[str]:
        return [row["accountNumber"] for row in rest.result(f"{PAYMENT}.list", {**DEAL, **how})]

    assert listed() == ["1/1", "1/2"]
    assert listed(order={"id": "desc"}) == ["1/2", "1/1"]
    assert listed(filter={"=paid": "Y"}) == ["1/2"]
    rest.result(f"{PAYMENT}.delete", {"id": 1})
    assert listed() == ["1/2"]
    rest.result("crm.deal.delete", {"id": 1})
    assert [row["ID"] for row in rest.portal.records("payment").rows()] == [3]


@pytest.mark.usefixtures("deal")
def test_a_product_is_paid_for_once(rest: Any, error_of: Any) -> None:
    for _ in range(2):
        rest.result(f"{PAYMENT}.add", DEAL)

    def available() -> list[tuple[int, float]]:
        rows = rest.result("crm.item.productrow.getAvailableForPayment", OWNER)["productRows"]
        return [(row["id"], row["quantity"]) for row in rows]

    assert available() == [(1, 3), (2, 1)]
    item = pay_for(rest, 1, 1, 2)
    pay_for(rest, 2, 2, 1)
    assert (total(rest, 1), total(rest, 2)) == (20, 7)
    assert available() == [(1, 1)]
    too_much = {"paymentId": 2, "rowId": 1, "quantity": 2}
    refused = error_of(rest.webhook(f"{PAYMENT}.product.add", too_much))
    assert refused == (400, 0, "Insufficient product quantity to add to payment")
    assert rest.result(f"{PAYMENT}.product.setQuantity", {"id": item, "quantity": 3}) is True
    listed = rest.result(f"{PAYMENT}.product.list", {"paymentId": 1, "filter": {}})
    assert listed == [{"id": item, "paymentId": 1, "quantity": 3, "rowId": 1}]
    assert (available(), total(rest)) == ([], 30)
    refused = error_of(rest.webhook(f"{PAYMENT}.product.setQuantity", {"id": item, "quantity": 4}))
    assert refused == (400, 0, "Insufficient product quantity to add to payment")
    assert rest.result(f"{PAYMENT}.product.delete", {"id": item}) is True
    assert (available(), total(rest)) == ([(1, 3)], 0)
    rest.result(f"{PAYMENT}.delete", {"id": 2})
    assert available() == [(1, 3), (2, 1)]
    # A product that is gone is in no payment any more.
    pay_for(rest, 1, 2, 1)
    rest.result("crm.item.productrow.delete", {"id": 2})
    assert rest.result(f"{PAYMENT}.product.list", {"paymentId": 1, "filter": {}}) == []


@pytest.mark.usefixtures("deal")
def test_a_payment_is_for_deliveries_too(rest: Any) -> None:
    rest.result(f"{PAYMENT}.add", DEAL)
    item = rest.result(f"{PAYMENT}.delivery.add", {"paymentId": 1, "deliveryId": 1})
    assert total(rest) == 79.5
    assert rest.result(f"{PAYMENT}.delivery.setDelivery", {"id": item, "deliveryId": 2}) is True
    listed = rest.result(f"{PAYMENT}.delivery.list", {"paymentId": 1, "filter": {"quantity": 1}})
    assert listed == [{"id": item, "paymentId": 1, "quantity": 1, "deliveryId": 2}]
    assert total(rest) == 5
    assert rest.result(f"{PAYMENT}.delivery.delete", {"id": item}) is True
    assert total(rest) == 0


@pytest.mark.usefixtures("deal")
def test_deliveries_of_a_record_are_read(rest: Any) -> None:
    first, second = rest.result("crm.item.delivery.list", {**DEAL, "order": {"priceDelivery": "asc"}})
    assert (first["id"], second["id"]) == (2, 1)
    assert rest.result("crm.item.delivery.get", {"id": 1}) == {
        "id": 1,
        "accountNumber": "1/1",
        "deducted": "N",
        "dateDeducted": None,
        "deliveryId": 1,
        "deliveryName": "Taxi",
        "priceDelivery": 79.5,
        "currency": "USD",
    }


@pytest.mark.parametrize(
    ("method", "params", "code", "text"),
    [
        ("payment.add", {"entityTypeId": 2}, "100", "Could not find value for parameter {entityId}"),
        ("payment.add", {**DEAL, "entityTypeId": 1}, 0, "Entity type is not supported"),
        ("payment.add", {**DEAL, "entityTypeId": 999}, 0, "Entity type is not supported"),
        ("payment.add", {**DEAL, "entityId": 99}, 0, "Entity with identifier №99 does not exist"),
        ("payment.get", {}, "100", "Could not find value for parameter {id}"),
        ("payment.get", {"id": 99}, 0, "Insufficient permissions"),
        ("payment.pay", {"id": 99}, 0, "Insufficient permissions"),
        ("payment.update", {"id": 1}, "100", "Could not find value for parameter {fields}"),
        ("payment.update", {"id": 1, "fields": {"paySystemId": 99}}, 0, "Payment system not found"),
        ("payment.list", {**DEAL, "filter": {"colour": 1}}, 0, "Invalid filter: "),
        ("payment.product.list", {"paymentId": 1}, "100", "Could not find value for parameter {filter}"),
        ("payment.product.list", {"paymentId": 9, "filter": {}}, 0, "Payment has not been found"),
        ("payment.product.add", {"paymentId": 1, "rowId": 1}, "100", "Could not find value for"),
        ("payment.product.add", {"paymentId": 9, "rowId": 1, "quantity": 1}, 0, "Payment has not been found"),
        ("payment.product.add", {"paymentId": 1, "rowId": 9, "quantity": 1}, 0, "Product item not found"),
        ("payment.product.add", {"paymentId": 1, "rowId": 1, "quantity": 0}, 0, "Product quantity cannot be"),
        ("payment.product.setQuantity", {"id": 9, "quantity": 1}, 0, "Payable item has not been found"),
        ("payment.product.delete", {"id": 9}, 0, "Payable item has not been found"),
        # A delivery of another deal.
        ("payment.delivery.add", {"paymentId": 1, "deliveryId": 3}, 0, "Delivery item not found"),
        ("payment.delivery.setDelivery", {"id": 9, "deliveryId": 1}, 0, "Payable item has not been found"),
        ("delivery.get", {"id": 99}, 0, "Insufficient permissions"),
        ("productrow.getAvailableForPayment", {"ownerId": 1}, "100", "Could not find value for"),
        ("productrow.getAvailableForPayment", {**OWNER, "ownerId": 99}, "ACCESS_DENIED", "Access denied"),
    ],
)
@pytest.mark.usefixtures("deal")
def test_what_cannot_be_paid_is_refused(
    rest: Any, error_of: Any, method: str, params: Any, code: Any, text: str
) -> None:
    rest.result(f"{PAYMENT}.add", DEAL)
    status, said, description = error_of(rest.webhook(f"crm.item.{method}", params))
    assert (status, said) == (400, code)
    assert description.startswith(text)
