"""Files of the Drive that are attached to tasks.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-files-attach.html and
https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-file-attach.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_b24.sandbox import dto
from airflow_provider_b24.sandbox.errors import RestError, invalid
from airflow_provider_b24.sandbox.method import Method, MethodCall, Rest3Call, Rest3Method
from airflow_provider_b24.sandbox.task_card import seat, table_of, task_id, typed_integer
from airflow_provider_b24.sandbox.task_rights import ACTIONS, Seat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_b24.sandbox.method import Portal

_NOTE = " (internal error)"


def _attach(portal: Portal, task: int, files: Iterable[int], user_id: int) -> list[int]:
    """Attach files and return the numbers of the attachments."""
    store = portal.store
    made = [store.create("task_file", {"TASK_ID": task, "FILE_ID": file}, user_id) for file in files]
    kept = store.table("task").row(task).get("UF_TASK_WEBDAV_FILES") or ()
    store.change("task", task, {"UF_TASK_WEBDAV_FILES": [*kept, *made]}, user_id)
    return made


def _one(call: MethodCall) -> dict[str, int]:
    number, file = task_id(call), typed_integer(call, "fileId", _NOTE)
    place = seat(call, number, call.caller.user.id)
    if number not in table_of(call) or place is None or not ACTIONS["edit"](place):
        raise RestError(400, "0", f"Access denied{_NOTE}")
    if call.portal.disk.get(file) is None:
        raise RestError(400, "ERROR_CORE", "Insufficient permissions.<br>")
    [attachment] = _attach(call.portal, number, [file], call.caller.user.id)
    return {"attachmentId": attachment}


def _several(call: Rest3Call) -> dict[str, bool]:
    lacking = [name for name in ("taskId", "fileIds") if name not in call.params]
    if lacking:
        raise invalid({name: f"Required field `{name}` is not specified" for name in lacking})
    number, files = dto.number(call.params, "taskId"), call.params["fileIds"]
    if not isinstance(files, list) or not all(type(file) is int for file in files):
        raise invalid({"fileIds": dto.wrong_type("fileIds", "array")})
    user = call.caller.user
    task = call.portal.store.table("task").get(number)
    may = task is not None and ACTIONS["edit"](Seat.of(task, user.id, admin=user.admin))
    if not may or any(call.portal.disk.get(file) is None for file in files):
        raise invalid({"fileIds": "Insufficient permissions"})
    _attach(call.portal, number, files, user.id)
    return {"result": True}


METHODS = (Method("tasks.task.files.attach", "task", _one),)
METHODS3 = (Rest3Method("tasks.task.file.attach", "tasks", _several, keeps_result=True),)
