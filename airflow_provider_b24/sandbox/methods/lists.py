"""List data in the three shapes Bitrix24 has: bare rows, rows under `items`, rows under `tasks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.rest import Listing, Method, MethodCall

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.records import Page, RecordStore


def _page(call: MethodCall, store: RecordStore) -> Page:
    return store.page(
        filter_by=call.mapping("FILTER"),
        order=call.mapping("ORDER") or {"ID": "ASC"},
        select=[str(name) for name in call.sequence("SELECT")],
        start=call.integer("START"),
    )


def _lead_list(call: MethodCall) -> Listing:
    page = _page(call, call.portal.records("lead"))
    return Listing(page.rows, page.total, page.next)


def _lead_get(call: MethodCall) -> dict[str, object]:
    lead = call.portal.records("lead").get(call.integer("ID"))
    if lead is None:
        raise RestError(400, "", "Not found")
    return lead


def _lead_add(call: MethodCall) -> int:
    fields = {name: value for name, value in call.mapping("FIELDS").items() if name.upper() != "ID"}
    number = call.portal.records("lead").add(fields)
    call.portal.fire_event("ONCRMLEADADD", {"FIELDS": {"ID": number}}, user_id=call.caller.user.id)
    return number


def _item_list(call: MethodCall) -> Listing:
    kind = call.integer("ENTITYTYPEID")
    if not kind:
        raise RestError(400, "100", "Could not find value for parameter {entityTypeId}")
    page = _page(call, call.portal.records(f"item:{kind}"))
    return Listing({"items": page.rows}, page.total, page.next)


def _task_list(call: MethodCall) -> Listing:
    page = _page(call, call.portal.records("task"))
    return Listing({"tasks": page.rows}, page.total, page.next)


METHODS = (
    Method("crm.lead.list", "crm", _lead_list),
    Method("crm.lead.get", "crm", _lead_get),
    Method("crm.lead.add", "crm", _lead_add),
    Method("crm.item.list", "crm", _item_list),
    Method("tasks.task.list", "task", _task_list),
)
