"""`crm.item.payment.*`, `crm.item.delivery.*`: what the customer of a record pays for, and what is sent to whom.

Documented on https://apidocs.bitrix24.com/api-reference/crm/universal/payment/index.html and its neighbours. Deliveries
are put into the portal by `portal.add_records("delivery", …)`: the methods that make them are those of `sale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Method, MethodCall
from airflow_provider_b24.sandbox.records import filters, products
from airflow_provider_b24.sandbox.records.rows import value_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_b24.sandbox.records.table import Table

#: The pay systems there are.
PAY_SYSTEMS = {1: "Cash", 2: "Card", 3: "Bank transfer"}
_OWNER_FIELDS = ("OWNER_ID", "OWNER_TYPE")


@dataclass(frozen=True, slots=True)
class _Payable:
    """What is paid for by a payment: a product or a delivery.

    :param kind: the kind of the records that say so.
    :param thing: the kind of what is paid for.
    :param key: the field that names it.
    :param missing: what is said when it is not there.
    """

    name: str
    kind: str
    thing: str
    key: str
    missing: str


_PRODUCT = _Payable("product", "paymentproduct", products.KIND, "ROW_ID", "Product item not found")
_DELIVERY = _Payable("delivery", "paymentdelivery", "delivery", "DELIVERY_ID", "Delivery item not found")


def _refusal(text: str) -> RestError:
    return RestError(400, 0, text)


def _owner(call: MethodCall) -> tuple[str, int]:
    """Return kind and number of the record that a call is about."""
    for name in ("entityId", "entityTypeId"):
        call.require(name)
    table = call.portal.store.of_type(call.integer("ENTITYTYPEID"))
    # Leads have products, and nobody pays for them.
    if table is None or not products.owner_code(table.schema.kind) or table.schema.kind == "lead":
        raise _refusal("Entity type is not supported")
    number = call.integer("ENTITYID")
    if number not in table:
        raise _refusal(f"Entity with identifier №{number} does not exist")
    return table.schema.kind, number


def _existing(call: MethodCall, kind: str, name: str = "id", text: str = "Insufficient permissions") -> int:
    call.require(name)
    number = call.integer(name.upper())
    if number not in call.portal.store.table(kind):
        raise _refusal(text)
    return number


def _written(table: Table, numbers: list[int]) -> list[dict[str, Any]]:
    write = value_writer(field for field in table.fields if field.name not in _OWNER_FIELDS)
    return [write(table.row(number)) for number in numbers]


def _get(kind: str) -> Callable[[MethodCall], Any]:
    return lambda call: _written(call.portal.store.table(kind), [_existing(call, kind)])[0]


def _list(kind: str) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> list[dict[str, Any]]:
        owner, number = _owner(call)
        table = call.portal.store.table(kind)
        mine = set(products.rows_of(table, owner, number))
        return _written(table, [found for found in _filtered(call, table) if found in mine])

    return run


def _filtered(call: MethodCall, table: Table) -> list[int]:
    order = call.params.get("ORDER") or {"ID": "ASC"}
    return list(table.all(filters.PAYMENT, filter_by=call.params.get("FILTER"), order=order))


def _add(call: MethodCall) -> int:
    kind, number = _owner(call)
    store = call.portal.store
    table, owner = store.table("payment"), store.table(kind).get(number) or {}
    numbers = [
        int(str(table.row(payment).get("ACCOUNT_NUMBER") or "0").rpartition("/")[2])
        for payment in products.rows_of(table, kind, number)
    ]
    made = {
        "OWNER_ID": number,
        "OWNER_TYPE": products.owner_code(kind),
        "ACCOUNT_NUMBER": f"{number}/{max(numbers, default=0) + 1}",
        "CURRENCY": owner.get("CURRENCY_ID"),
    }
    return store.create("payment", made, call.caller.user.id)


def _delete(call: MethodCall) -> bool:
    call.portal.store.remove("payment", _existing(call, "payment"), call.caller.user.id)
    return True


def _set_paid(paid: str) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        _change(call, _existing(call, "payment"), _paid(call, paid))
        return True

    return run


def _paid(call: MethodCall, paid: str) -> dict[str, Any]:
    """Return what a payment has that is paid, or is not any more."""
    if paid == "N":
        return {"PAID": "N", "DATE_PAID": None, "EMP_PAID_ID": None}
    return {"PAID": "Y", "DATE_PAID": call.now(), "EMP_PAID_ID": call.caller.user.id}


def _update(call: MethodCall) -> bool:
    number = _existing(call, "payment")
    call.require("fields")
    given, values = call.mapping("FIELDS"), {}
    if "paySystemId" in given:
        chosen = str(given["paySystemId"])
        name = PAY_SYSTEMS.get(int(chosen)) if chosen.isdecimal() else None
        if name is None:
            raise _refusal("Payment system not found")
        values = {"PAY_SYSTEM_ID": int(chosen), "PAY_SYSTEM_NAME": name}
    if "paid" in given:
        values |= _paid(call, "Y" if call.flag_of(given, "paid") else "N")
    _change(call, number, values)
    return True


def _change(call: MethodCall, payment: int, values: Mapping[str, Any]) -> None:
    row = call.portal.store.table("payment").row(payment)
    if values.get("PAID") == row.get("PAID", "N"):
        # What is paid is not paid again.
        values = {name: value for name, value in values.items() if name.startswith("PAY_")}
    if values:
        call.portal.store.change("payment", payment, values, call.caller.user.id)


def _add_payable(payable: _Payable) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> int:
        item = _name(payable)
        for name in ("paymentId", item, *(["quantity"] if payable is _PRODUCT else [])):
            call.require(name)
        payment = _existing(call, "payment", "paymentId", "Payment has not been found")
        thing = _thing(call, payable, payment, call.integer(item.upper()))
        made: dict[str, Any] = {"PAYMENT_ID": payment, payable.key: thing}
        if payable is _PRODUCT:
            made["QUANTITY"] = _quantity(call, thing)
        number = call.portal.store.create(payable.kind, made, call.caller.user.id)
        _sum_up(call, payment)
        return number

    return run


def _list_payables(payable: _Payable) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> list[dict[str, Any]]:
        payment = _existing(call, "payment", "paymentId", "Payment has not been found")
        call.require("filter")
        table = call.portal.store.table(payable.kind)
        found = _filtered(call, table)
        return _written(table, [number for number in found if table.row(number)["PAYMENT_ID"] == payment])

    return run


def _delete_payable(payable: _Payable) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        number = _existing_payable(call, payable)
        payment = call.portal.store.table(payable.kind).row(number)["PAYMENT_ID"]
        call.portal.store.remove(payable.kind, number, call.caller.user.id)
        _sum_up(call, payment)
        return True

    return run


def _set_quantity(call: MethodCall) -> bool:
    number = _existing_payable(call, _PRODUCT)
    call.require("quantity")
    row = call.portal.store.table(_PRODUCT.kind).row(number)
    quantity = _quantity(call, row["ROW_ID"], but=number)
    call.portal.store.change(_PRODUCT.kind, number, {"QUANTITY": quantity}, call.caller.user.id)
    _sum_up(call, row["PAYMENT_ID"])
    return True


def _set_delivery(call: MethodCall) -> bool:
    number = _existing_payable(call, _DELIVERY)
    call.require("deliveryId")
    payment = call.portal.store.table(_DELIVERY.kind).row(number)["PAYMENT_ID"]
    thing = _thing(call, _DELIVERY, payment, call.integer("DELIVERYID"))
    call.portal.store.change(_DELIVERY.kind, number, {"DELIVERY_ID": thing}, call.caller.user.id)
    _sum_up(call, payment)
    return True


def _existing_payable(call: MethodCall, payable: _Payable) -> int:
    return _existing(call, payable.kind, text="Payable item has not been found")


def _name(payable: _Payable) -> str:
    return "rowId" if payable is _PRODUCT else "deliveryId"


def _thing(call: MethodCall, payable: _Payable, payment: int, number: int) -> int:
    """Return the number of what is paid for; it belongs to the record that the payment belongs to."""
    table, owner = call.portal.store.table(payable.thing), call.portal.store.table("payment").row(payment)
    if number not in table or any(table.row(number).get(name) != owner[name] for name in _OWNER_FIELDS):
        raise _refusal(payable.missing)
    return number


def _quantity(call: MethodCall, row: int, but: int = 0) -> float:
    """Return how much of a product a caller wants to have paid.

    :param but: the item of a payment that is not counted, as it is the one that is changed.
    """
    try:
        quantity = float(call.text("QUANTITY"))
    except ValueError:
        quantity = 0.0
    if quantity <= 0:
        raise _refusal("Product quantity cannot be less than or equal to 0")
    if quantity > _left(call, row, but):
        raise _refusal("Insufficient product quantity to add to payment")
    return quantity


def _left(call: MethodCall, row: int, but: int = 0) -> float:
    """Return how much of a product row no payment is for."""
    table = call.portal.store.table(_PRODUCT.kind)
    items = table.all(filters.ITEM, filter_by={"=rowId": row})
    used = sum(table.row(item).get("QUANTITY", 1.0) for item in items if item != but)
    return float((call.portal.store.table(products.KIND).row(row).get("QUANTITY", 1.0) or 0.0) - used)


def _sum_up(call: MethodCall, payment: int) -> None:
    """Let a payment be about as much money as what it is for."""
    total = 0.0
    for payable, price in ((_PRODUCT, "PRICE"), (_DELIVERY, "PRICE_DELIVERY")):
        table, things = call.portal.store.table(payable.kind), call.portal.store.table(payable.thing)
        for number in table.all(filters.ITEM, filter_by={"=paymentId": payment}):
            row = table.row(number)
            total += row.get("QUANTITY", 1.0) * (things.row(row[payable.key]).get(price) or 0.0)
    call.portal.store.change("payment", payment, {"SUM": round(total, 2)}, call.caller.user.id)


def _available(call: MethodCall) -> dict[str, Any]:
    for name in ("ownerId", "ownerType"):
        call.require(name)
    kind, number = products.owner_kind(call.text("OWNERTYPE")), call.integer("OWNERID")
    store = call.portal.store
    if kind is None or kind not in store.kinds() or number not in store.table(kind):
        raise RestError(400, "ACCESS_DENIED", "Access denied")
    table = store.table(products.KIND)
    write = value_writer(table.fields)
    rows = []
    for row in products.rows_of(table, kind, number):
        left = _left(call, row)
        if left > 0:
            rows.append(write({**table.row(row), "QUANTITY": left}))
    return {"productRows": rows}


METHODS = (
    Method("crm.item.payment.add", "crm", _add),
    Method("crm.item.payment.get", "crm", _get("payment")),
    Method("crm.item.payment.list", "crm", _list("payment")),
    Method("crm.item.payment.update", "crm", _update),
    Method("crm.item.payment.delete", "crm", _delete),
    Method("crm.item.payment.pay", "crm", _set_paid("Y")),
    Method("crm.item.payment.unpay", "crm", _set_paid("N")),
    *(
        Method(f"crm.item.payment.{payable.name}.{verb}", "crm", make(payable))
        for payable in (_PRODUCT, _DELIVERY)
        for verb, make in (("add", _add_payable), ("list", _list_payables), ("delete", _delete_payable))
    ),
    Method("crm.item.payment.product.setQuantity", "crm", _set_quantity),
    Method("crm.item.payment.delivery.setDelivery", "crm", _set_delivery),
    Method("crm.item.productrow.getAvailableForPayment", "crm", _available),
    Method("crm.item.delivery.get", "crm", _get("delivery")),
    Method("crm.item.delivery.list", "crm", _list("delivery")),
)
