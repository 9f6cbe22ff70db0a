"""`department.*`: the structure of the company.

Documented on https://apidocs.bitrix24.com/api-reference/departments/index.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_b24.sandbox.records.table import Table


def _table(call: MethodCall) -> Table:
    return call.portal.store.table("department")


def _get(call: MethodCall) -> Listing:
    table = _table(call)
    sort = call.text("SORT")
    # `SORT` is the field to sort by, unless it is a number: then it is the field of that name.
    by_field = "" if sort.isdecimal() else sort
    filter_by = {
        name: value
        for name, value in call.params.items()
        if name in table.schema.fields and not (name == "SORT" and by_field)
    }
    rows, total, following = table.page(
        filters.DEPARTMENT,
        filter_by=filter_by,
        order={by_field: call.text("ORDER") or "ASC"} if by_field else None,
        start=call.integer("START"),
        default_order={"ID": call.text("ORDER") or "ASC"},
    )
    return Listing([_row(table, row) for row in rows], total, following)


def _row(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {}
    for field in table.fields:
        value = row.get(field.name, field.default)
        if value is not None:
            shown[field.name] = value if field.name == "SORT" else str(value)
    return shown


def _administrator(call: MethodCall) -> None:
    if not call.caller.user.admin:
        raise RestError(400, "ERROR_CORE", "Access denied")


def _existing(call: MethodCall) -> int:
    _administrator(call)
    number = call.integer("ID")
    if number not in _table(call):
        raise RestError(400, "ERROR_CORE", "Department not found")
    return number


def _check(call: MethodCall, number: int = 0) -> None:
    if (number == 0 or "NAME" in call.params) and not call.text("NAME").strip():
        raise RestError(400, "ERROR_CORE", "Department name not provided.<br>")
    root = number != 0 and _table(call).row(number).get("PARENT") is None
    if (number == 0 or "PARENT" in call.params) and not root and call.integer("PARENT") not in _table(call):
        text = "There can only be one top-level department in the company structure"
        raise RestError(400, "ERROR_CORE", text)


def _add(call: MethodCall) -> int:
    _administrator(call)
    _check(call)
    return call.portal.store.create("department", call.params, call.caller.user.id)


def _update(call: MethodCall) -> bool:
    number = _existing(call)
    _check(call, number)
    call.portal.store.change("department", number, call.params, call.caller.user.id)
    return True


def _delete(call: MethodCall) -> bool:
    call.portal.store.remove("department", _existing(call), call.caller.user.id)
    return True


def _fields(call: MethodCall) -> dict[str, str]:
    return {field.name: field.title for field in _table(call).fields}


METHODS = (
    Method("department.get", "department", _get),
    Method("department.add", "department", _add),
    Method("department.update", "department", _update),
    Method("department.delete", "department", _delete),
    Method("department.fields", "department", _fields),
)
