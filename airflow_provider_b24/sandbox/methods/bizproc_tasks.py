"""`bizproc.task.*`: what people are asked inside processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError, access_denied
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.table import columns, cut, find
from airflow_provider_b24.sandbox.timing import iso_date

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.tasks import Task

_COLUMNS = columns(
    ENTITY="string",
    DOCUMENT_ID="string",
    ID="integer",
    WORKFLOW_ID="string",
    DOCUMENT_NAME="string",
    DESCRIPTION="string",
    NAME="string",
    MODIFIED="datetime",
    WORKFLOW_STARTED="datetime",
    WORKFLOW_STARTED_BY="integer",
    OVERDUE_DATE="datetime",
    WORKFLOW_TEMPLATE_ID="integer",
    WORKFLOW_TEMPLATE_NAME="string",
    WORKFLOW_STATE="string",
    STATUS="integer",
    USER_ID="integer",
    USER_STATUS="integer",
    MODULE_ID="string",
    ACTIVITY="string",
    ACTIVITY_NAME="string",
)
_DEFAULT = ["ENTITY", "DOCUMENT_ID", "ID", "WORKFLOW_ID", "DOCUMENT_NAME", "NAME", "DOCUMENT_URL"]


def _list(call: MethodCall) -> Listing:
    user = call.caller.user
    filter_by = call.params.get("FILTER") or {}
    if not isinstance(filter_by, dict):
        raise filters.BIZPROC.refuse("it is no object")
    wanted = next((v for name, v in filter_by.items() if name.lstrip("=").upper() == "USER_ID"), None)
    if not user.admin:
        if wanted is not None and str(wanted) != str(user.id):
            raise access_denied(status=400)
        filter_by = {**filter_by, "USER_ID": user.id}
    rows = [_row(call, task) for task in call.portal.task_list.all()]
    select = [str(name).upper() for name in call.sequence("SELECT")] or _DEFAULT
    if rows and not set(select) <= {*rows[0], "*"}:
        raise RestError(400, "ERROR_SELECT_VALIDATION_FAILURE", "Invalid data in SELECT parameter")
    order = call.params.get("ORDER") or {"ID": "DESC"}
    found = find(rows, filter_by, order, filters.BIZPROC, _COLUMNS)
    page = cut(found, select=select, start=call.integer("START"))
    return Listing(page.rows, page.total, page.next)


def _row(call: MethodCall, task: Task) -> dict[str, Any]:
    process = task.process
    template = call.portal.templates.get(process.template_id)
    module, entity, element = process.document_id
    return {
        "ENTITY": entity,
        "DOCUMENT_ID": element,
        "ID": str(task.id),
        "WORKFLOW_ID": process.id,
        "DOCUMENT_NAME": call.portal.engine.document_name(process),
        "DESCRIPTION": task.step.description,
        "NAME": task.step.title,
        "MODIFIED": iso_date(task.created),
        "WORKFLOW_STARTED": iso_date(process.started),
        "WORKFLOW_STARTED_BY": str(process.started_by),
        "OVERDUE_DATE": None,
        "WORKFLOW_TEMPLATE_ID": str(process.template_id),
        "WORKFLOW_TEMPLATE_NAME": template.name if template else "",
        "WORKFLOW_STATE": process.state,
        "STATUS": str(task.status),
        "USER_ID": str(task.user_id),
        "USER_STATUS": str(task.status if task.status < 4 else 0),
        "MODULE_ID": module,
        "ACTIVITY": task.step.activity,
        "ACTIVITY_NAME": task.activity,
        "PARAMETERS": {
            "CommentLabel": "Comment",
            "CommentRequired": "N",
            "ShowComment": "Y",
            "StatusOkLabel": "OK",
            "StatusYesLabel": "Approve",
            "StatusNoLabel": "Reject",
            "Fields": [dict(declared) for declared in task.step.fields],
        },
        "DOCUMENT_URL": f"/{module}/details/{element}/",
    }


def _complete(call: MethodCall) -> bool:
    call.portal.task_list.complete(call.caller.user.id, call.params, call.portal.engine.task_done)
    return True


def _delegate(call: MethodCall) -> bool:
    call.portal.task_list.delegate(call.params, set(call.portal.callers.users))
    return True


METHODS = (
    Method("bizproc.task.list", "bizproc", _list),
    Method("bizproc.task.complete", "bizproc", _complete),
    Method("bizproc.task.delegate", "bizproc", _delegate),
)
