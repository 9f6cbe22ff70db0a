"""Methods that answer, start, list and stop processes."""

from __future__ import annotations

from typing import Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.processes import DocumentId, Process, document_type
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.table import columns, cut, find
from airflow_provider_b24.sandbox.timing import iso_date

_COLUMNS = columns(
    ID="string",
    MODIFIED="datetime",
    OWNED_UNTIL="datetime",
    MODULE_ID="string",
    ENTITY="string",
    DOCUMENT_ID="string",
    STARTED="datetime",
    STARTED_BY="integer",
    TEMPLATE_ID="integer",
)
_MODULES = ("crm", "lists", "disk")


def _event_send(call: MethodCall) -> bool:
    call.portal.engine.answer(
        call.params.get("EVENT_TOKEN"),
        call.params.get("RETURN_VALUES"),
        call.text("LOG_MESSAGE"),
        call.caller.name,
    )
    return True


def _activity_log(call: MethodCall) -> bool:
    message = call.text("LOG_MESSAGE")
    if not message:
        raise RestError(400, "ERROR_EMPTY_LOG_MESSAGE", "Empty log message!")
    call.portal.engine.write_log(call.params.get("EVENT_TOKEN"), message)
    return True


def _start(call: MethodCall) -> str:
    call.administrator()
    number = call.integer("TEMPLATE_ID")
    if not number:
        raise RestError(400, "ERROR_WRONG_WORKFLOW_ID", "Empty TEMPLATE_ID")
    template = call.portal.templates.get(number)
    if template is None:
        raise RestError(400, "ERROR_WRONG_WORKFLOW_ID", "Template not found")
    document_id = _document_id(call)
    if document_id[0] not in _MODULES:
        raise RestError(400, "", "Incorrect document type!")
    if document_type(document_id) != template.document_type:
        raise RestError(400, "", "Template type and DOCUMENT_ID mismatch!")
    process = call.portal.engine.start(
        template.steps,
        document_id,
        parameters=call.mapping("PARAMETERS"),
        template_id=template.id,
        user_id=call.caller.user.id,
    )
    return process.id


def _document_id(call: MethodCall) -> DocumentId:
    parts = call.sequence("DOCUMENT_ID")
    if len(parts) != 3 or not all(isinstance(part, str | int) and part for part in parts):
        raise RestError(400, "", "Wrong DOCUMENT_ID!")
    module, entity, element = parts
    return str(module), str(entity), str(element)


def _instances(call: MethodCall) -> Listing:
    call.administrator()
    rows = [_instance(p) for p in call.portal.engine.processes.values() if not p.finished]
    order = call.params.get("ORDER") or {"MODIFIED": "desc"}
    found = find(rows, call.params.get("FILTER"), order, filters.BIZPROC, _COLUMNS)
    select = [str(name) for name in call.sequence("SELECT")] or ["ID", "MODIFIED", "OWNED_UNTIL"]
    page = cut(found, select=select, start=call.integer("START"))
    return Listing(page.rows, page.total, page.next)


def _instance(process: Process) -> dict[str, Any]:
    module, entity, element = process.document_id
    return {
        "ID": process.id,
        "MODIFIED": iso_date(process.modified),
        "OWNED_UNTIL": None,
        "MODULE_ID": module,
        "ENTITY": entity,
        "DOCUMENT_ID": element,
        "STARTED": iso_date(process.started),
        "STARTED_BY": str(process.started_by),
        "TEMPLATE_ID": str(process.template_id),
    }


def _existing(call: MethodCall) -> Process | None:
    call.administrator()
    number = call.text("ID")
    if not number:
        raise RestError(400, "ERROR_WRONG_WORKFLOW_ID", "Empty workflow instance ID")
    return call.portal.engine.processes.get(number)


def _terminate(call: MethodCall) -> bool:
    process = _existing(call)
    if process is None or process.finished:
        raise RestError(400, "", "Workflow not found")
    call.portal.engine.terminate(process, call.text("STATUS"))
    return True


def _kill(call: MethodCall) -> bool:
    process = _existing(call)
    if process is not None:
        call.portal.engine.kill(process)
    return True


METHODS = (
    Method("bizproc.event.send", "bizproc", _event_send),
    Method("bizproc.activity.log", "bizproc", _activity_log),
    Method("bizproc.workflow.start", "bizproc", _start),
    Method("bizproc.workflow.instances", "bizproc", _instances),
    Method("bizproc.workflow.instance.list", "bizproc", _instances),
    Method("bizproc.workflow.terminate", "bizproc", _terminate),
    Method("bizproc.workflow.kill", "bizproc", _kill),
)
