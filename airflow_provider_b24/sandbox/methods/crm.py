"""`crm.lead.*`, `crm.deal.*`, `crm.contact.*`, `crm.company.*`: the older methods of the CRM.

Documented on https://apidocs.bitrix24.com/api-reference/crm/leads/index.html and its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.rows import described, old_record, old_selection, old_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KINDS = ("lead", "deal", "contact", "company")
# Only these pages have texts of their own for a record that is not there.
_MISSING = {
    ("company", "update"): "Company is not found",
    ("company", "delete"): "Company is not found",
    ("contact", "update"): "Contact is not found",
}
_BY_NUMBER = {"ID": "ASC"}


def _fields(kind: str) -> Callable[[MethodCall], Any]:
    return lambda call: described(call.portal.store.table(kind).fields)


def _list(kind: str) -> Callable[[MethodCall], Any]:
    family = filters.CRM_LEAD if kind == "lead" else filters.CRM

    def run(call: MethodCall) -> Listing:
        table = call.portal.store.table(kind)
        rows, total, following = table.page(
            family,
            filter_by=call.params.get("FILTER"),
            order=call.params.get("ORDER"),
            start=call.integer("START"),
            default_order=_BY_NUMBER,
        )
        write = old_writer(old_selection(table, call.sequence("SELECT")))
        return Listing([write(row) for row in rows], total, following)

    return run


def _get(kind: str) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> dict[str, Any]:
        table = call.portal.store.table(kind)
        return old_record(table, table.row(_existing(call, kind)))

    return run


def _add(kind: str) -> Callable[[MethodCall], Any]:
    return lambda call: call.portal.store.create(kind, _given(call), call.caller.user.id)


def _update(kind: str) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        number = _existing(call, kind, _MISSING.get((kind, "update"), "Not found"))
        call.portal.store.change(kind, number, _given(call), call.caller.user.id)
        return True

    return run


def _delete(kind: str) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        missing = _MISSING.get((kind, "delete"), "Not found")
        call.portal.store.remove(kind, _existing(call, kind, missing), call.caller.user.id)
        return True

    return run


def _existing(call: MethodCall, kind: str, missing: str = "Not found") -> int:
    number = call.integer("ID")
    if number <= 0:
        raise RestError(400, "", "ID is not defined or invalid")
    if number not in call.portal.store.table(kind):
        raise RestError(400, "", missing)
    return number


def _given(call: MethodCall) -> Mapping[str, Any]:
    for name in ("FIELDS", "PARAMS"):
        # An empty array is `[]` in JSON whatever it was meant to be.
        if name in call.params and not isinstance(call.params[name], dict) and call.params[name] != []:
            raise RestError(400, "", f"Parameter '{name.lower()}' must be array")
    return call.mapping("FIELDS")


METHODS = tuple(
    Method(f"crm.{kind}.{verb}", "crm", make(kind))
    for kind in _KINDS
    for verb, make in (
        ("fields", _fields),
        ("list", _list),
        ("get", _get),
        ("add", _add),
        ("update", _update),
        ("delete", _delete),
    )
)
