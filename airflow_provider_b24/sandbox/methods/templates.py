"""`bizproc.workflow.template.*`: templates of processes.

Documented on https://apidocs.bitrix24.com/api-reference/bizproc/template/index.html.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.table import columns, cut, find
from airflow_provider_b24.sandbox.steps import Step, steps_from_json
from airflow_provider_b24.sandbox.timing import iso_date

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.core import Template

_MODULES = ("crm", "lists", "disk")
_COLUMNS = columns(
    ID="integer",
    MODULE_ID="string",
    ENTITY="string",
    DOCUMENT_TYPE="any",
    AUTO_EXECUTE="integer",
    NAME="string",
    DESCRIPTION="string",
    MODIFIED="datetime",
    IS_MODIFIED="string",
    USER_ID="integer",
    SYSTEM_CODE="string",
)


def _list(call: MethodCall) -> Listing:
    call.administrator(status=400)
    rows = [_row(template) for template in call.portal.templates.values()]
    order = call.params.get("ORDER") or {"ID": "ASC"}
    found = find(rows, call.params.get("FILTER"), order, filters.BIZPROC, _COLUMNS)
    select = [str(name) for name in call.sequence("SELECT")] or ["ID"]
    page = cut(found, select=select, start=call.integer("START"))
    return Listing(page.rows, page.total, page.next)


def _row(template: Template) -> dict[str, Any]:
    return {
        "ID": str(template.id),
        "MODULE_ID": template.document_type[0],
        "ENTITY": template.document_type[1],
        "DOCUMENT_TYPE": list(template.document_type),
        "AUTO_EXECUTE": str(template.auto_execute),
        "NAME": template.name,
        "DESCRIPTION": template.description,
        "TEMPLATE": [],
        "PARAMETERS": [],
        "VARIABLES": [],
        "CONSTANTS": [],
        "MODIFIED": iso_date(template.modified),
        "IS_MODIFIED": "N",
        "USER_ID": "1",
        "SYSTEM_CODE": f"rest_app_{template.client_id}" if template.client_id else None,
    }


def _client_id(call: MethodCall) -> str:
    application = call.application(status=400)
    call.administrator(status=400)
    return application.client_id


def _invalid(text: str) -> RestError:
    return RestError(400, "ERROR_TEMPLATE_VALIDATION_FAILURE", text)


def _add(call: MethodCall) -> int:
    client_id = _client_id(call)
    parts = call.sequence("DOCUMENT_TYPE")
    if (
        len(parts) != 3
        or not all(isinstance(part, str) and part for part in parts)
        or parts[0] not in _MODULES
    ):
        raise _invalid("Incorrect field DOCUMENT_TYPE!")
    module, entity, kind = parts
    fields = _read(call.params, new=True)
    return call.portal.add_template(
        document_type=(module, entity, kind), client_id=client_id, **{"steps": (), **fields}
    )


def _update(call: MethodCall) -> int:
    client_id = _client_id(call)
    template = _existing(call)
    fields = _read({name.upper(): value for name, value in call.mapping("FIELDS").items()}, new=False)
    if not fields:
        raise _invalid("No fields to update.")
    if template.client_id != client_id:
        text = "You can update ONLY templates created by current application"
        raise RestError(400, "ERROR_TEMPLATE_NOT_OWNER", text)
    changed = replace(template, modified=call.portal.clock.now(), **fields)
    call.portal.templates[template.id] = changed
    return template.id


def _delete(call: MethodCall) -> None:
    _client_id(call)
    del call.portal.templates[_existing(call).id]


def _existing(call: MethodCall) -> Template:
    template = call.portal.templates.get(call.integer("ID"))
    if template is None:
        raise RestError(400, "ERROR_TEMPLATE_NOT_FOUND", "Workflow template not found.")
    return template


def _read(given: dict[str, Any], *, new: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if new or "NAME" in given:
        if not str(given.get("NAME") or "").strip():
            raise _invalid("Empty template name!")
        fields["name"] = str(given["NAME"])
    if "DESCRIPTION" in given:
        fields["description"] = str(given["DESCRIPTION"] or "")
    if "AUTO_EXECUTE" in given:
        if str(given["AUTO_EXECUTE"]) not in ("0", "1", "2", "3"):
            raise _invalid("Incorrect field AUTO_EXECUTE!")
        fields["auto_execute"] = int(given["AUTO_EXECUTE"])
    if new or "TEMPLATE_DATA" in given:
        fields["steps"] = _steps(given.get("TEMPLATE_DATA"))
    return fields


def _steps(data: object) -> tuple[Step, ...]:
    """Read a template's file: the sandbox's own are steps in JSON, those of a designer have none that it can run."""
    # A file is its content in base64, or its name and that.
    text = data[-1] if isinstance(data, list) and data else data
    try:
        content = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (ValueError, binascii.Error):
        content = b""
    if not content:
        raise _invalid("Incorrect field TEMPLATE_DATA!")
    try:
        return tuple(steps_from_json(json.loads(content)))
    except UnicodeDecodeError:
        return ()
    except ValueError:
        if content.lstrip()[:1] in b"[{":
            raise _invalid("Incorrect field TEMPLATE_DATA!") from None
        return ()


METHODS = (
    Method("bizproc.workflow.template.list", "bizproc", _list),
    Method("bizproc.workflow.template.add", "bizproc", _add),
    Method("bizproc.workflow.template.update", "bizproc", _update),
    Method("bizproc.workflow.template.delete", "bizproc", _delete),
)
