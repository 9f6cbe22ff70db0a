"""Results of tasks: what came of the work, as a text, a comment, or a message of the task's chat.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/result/index.html. A comment and a message of the chat
are the same record here, a `task_message`. A result without a message has no number as a comment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox import dto
from airflow_provider_b24.sandbox.bb_code import as_html
from airflow_provider_b24.sandbox.errors import Rest3Error, RestError, invalid
from airflow_provider_b24.sandbox.method import Method, MethodCall, Rest3Call, Rest3Method
from airflow_provider_b24.sandbox.records.task_changes import belonging
from airflow_provider_b24.sandbox.task_card import table_of, typed_integer
from airflow_provider_b24.sandbox.task_objects import RESULT
from airflow_provider_b24.sandbox.timing import iso_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_b24.sandbox.callers import User
    from airflow_provider_b24.sandbox.method import Portal
    from airflow_provider_b24.sandbox.records.table import Table

_OPEN = "open"
_SHOWN_IN_LISTS = ("id", "taskId", "text", "authorId", "createdAt", "status", "messageId")


def _results(portal: Portal) -> Table:
    return portal.store.table("task_result")


def _of(portal: Portal, number: int) -> dict[str, Any]:
    """Return a result with all its fields."""
    return _results(portal).get(number) or {}


def _of_message(portal: Portal, message: int) -> list[int]:
    return [number for number in _results(portal) if _of(portal, number)["MESSAGE_ID"] == message]


# The older methods


def _comment(call: MethodCall) -> tuple[int, Mapping[str, Any]]:
    number = typed_integer(call, "commentId")
    comment = call.portal.store.table("task_message").get(number)
    if comment is None:
        raise RestError(400, "0", "Comment not found.")
    user = call.caller.user
    if not user.admin and comment["CREATED_BY"] != user.id:
        raise RestError(400, "0", "Access denied.")
    return number, comment


def _add_from_comment(call: MethodCall) -> dict[str, Any]:
    number, comment = _comment(call)
    portal = call.portal
    if any(_of(portal, result)["STATUS"] == _OPEN for result in _of_message(portal, number)):
        raise RestError(400, "0", "Result already exists.")
    made = {"TASK_ID": comment["TASK_ID"], "TEXT": comment["TEXT"], "MESSAGE_ID": number}
    result = portal.store.create("task_result", made, call.caller.user.id)
    return _older(_of(portal, result)) | {"files": None}


def _delete_from_comment(call: MethodCall) -> None:
    number, _ = _comment(call)
    for result in _of_message(call.portal, number):
        call.portal.store.remove("task_result", result, call.caller.user.id)


def _older_list(call: MethodCall) -> list[dict[str, Any]]:
    task = typed_integer(call, "taskId")
    if task not in table_of(call):
        raise RestError(400, "0", "Access denied.")
    numbers = belonging(call.portal.store, "task_result", task)
    return [_older(_of(call.portal, number)) for number in reversed(numbers)]


def _older(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["ID"],
        "taskId": row["TASK_ID"],
        "commentId": row["MESSAGE_ID"] or 0,
        "createdBy": row["CREATED_BY"],
        "createdAt": row["CREATED_DATE"],
        "updatedAt": row["UPDATED_DATE"] or row["CREATED_DATE"],
        "status": int(row["STATUS"] != _OPEN),
        "text": row["TEXT"],
        "formattedText": as_html(row["TEXT"] or ""),
        "files": [],
    }


# REST 3.0


def _add(call: Rest3Call) -> dict[str, Any]:
    fields = _checked(call, ("taskId", "text"))
    if fields["taskId"] <= 0:
        raise invalid({"taskId": "Task id must be positive"})
    if fields["taskId"] not in call.portal.store.table("task"):
        raise invalid({"taskId": "Task not found"})
    return _made(call, fields["taskId"], fields["text"], None)


def _add_from_message(call: Rest3Call) -> dict[str, Any]:
    fields = _checked(call, ("messageId",))
    message = call.portal.store.table("task_message").get(fields["messageId"])
    if message is None:
        raise invalid({"messageId": "Message is not from task chat"})
    return _made(call, message["TASK_ID"], message["TEXT"], fields["messageId"])


def _checked(call: Rest3Call, required: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a new result, all of which it must have."""
    fields = RESULT.fields(call.params)
    if "fileIds" in fields:
        text = "Field `fileIds` is not available for filling"
        problems = {"fileIds": text}
        raise Rest3Error(400, "VALIDATION_DTOVALIDATIONEXCEPTION", "Validation error", problems)
    for name in fields:
        if name not in required:
            raise RESULT.unknown(name)
    lacking = [name for name in required if fields.get(name) in (None, "")]
    if lacking:
        raise dto.missing(lacking)
    misfits = RESULT.misfits(fields)
    if misfits:
        raise invalid(misfits)
    return fields


