"""`crm.deal.recurring.*`: templates that deals are made of again and again.

Documented on https://apidocs.bitrix24.com/api-reference/crm/deals/recurring-deals/index.html. The names of fields are
those of `crm.deal.recurring.fields` in every answer. Time alone makes no deals here: `expose` does.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox import notices
from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters, products
from airflow_provider_b24.sandbox.records.fields import Field, FieldType
from airflow_provider_b24.sandbox.records.recurring import (
    UNITS,
    day_of,
    moment_of,
    moved,
    next_day,
    read_params,
)
from airflow_provider_b24.sandbox.records.rows import described, old_writer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_b24.sandbox.records.table import Table

_KIND = "recurring"
_WRITABLE = ("ACTIVE", "CATEGORY_ID", "IS_LIMIT", "LIMIT_REPEAT")
# What a deal has of its own, and does not take over from the one it is made of.
_OWN = frozenset(
    {
        "ID",
        "BEGINDATE",
        "CLOSEDATE",
        "DATE_CREATE",
        "DATE_MODIFY",
        "LAST_ACTIVITY_TIME",
        "MOVED_TIME",
        "IS_RECURRING",
        "CREATED_BY_ID",
        "MODIFY_BY_ID",
        "MOVED_BY_ID",
        "LAST_ACTIVITY_BY",
    }
)


def _table(call: MethodCall) -> Table:
    return call.portal.store.table(_KIND)


def _fields(call: MethodCall) -> dict[str, Any]:
    told = described(_table(call).fields)
    for name in ("ACTIVE", "CATEGORY_ID", "IS_LIMIT"):
        told[name]["type"] = "char"
    params = read_params({})
    told["PARAMS"] |= {
        "type": "recurring_params",
        "definition": described(
            Field(name, FieldType("string" if name in ("MODE", *UNITS) else "integer")) for name in params
        ),
    }
    return told


def _list(call: MethodCall) -> Listing:
    table, given = _table(call), call.params.get("FILTER")
    if isinstance(given, dict):
        given = {name: value for name, value in given.items() if not str(name).upper().endswith("PARAMS")}
    rows, total, following = table.page(
        filters.CRM,
        filter_by=given,
        order=call.params.get("ORDER"),
        start=call.integer("START"),
        default_order={"ID": "ASC"},
    )
    write = old_writer(table.fields)
    return Listing([write(row) for row in rows], total, following)


def _get(call: MethodCall) -> dict[str, Any]:
    table = _table(call)
    return old_writer(table.fields)(table.row(_existing(call)))


def _add(call: MethodCall) -> int:
    given, store = _given(call), call.portal.store
    try:
        deal = int(str(given.get("DEAL_ID")))
    except ValueError:
        deal = 0
    if deal <= 0:
        raise RestError(400, "", "Deal id is empty.")
    if deal not in store.table("deal"):
        raise RestError(400, "", "Access denied.")
    made: dict[str, Any] = {"ACTIVE": "Y", "IS_LIMIT": "N", "DEAL_ID": deal, "PARAMS": read_params({})}
    if store.value("deal", deal, "IS_RECURRING") == "Y":
        if _table(call).all(filters.CRM, filter_by={"=DEAL_ID": deal}):
            raise RestError(400, "", "Deal already has recurring settings.")
    else:
        template = {**_copied(call, deal), "IS_RECURRING": "Y"}
        made |= {"DEAL_ID": store.seed("deal", [template])[0], "BASED_ID": deal}
        _copy_products(call, deal, made["DEAL_ID"])
    made |= _read(given)
    [number] = store.seed(_KIND, [made | _next(call, made)])
    _tell(call, "ADD", number, RECURRING_DEAL_ID=made["DEAL_ID"])
    return number


def _update(call: MethodCall) -> bool:
    number, given = _existing(call), _given(call)
    table = _table(call)
    _keep(call, number, {**table.row(number), **_read(given)})
    _tell(call, "UPDATE", number, RECURRING_DEAL_ID=table.row(number)["DEAL_ID"])
    return True


def _delete(call: MethodCall) -> bool:
    number = _existing(call)
    if _table(call).row(number)["DEAL_ID"] in call.portal.store.table("deal"):
        raise RestError(400, "", "Deleting is impossible. Connected recurring deal exists.")
    call.portal.store.remove(_KIND, number, call.caller.user.id)
    _tell(call, "DELETE", number)
    return True


def _expose(call: MethodCall) -> dict[str, int]:
    number, store = _existing(call), call.portal.store
    row = dict(_table(call).row(number))
    template, params = row["DEAL_ID"], read_params(row.get("PARAMS") or {})
    if template not in store.table("deal"):
        raise RestError(400, "", "Recurring deal is not found.")
    today = _today(call)
    fields = {**_copied(call, template), "IS_RECURRING": "N"}
    category = str(row.get("CATEGORY_ID") or fields.get("CATEGORY_ID") or 0)
    # A new deal begins at the beginning, whatever became of the one it is made of.
    fields |= {"CATEGORY_ID": category, "STAGE_ID": "NEW" if category == "0" else f"C{category}:NEW"}
    for name in ("BEGINDATE", "CLOSEDATE"):
        unit = params[f"OFFSET_{name}_TYPE"]
        if unit is not None:
            fields[name] = moment_of(moved(today, unit, params[f"OFFSET_{name}_VALUE"]))
    deal = store.create("deal", fields, call.caller.user.id)
    _copy_products(call, template, deal)
    row |= {"COUNTER_REPEAT": (row.get("COUNTER_REPEAT") or 0) + 1, "LAST_EXECUTION": call.now()}
    _keep(call, number, row)
    _tell(call, "EXPOSE", number, RECURRING_DEAL_ID=template, DEAL_ID=deal)
    return {"DEAL_ID": deal}


def _existing(call: MethodCall) -> int:
    number = call.integer("ID")
    if number <= 0:
        raise RestError(400, "", "id is not defined or invalid.")
    if number not in _table(call):
        raise RestError(400, "", "Recurring deal is not found.")
    return number


def _given(call: MethodCall) -> dict[str, Any]:
    if not isinstance(call.params.get("FIELDS"), dict):
        raise RestError(400, "", "Parameter 'fields' must be array.")
    given = {str(name).upper(): value for name, value in call.mapping("FIELDS").items()}
    # An empty array is `[]` in JSON whatever it was meant to be.
    if not isinstance(given.get("PARAMS", {}), dict) and given["PARAMS"] != []:
        raise RestError(400, "", "Parameter 'params' must be array.")
    return given


def _read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a caller writes."""
    # What does not fit counts as nothing.
    read = {name: given[name] for name in _WRITABLE if not isinstance(given.get(name, []), list | dict)}
    for name in ("START_DATE", "LIMIT_DATE"):
        if name in given:
            read[name] = moment_of(day_of(given[name]))
    if "ACTIVE" in read:
        read["ACTIVE"] = "Y" if MethodCall.flag_of(read, "ACTIVE") else "N"
    if "IS_LIMIT" in read and read["IS_LIMIT"] not in ("D", "T"):
        read["IS_LIMIT"] = "N"
    if "LIMIT_REPEAT" in read:
        text = str(read["LIMIT_REPEAT"])
        read["LIMIT_REPEAT"] = int(text) if text.isdecimal() else None
    if isinstance(given.get("PARAMS"), dict):
        read["PARAMS"] = read_params(given["PARAMS"])
    return read


