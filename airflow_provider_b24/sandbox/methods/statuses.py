"""`crm.status.*`: the directories of the CRM, such as stages.

Documented on https://apidocs.bitrix24.com/api-reference/crm/status/index.html.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.directories import semantics
from airflow_provider_b24.sandbox.records.rows import Row, described, old_writer

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.records.table import Table

_FAMILY = replace(filters.CRM, no_object="Invalid parameters.")
_MEANINGS = {"S": "success", "F": "failure", "P": "process"}


def _table(call: MethodCall) -> Table:
    return call.portal.store.table("status")


def _shown(call: MethodCall, row: Row) -> dict[str, Any]:
    entry = old_writer(_table(call).fields)(row)
    if row["ENTITY_ID"] == "STATUS" or "STAGE" in row["ENTITY_ID"]:
        meaning = _MEANINGS[semantics(row["STATUS_ID"])]
        entry["EXTRA"] = {"SEMANTICS": meaning, "COLOR": row.get("COLOR")}
    return entry


def _list(call: MethodCall) -> Listing:
    # This list has no pages.
    table = _table(call)
    numbers = table.all(_FAMILY, filter_by=call.params.get("FILTER"), order=call.params.get("ORDER"))
    return Listing([_shown(call, table.row(number)) for number in numbers], len(numbers))


def _existing(call: MethodCall) -> int:
    number = call.integer("ID")
    if number <= 0:
        raise RestError(400, "", "Invalid identifier.")
    if number not in _table(call):
        raise RestError(400, "", "Status is not found.")
    return number


def _get(call: MethodCall) -> dict[str, Any]:
    return _shown(call, _table(call).row(_existing(call)))


def _given(call: MethodCall) -> dict[str, Any]:
    if not isinstance(call.params.get("FIELDS"), dict):
        raise RestError(400, "", "Parameter 'fields' must be array.")
    if not call.caller.user.admin:
        raise RestError(400, "", "Access denied.")
    return {str(name).upper(): value for name, value in call.mapping("FIELDS").items()}


def _add(call: MethodCall) -> int:
    given = _given(call)
    missing = [f"The field {name} is required." for name in ("ENTITY_ID", "STATUS_ID") if not given.get(name)]
    if missing:
        raise RestError(400, "", "<br>".join(missing))
    if given["ENTITY_ID"] not in _kinds(call):
        raise RestError(400, "", "Specified entity type is not supported.")
    if not given.get("NAME"):
        raise RestError(400, "", "The field Title is required.")
    same = {"=ENTITY_ID": given["ENTITY_ID"], "=STATUS_ID": given["STATUS_ID"]}
    if _table(call).all(filters.CRM, filter_by=same):
        raise RestError(400, "ERROR_CORE", "The specified status ID already exists.")
    return call.portal.store.create("status", given, call.caller.user.id)


def _update(call: MethodCall) -> bool:
    call.portal.store.change("status", _existing(call), _given(call), call.caller.user.id)
    return True


def _delete(call: MethodCall) -> bool:
    number = _existing(call)
    if _table(call).row(number).get("SYSTEM") == "Y" and call.mapping("PARAMS").get("FORCED") != "Y":
        text = 'CRM System Status can be deleted only if parameter FORCED is specified and equal to "Y".'
        raise RestError(400, "", text)
    call.portal.store.remove("status", number, call.caller.user.id)
    return True


def _kinds(call: MethodCall) -> list[str]:
    table = _table(call)
    return list(dict.fromkeys(table.row(number)["ENTITY_ID"] for number in table))


def _types(call: MethodCall) -> list[dict[str, Any]]:
    return [{"ID": kind, "NAME": kind.replace("_", " ").capitalize()} for kind in _kinds(call)]


def _items(call: MethodCall) -> list[dict[str, Any]]:
    table = _table(call)
    if not call.text("ENTITYID"):
        raise RestError(400, "", "The parameter entityId is not defined or invalid.")
    wanted, order = {"=ENTITY_ID": call.text("ENTITYID")}, {"SORT": "ASC"}
    rows = [table.row(number) for number in table.all(filters.CRM, filter_by=wanted, order=order)]
    return [{"NAME": row["NAME"], "SORT": row.get("SORT", 10), "STATUS_ID": row["STATUS_ID"]} for row in rows]


def _fields(call: MethodCall) -> dict[str, Any]:
    told = described(_table(call).fields)
    extra = {**told["NAME"], "type": "crm_status_extra", "isRequired": False, "title": "Extra"}
    return told | {"EXTRA": extra}


METHODS = (
    Method("crm.status.list", "crm", _list),
    Method("crm.status.get", "crm", _get),
    Method("crm.status.add", "crm", _add),
    Method("crm.status.update", "crm", _update),
    Method("crm.status.delete", "crm", _delete),
    Method("crm.status.fields", "crm", _fields),
    Method("crm.status.entity.types", "crm", _types),
    Method("crm.status.entity.items", "crm", _items),
)