def _made(call: Rest3Call, task: int, text: str, message: int | None) -> dict[str, Any]:
    made = {"TASK_ID": task, "TEXT": text, "MESSAGE_ID": message}
    number = call.portal.store.create("task_result", made, call.caller.user.id)
    return {"item": _item(_of(call.portal, number), call.caller.user)}


def _update(call: Rest3Call) -> dict[str, Any]:
    number = _own(call)
    fields = _checked(call, ("text",))
    changed = {"TEXT": fields["text"], "UPDATED_DATE": iso_date(call.portal.clock.now())}
    call.portal.store.change("task_result", number, changed, call.caller.user.id)
    return {"item": _item(_of(call.portal, number), call.caller.user)}


def _delete(call: Rest3Call) -> dict[str, bool]:
    call.portal.store.remove("task_result", _own(call), call.caller.user.id)
    return {"result": True}


def _own(call: Rest3Call) -> int:
    """Return the number of the result that is meant; only its author may change it."""
    if "id" not in call.params:
        raise invalid({"id": "At least one required field must be filled: `id`, `filter`"})
    if "filter" in call.params:
        raise invalid({"id": "Only one of the values must be provided: `id`, `filter`"})
    number = dto.number(call.params)
    row = _of(call.portal, number)
    if not row or row["CREATED_BY"] != call.caller.user.id:
        raise dto.denied()
    return number


def _list(call: Rest3Call) -> dict[str, Any]:
    given = call.params.get("filter")
    if not given:
        raise invalid({"filter": "The field value cannot be empty"})
    tests = RESULT.tests(call.params)
    tasks = [one[-1] for one in given if one[0] == "taskId" and (len(one) == 2 or one[1] == "=")]
    if not tasks:
        problems = {"filter.taskId": "A filter for the required field `taskId` must be specified"}
        name = "VALIDATION_REQUESTFILTERVALIDATIONEXCEPTION"
        raise Rest3Error(400, name, "Error validating request object", problems)
    store = call.portal.store
    if tasks[0] not in store.table("task"):
        raise dto.denied()
    select = dto.selected(call.params) or _SHOWN_IN_LISTS
    for name in select:
        if name not in RESULT.types:
            raise RESULT.unknown(name)
    rows = [_item(_of(call.portal, n), call.caller.user) for n in belonging(store, "task_result", tasks[0])]
    found = RESULT.ordered(
        call.params, [row for row in rows if all(test(row) for test in tests)], {"id": "ASC"}
    )
    shown = [dict(row) for row in dto.cut(call.params, found)]
    for row in shown:
        if "author" in select:
            row["author"] = _author(call, row["authorId"])
    return {"items": [{name: row[name] for name in select} for row in shown]}


def _author(call: Rest3Call, number: int) -> dict[str, Any] | None:
    user = call.portal.callers.users.get(number)
    return {"id": user.id, "name": user.name, "email": user.email} if user else None


def _item(row: Mapping[str, Any], user: User) -> dict[str, Any]:
    own = row["CREATED_BY"] == user.id
    return {
        "id": row["ID"],
        "taskId": row["TASK_ID"],
        "text": row["TEXT"],
        "authorId": row["CREATED_BY"],
        "createdAt": row["CREATED_DATE"],
        "updatedAt": row["UPDATED_DATE"],
        "status": row["STATUS"],
        "fileIds": [],
        "rights": {"edit": own, "remove": own},
        "messageId": row["MESSAGE_ID"],
    }


METHODS = (
    Method("tasks.task.result.addFromComment", "task", _add_from_comment),
    Method("tasks.task.result.deleteFromComment", "task", _delete_from_comment),
    Method("tasks.task.result.list", "task", _older_list),
)
METHODS3 = (
    Rest3Method("tasks.task.result.add", "tasks", _add, keeps_result=True),
    Rest3Method("tasks.task.result.addfromchatmessage", "tasks", _add_from_message, keeps_result=True),
    Rest3Method("tasks.task.result.update", "tasks", _update, keeps_result=True),
    Rest3Method("tasks.task.result.delete", "tasks", _delete, keeps_result=True),
    Rest3Method("tasks.task.result.list", "tasks", _list),
)