def _keep(call: MethodCall, number: int, row: Mapping[str, Any]) -> None:
    values = {name: value for name, value in row.items() if name != "ID"}
    call.portal.store.put(_KIND, number, values | _next(call, values))


def _next(call: MethodCall, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return when the next deal is made, and whether there is one at all."""
    today = _today(call)
    start = row.get("START_DATE") or moment_of(today)
    params = read_params(row.get("PARAMS") or {})
    following = next_day({**row, "START_DATE": start, "PARAMS": params}, today)
    # Who has made its last deal is not active any more.
    over = {"ACTIVE": "N"} if following is None and row.get("COUNTER_REPEAT") else {}
    return {"START_DATE": start, "NEXT_EXECUTION": moment_of(following), **over}


def _today(call: MethodCall) -> date:
    return datetime.fromtimestamp(call.portal.clock.now(), UTC).date()


def _copied(call: MethodCall, deal: int) -> dict[str, Any]:
    record = call.portal.store.table("deal").get(deal) or {}
    return {name: value for name, value in record.items() if name not in _OWN}


def _copy_products(call: MethodCall, deal: int, to: int) -> None:
    table = call.portal.store.table(products.KIND)
    rows = [dict(table.row(number)) for number in products.rows_of(table, "deal", deal)]
    for row in rows:
        row["OWNER_ID"] = to
        del row["ID"]
    call.portal.store.seed(products.KIND, rows)


def _tell(call: MethodCall, verb: str, number: int, **more: int) -> None:
    data = {"FIELDS": {"ID": number, **more}}
    notices.happened(call.portal, f"ONCRMDEALRECURRING{verb}", data, call.caller.user.id)


METHODS = (
    Method("crm.deal.recurring.fields", "crm", _fields),
    Method("crm.deal.recurring.list", "crm", _list),
    Method("crm.deal.recurring.get", "crm", _get),
    Method("crm.deal.recurring.add", "crm", _add),
    Method("crm.deal.recurring.update", "crm", _update),
    Method("crm.deal.recurring.delete", "crm", _delete),
    Method("crm.deal.recurring.expose", "crm", _expose),
)
