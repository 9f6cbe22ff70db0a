"""`crm.item.*`: records of any type of the CRM, smart processes included.

Documented on https://apidocs.bitrix24.com/api-reference/crm/universal/index.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.rows import described, item_writer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_b24.sandbox.records.table import Table

#: How many records `crm.item.batchImport` takes.
BATCH = 20


def _table(call: MethodCall) -> Table:
    call.require("entityTypeId")
    table = call.portal.store.of_type(call.integer("ENTITYTYPEID"))
    if table is None:
        raise RestError(400, "NOT_FOUND", "SPA not found")
    return table


def _existing(call: MethodCall, table: Table) -> int:
    call.require("id")
    number = call.integer("ID")
    if number not in table:
        raise RestError(400, "NOT_FOUND", "Item not found")
    return number


def _written(call: MethodCall, table: Table, number: int) -> dict[str, Any]:
    original = call.flag("USEORIGINALUFNAMES")
    return {"item": item_writer(table, [], original_names=original)(table.row(number))}


def _fields(call: MethodCall) -> dict[str, Any]:
    table, original = _table(call), call.flag("USEORIGINALUFNAMES")
    fields = described(table.fields, items=True, original_names=original)
    if "CONTACT_IDS" in table.schema.fields:
        # The same people once more, by their older name.
        fields["contacts"] = {**fields["contactIds"], "title": "CONTACTS", "upperName": "CONTACTS"}
    return {"fields": fields}


def _list(call: MethodCall) -> Listing:
    table = _table(call)
    rows, total, following = table.page(
        filters.ITEM,
        filter_by=call.params.get("FILTER"),
        order=call.params.get("ORDER"),
        start=call.integer("START"),
        default_order={"id": "ASC"},
    )
    select, original = call.sequence("SELECT"), call.flag("USEORIGINALUFNAMES")
    write = item_writer(table, select, original_names=original)
    return Listing({"items": [write(row) for row in rows]}, total, following)


def _get(call: MethodCall) -> dict[str, Any]:
    table = _table(call)
    return _written(call, table, _existing(call, table))


def _add(call: MethodCall) -> dict[str, Any]:
    table = _table(call)
    return _written(call, table, _create(call, table, _given(call)))


def _create(call: MethodCall, table: Table, given: Mapping[str, Any]) -> int:
    return call.portal.store.create(table.schema.kind, given, call.caller.user.id, strict=True)


def _update(call: MethodCall) -> dict[str, Any]:
    table = _table(call)
    number = _existing(call, table)
    call.portal.store.change(table.schema.kind, number, _given(call), call.caller.user.id, strict=True)
    return _written(call, table, number)


def _delete(call: MethodCall) -> list[Any]:
    table = _table(call)
    call.portal.store.remove(table.schema.kind, _existing(call, table), call.caller.user.id)
    return []


def _import(call: MethodCall) -> dict[str, Any]:
    table = _table(call)
    return {"item": {"id": _create(call, table, _given(call))}}


def _batch_import(call: MethodCall) -> dict[str, Any]:
    table = _table(call)
    call.require("data")
    given = call.sequence("DATA")
    if len(given) > BATCH:
        raise RestError(400, "MAX_IMPORT_BATCH_SIZE_EXCEEDED", f"You cannot import more than {BATCH} items")
    items: list[dict[str, Any]] = []
    for fields in given:
        try:
            items.append({"item": {"id": _create(call, table, fields if isinstance(fields, dict) else {})}})
        except RestError as error:
            items.append(dict(error.body()))
    return {"items": items}


def _given(call: MethodCall) -> dict[str, Any]:
    call.require("fields")
    return call.mapping("FIELDS")


METHODS = (
    Method("crm.item.fields", "crm", _fields),
    Method("crm.item.list", "crm", _list),
    Method("crm.item.get", "crm", _get),
    Method("crm.item.add", "crm", _add),
    Method("crm.item.update", "crm", _update),
    Method("crm.item.delete", "crm", _delete),
    Method("crm.item.import", "crm", _import),
    Method("crm.item.batchImport", "crm", _batch_import),
)
