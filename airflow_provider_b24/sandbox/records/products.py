"""Product rows of records: their prices, and the sum of their owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.records import filters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_b24.sandbox.records.table import Table

#: The kind of the records that product rows are.
KIND = "productrow"
#: Discounts: a sum of money, or a part of the price.
MONETARY, PERCENTAGE = 1, 2
_CODES = {"lead": "L", "deal": "D", "item:31": "SI"}
_MEASURES = {6: "m", 112: "l", 163: "g", 166: "kg", 796: "pcs"}


def owner_code(kind: str) -> str:
    """Return what product rows call the kind of their owner: `D` for `deal`, `T93` for `item:147`.

    Empty for records that have no products.
    """
    if kind in _CODES:
        return _CODES[kind]
    return f"T{int(kind.removeprefix('item:')):x}" if kind.startswith("item:") else ""


def owner_kind(code: str) -> str | None:
    """Return the kind of an owner, `None` where there is no such kind, or none with products."""
    for kind, known in _CODES.items():
        if code == known:
            return kind
    try:
        return f"item:{int(code[1:], 16)}" if code[:1] == "T" else None
    except ValueError:
        return None


def rows_of(table: Table, kind: str, number: int) -> list[int]:
    """Return the numbers of the product rows of a record, by their sort index; also of its payments and deliveries."""
    if not len(table):
        return []
    order = {name: "ASC" for name in ("SORT", "ID") if name in table.schema.fields}
    found = table.all(filters.ITEM, filter_by={"=ownerId": number}, order=order)
    return [row for row in found if table.row(row).get("OWNER_TYPE") == owner_code(kind)]


def totals(table: Table, kind: str, number: int) -> dict[str, float]:
    """Return the sum and the tax of a record, as its products have them."""
    total = tax = 0.0
    for row in map(table.get, rows_of(table, kind, number)):
        if row is not None:
            quantity = row["QUANTITY"] or 0.0
            total += row["PRICE"] * quantity
            tax += (row["PRICE"] - row["PRICE_EXCLUSIVE"]) * quantity
    return {"OPPORTUNITY": round(total, 2), "TAX_VALUE": round(tax, 2)}


def completed(values: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what follows from the fields of a product row.

    The price is what one piece costs with discount and tax; all other prices are computed from it.

    :param values: what someone writes.
    :param before: the row as it is, if there is one.
    """
    row = {**(before or {}), **values}
    # Nothing is as good as no value at all.
    price, rate, tax, amount = (
        float(row.get(name) or 0) for name in ("PRICE", "DISCOUNT_RATE", "TAX_RATE", "DISCOUNT_SUM")
    )
    exclusive = round(price / (1 + tax / 100), 2)
    if row.get("DISCOUNT_TYPE_ID") == MONETARY:
        netto = round(exclusive + amount, 2)
        rate = round(amount / netto * 100, 2) if netto else 0.0
    elif rate < 100:
        netto = round(exclusive / (1 - rate / 100), 2)
        amount = round(netto - exclusive, 2)
    else:
        # Nobody knows the price of what is given away, so its discount says it.
        netto = round(exclusive + amount, 2)
    told: dict[str, Any] = {
        "PRICE": price,
        "PRICE_ACCOUNT": price,
        "PRICE_EXCLUSIVE": exclusive,
        "PRICE_NETTO": netto,
        "PRICE_BRUTTO": round(netto * (1 + tax / 100), 2),
        "DISCOUNT_RATE": rate,
        "DISCOUNT_SUM": amount,
    }
    if "MEASURE_CODE" in values and not values.get("MEASURE_NAME"):
        told["MEASURE_NAME"] = _MEASURES.get(values["MEASURE_CODE"] or 0, "")
    return told
