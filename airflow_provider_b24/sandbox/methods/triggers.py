"""`crm.automation.trigger.*`: an application tells the CRM that something has happened, and a record moves.

Documented on https://apidocs.bitrix24.com/api-reference/crm/automation/triggers/index.html. Which stage a trigger is on
is set up by :meth:`~airflow_provider_b24.sandbox.SandboxPortal.add_trigger`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_b24.sandbox.errors import RestError, access_denied
from airflow_provider_b24.sandbox.method import Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.directories import stage_directory

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.records.table import Table

_CODE = re.compile(r"[a-z0-9._-]+", re.IGNORECASE)


def _client_id(call: MethodCall) -> str:
    if not call.caller.user.admin:
        raise access_denied("Access denied! Admin permissions required", 400)
    return call.application("Access denied! Application context required", 400).client_id


def _code(call: MethodCall) -> str:
    code = call.text("CODE")
    if not code:
        raise RestError(400, "", "Empty trigger code!")
    if not _CODE.fullmatch(code):
        raise RestError(400, "", "Wrong trigger code!")
    return code


def _add(call: MethodCall) -> bool:
    client_id, code = _client_id(call), _code(call)
    if not call.text("NAME"):
        raise RestError(400, "", "Empty trigger name!")
    call.portal.triggers.register(client_id, code, call.text("NAME"))
    return True


def _list(call: MethodCall) -> list[dict[str, str]]:
    registered = call.portal.triggers.registered(_client_id(call))
    return [{"NAME": name, "CODE": code} for code, name in registered.items()]


def _delete(call: MethodCall) -> bool:
    client_id, code = _client_id(call), _code(call)
    if code not in call.portal.triggers.registered(client_id):
        raise RestError(400, "", "Trigger not found")
    call.portal.triggers.delete(client_id, code)
    return True


def _execute(call: MethodCall) -> bool:
    client_id, code = _client_id(call), _code(call)
    if code not in call.portal.triggers.registered(client_id):
        raise RestError(400, "", f"Trigger with code {code} is not registered.")
    table = call.portal.store.of_type(call.integer("OWNER_TYPE_ID"))
    if table is None:
        raise RestError(400, "", "Incorrect parameter OWNER_TYPE_ID.")
    number = call.integer("OWNER_ID")
    if number <= 0:
        raise RestError(400, "", "Incorrect parameter OWNER_ID.")
    # The answer says that CRM has heard of it, not that anything has moved.
    if number in table:
        _move(call, client_id, code, table, number)
    return True


def _move(call: MethodCall, client_id: str, code: str, table: Table, number: int) -> None:
    store, schema = call.portal.store, table.schema
    directory = store.table("status")
    wanted, order = {"=ENTITY_ID": stage_directory(schema.kind)}, {"SORT": "ASC", "ID": "ASC"}
    numbers = directory.all(filters.CRM, filter_by=wanted, order=order)
    stages = [directory.row(entry)["STATUS_ID"] for entry in numbers]
    now = str(store.value(schema.kind, number, schema.stage))
    stage = call.portal.triggers.stage(client_id, code, schema.kind, stages, now)
    if stage is not None:
        store.change(schema.kind, number, {schema.stage: stage}, call.caller.user.id)


METHODS = (
    Method("crm.automation.trigger.add", "crm", _add),
    Method("crm.automation.trigger.list", "crm", _list),
    Method("crm.automation.trigger.delete", "crm", _delete),
    Method("crm.automation.trigger.execute", "crm", _execute),
)
