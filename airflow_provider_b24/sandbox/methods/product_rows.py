"""`crm.item.productrow.*`, and the older `crm.lead.productrows.*` and `crm.deal.productrows.*`: goods and services.

Documented on https://apidocs.bitrix24.com/api-reference/crm/universal/product-rows/index.html. There is no catalogue:
any `productId` is one, and its name and measure are made up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters, products
from airflow_provider_b24.sandbox.records.rows import described, value_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_b24.sandbox.records.table import Table

_OLDER = ("lead", "deal")
_PIECES = 796
_NOT_TOLD = ("PRICE_ACCOUNT", "XML_ID")
_OLDER_EXTRA = dict.fromkeys(
    ("PRODUCT_DESCRIPTION", "RESERVE_ID", "DATE_RESERVE_END", "RESERVE_QUANTITY"), None
)
_DEFINED = "is required if {} Discount Type (DISCOUNT_TYPE_ID) is defined"


def _table(call: MethodCall) -> Table:
    return call.portal.store.table(products.KIND)


def _written(call: MethodCall, numbers: Iterable[int]) -> list[dict[str, Any]]:
    table = _table(call)
    write = value_writer(table.fields)
    return [write(table.row(number)) for number in numbers]


def _fields(call: MethodCall) -> dict[str, Any]:
    fields = [field for field in _table(call).fields if field.name not in _NOT_TOLD]
    told = described(fields, items=True)
    for field in fields:
        told[field.item_name] |= {"type": field.type.name, "isImmutable": field.immutable}
        del told[field.item_name]["upperName"]
    return {"fields": told}


def _list(call: MethodCall) -> Listing:
    call.require("filter")
    given = {str(name).lower() for name in call.mapping("FILTER")}
    if not {"=ownertype", "=ownerid"} <= given:
        raise RestError(
            400, "INVALID_ARG_VALUE", "Invalid filter: fields '=ownerType' and '=ownerId' are required"
        )
    rows, total, following = _table(call).page(
        filters.PRODUCT_ROW,
        filter_by=call.params.get("FILTER"),
        order=call.params.get("ORDER"),
        start=call.integer("START"),
        default_order={"id": "ASC"},
    )
    return Listing({"productRows": _written(call, [row["ID"] for row in rows])}, total, following)


def _get(call: MethodCall) -> dict[str, Any]:
    return {"productRow": _written(call, [_existing(call)])[0]}


def _add(call: MethodCall) -> dict[str, Any]:
    call.require("fields")
    given = _plain(call.mapping("FIELDS"))
    for name in ("ownerId", "ownerType"):
        if given.get(name.upper()) in (None, ""):
            raise RestError(400, "100", f"Could not find value for parameter {{{name}}}")
    kind, owner = _owner(call, given["OWNERTYPE"], given["OWNERID"])
    number = _create(call, kind, owner, call.mapping("FIELDS"))
    call.portal.store.sum_up(kind, owner, call.caller.user.id)
    return {"productRow": _written(call, [number])[0]}


def _update(call: MethodCall) -> dict[str, Any]:
    number = _existing(call)
    call.require("fields")
    table, given = _table(call), call.mapping("FIELDS")
    for name in given:
        field = table.field_named(str(name))
        if field is None or field.read_only or field.immutable:
            text = f"Field '{name}' is unknown or not available for update"
            raise RestError(400, "INVALID_ARG_VALUE", text)
    call.portal.store.change(products.KIND, number, given, call.caller.user.id, strict=True)
    _sum_up(call, table.row(number))
    return {"productRow": _written(call, [number])[0]}


def _delete(call: MethodCall) -> None:
    number = _existing(call)
    row = _table(call).row(number)
    call.portal.store.remove(products.KIND, number, call.caller.user.id)
    _sum_up(call, row)


def _set(call: MethodCall) -> dict[str, Any]:
    for name in ("ownerId", "ownerType", "productRows"):
        call.require(name)
    kind, owner = _owner(call, call.text("OWNERTYPE"), call.integer("OWNERID"))
    given = call.sequence("PRODUCTROWS")
    for row in given:
        call.portal.store.check(products.KIND, row if isinstance(row, dict) else {})
    _replace(call, kind, owner, given)
    rows = products.rows_of(_table(call), kind, owner)
    return {"productRows": _written(call, rows)}


def _older_get(kind: str) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> list[dict[str, Any]]:
        table = _table(call)
        rows = map(table.get, products.rows_of(table, kind, _older_owner(call, kind)))
        return [
            row
            | {
                "ID": str(row["ID"]),
                "OWNER_ID": str(row["OWNER_ID"]),
                "ORIGINAL_PRODUCT_NAME": row["PRODUCT_NAME"],
                "PRICE_ACCOUNT": f"{row['PRICE_ACCOUNT']:.2f}",
            }
            | _OLDER_EXTRA
            for row in rows
            if row is not None
        ]

    return run


def _older_set(kind: str) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        if call.integer("ID") > 0 and not isinstance(call.params.get("ROWS"), dict | list):
            raise RestError(400, "", "The parameter rows must be array.")
        owner = _older_owner(call, kind)
        rows = call.sequence("ROWS")
        for row in rows:
            _check_discount(_plain(row) if isinstance(row, dict) else {})
        # Newer methods number the rows, older ones leave that to the caller.
        numbered = [{"SORT": 0} | row for row in rows if isinstance(row, dict)]
        _replace(call, kind, owner, numbered, strict=False)
        return True

    return run


def _older_owner(call: MethodCall, kind: str) -> int:
    number = call.integer("ID")
    if number <= 0:
        raise RestError(400, "", "The parameter id is invalid or not defined.")
    if number not in call.portal.store.table(kind):
        raise RestError(400, "", "Not found.")
    return number


def _check_discount(given: Mapping[str, Any]) -> None:
    kind, rate, amount = (given.get(name) for name in ("DISCOUNTTYPEID", "DISCOUNTRATE", "DISCOUNTSUM"))
    problem = ""
    if str(kind) == str(products.MONETARY) and amount is None:
        problem = f"Discount Sum (DISCOUNT_SUM) {_DEFINED.format('Monetary')}"
    elif str(kind) == str(products.PERCENTAGE) and rate is None:
        problem = f"Discount Rate (DISCOUNT_RATE) {_DEFINED.format('Percentage')}"
    elif str(kind) == str(products.PERCENTAGE) and str(rate) in ("100", "100.0") and amount is None:
        needed = _DEFINED.format("Percentage")
        problem = f"Discount Sum (DISCOUNT_SUM) {needed} and Discount Rate (DISCOUNT_RATE) is 100%"
    if problem:
        raise RestError(400, "ERROR_CORE", f"{problem}<br>")


def _owner(call: MethodCall, code: object, number: object) -> tuple[str, int]:
    kind = products.owner_kind(str(code))
    if kind is None or kind not in call.portal.store.kinds():
        raise RestError(400, "ENTITY_TYPE_NOT_SUPPORTED", "Entity type is not supported")
    try:
        owner = int(str(number))
    except ValueError:
        owner = 0
    if owner not in call.portal.store.table(kind):
        raise RestError(400, "OWNER_NOT_FOUND", "Owner was not found")
    return kind, owner


def _existing(call: MethodCall) -> int:
    call.require("id")
    number = call.integer("ID")
    if number not in _table(call):
        raise RestError(400, "NOT_FOUND", "Item not found")
    return number


def _replace(call: MethodCall, kind: str, owner: int, rows: list[Any], *, strict: bool = True) -> None:
    """Let a record have these rows and no others; one with the number of a row of it changes that.

    :param strict: refuse values that do not fit; else they count as nothing, as the older methods have it.
    """
    store, user_id = call.portal.store, call.caller.user.id
    left = set(products.rows_of(_table(call), kind, owner))
    for row in rows:
        given = row if isinstance(row, dict) else {}
        text = str(_plain(given).get("ID", ""))
        number = int(text) if text.isdecimal() else 0
        if number in left:
            left.remove(number)
            store.change(products.KIND, number, given, user_id, strict=strict)
        else:
            _create(call, kind, owner, given, strict=strict)
    for number in left:
        store.remove(products.KIND, number, user_id)
    store.sum_up(kind, owner, user_id)


def _create(call: MethodCall, kind: str, owner: int, given: Mapping[str, Any], *, strict: bool = True) -> int:
    table, plain = _table(call), _plain(given)
    made: dict[str, Any] = dict(given)
    product = plain.get("PRODUCTID")
    if not plain.get("PRODUCTNAME"):
        made["PRODUCT_NAME"] = f"Product {product}" if product else f"[{table.next_number}]"
    if product and "MEASURECODE" not in plain:
        made["MEASURE_CODE"] = _PIECES
    if "SORT" not in plain:
        rows = products.rows_of(table, kind, owner)
        made["SORT"] = max((table.row(row).get("SORT", 0) for row in rows), default=0) + 10
    made = {name: value for name, value in made.items() if str(name).upper().replace("_", "") != "ID"}
    made |= {"OWNER_ID": owner, "OWNER_TYPE": products.owner_code(kind)}
    return call.portal.store.create(products.KIND, made, call.caller.user.id, strict=strict)


def _sum_up(call: MethodCall, row: Mapping[str, Any]) -> None:
    kind, owner = products.owner_kind(str(row.get("OWNER_TYPE"))), row.get("OWNER_ID")
    if kind is not None and owner in call.portal.store.table(kind):
        call.portal.store.sum_up(kind, int(str(owner)), call.caller.user.id)


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given by names without regard to case and underscores."""
    return {str(name).upper().replace("_", ""): value for name, value in given.items()}


METHODS = (
    Method("crm.item.productrow.fields", "crm", _fields),
    Method("crm.item.productrow.list", "crm", _list),
    Method("crm.item.productrow.get", "crm", _get),
    Method("crm.item.productrow.add", "crm", _add),
    Method("crm.item.productrow.update", "crm", _update),
    Method("crm.item.productrow.delete", "crm", _delete),
    Method("crm.item.productrow.set", "crm", _set),
    *(
        Method(f"crm.{kind}.productrows.{verb}", "crm", make(kind))
        for kind in _OLDER
        for verb, make in (("get", _older_get), ("set", _older_set))
    ),
)
