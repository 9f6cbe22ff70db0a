"""A task as the older `tasks.task.*` show it: its fields, the people around it, what the caller may do with it.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/fields.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.records.fields import FieldType
from airflow_provider_b24.sandbox.records.rows import task_writer
from airflow_provider_b24.sandbox.records.task_changes import belonging, chat_of
from airflow_provider_b24.sandbox.task_rights import Seat, allowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_b24.sandbox.method import MethodCall
    from airflow_provider_b24.sandbox.records.fields import Field
    from airflow_provider_b24.sandbox.records.table import Table

_PEOPLE = {"CREATED_BY": "creator", "RESPONSIBLE_ID": "responsible"}
_CROWDS = {"ACCOMPLICES": "accomplicesData", "AUDITORS": "auditorsData"}
_DONE = "5"
#: What an `action` on an item of a checklist may be.
_ON_ITEMS = ("modify", "remove", "toggle", "add", "addAccomplice")
_moment = FieldType("datetime").key


def table_of(call: MethodCall) -> Table:
    """Return the tasks."""
    return call.portal.store.table("task")


def task_id(call: MethodCall, note: str = " (internal error)") -> int:
    """Return the number that is given for a task, whether there is such a task or not.

    :param note: what this method's page has behind its texts.
    """
    # Pins and bells are documented with `id`; portals take it elsewhere, too.
    if call.params.get("TASKID") is None and call.params.get("ID") is not None:
        call.params["TASKID"] = call.params["ID"]
    if call.params.get("TASKID") is None:
        text = f"CTaskItem All parameters in the constructor must have real class type{note}"
        raise RestError(400, "100", text)
    number = call.integer("TASKID")
    if number <= 0:
        raise RestError(400, "0", f"wrong task id{note}")
    return number


def existing(
    call: MethodCall,
    code: str = "1048582",
    text: str = "Action on the task is not allowed (internal error)",
    note: str = " (internal error)",
) -> int:
    """Return the number of the task that is meant.

    A task that one may not see and one that is not there are told alike.

    :param code: what is told then, with `text`.
    """
    number = task_id(call, note)
    if number not in table_of(call):
        raise RestError(400, code, text)
    return number


def typed_integer(call: MethodCall, name: str, note: str = "", code: str = "100") -> int:
    """Return a parameter that must be a number.

    :param name: as documented.
    :param note: what this method's page has behind its texts.
    """
    given = call.params.get(name.upper())
    if given is None:
        raise RestError(400, "100", f"Could not find value for parameter {{{name}}}{note}")
    if not str(given).lstrip("-").isdecimal():
        text = f"Invalid value {{{given}}} to match with parameter {{{name}}}. Should be value of type int.{note}"
        raise RestError(400, code, text)
    return int(given)


def selected(table: Table, select: list[Any]) -> list[Field]:
    """Return the fields that `select` names, all without it."""
    if not select or "*" in select:
        return table.fields
    found = (table.field_named(str(name)) for name in select)
    return [field for field in found if field is not None]


def shown(call: MethodCall, row: Mapping[str, Any], fields: Iterable[Field]) -> dict[str, Any]:
    """Return these fields of a task, and what comes with them."""
    fields = list(fields)
    task = task_writer(fields)(row)
    for field in fields:
        value = row.get(field.name, field.default)
        if field.name in _PEOPLE and value:
            task[_PEOPLE[field.name]] = person(call, value)
        elif field.name in _CROWDS:
            people = {str(number): person(call, number) for number in value or ()}
            task[field.item_name] = list(people)
            task[_CROWDS[field.name]] = people or []
        elif field.name == "GROUP_ID":
            task["group"] = []
        elif field.name == "STATUS":
            task["subStatus"] = task["status"]
        elif field.name == "NEW_COMMENTS_COUNT":
            task[field.item_name] = new_comments(call, row["ID"], call.caller.user.id)
        elif field.name == "UF_TASK_WEBDAV_FILES":
            task[field.item_name] = [int(item) if str(item).isdecimal() else item for item in value or ()]
    return task


def person(call: MethodCall, number: Any) -> dict[str, str]:
    """Return what a task says of somebody in it."""
    user = call.portal.callers.users.get(int(number))
    return {
        "id": str(number),
        "name": f"{user.name} {user.last_name}".strip() if user else "",
        "link": f"/company/personal/user/{number}/",
        "icon": "/bitrix/images/tasks/default_avatar.png",
        "workPosition": "",
    }


def seat(call: MethodCall, number: int, user_id: int) -> Seat | None:
    """Return where somebody stands with regard to a task; `None` for nobody, and for a task that is not there."""
    task, user = table_of(call).get(number), call.portal.callers.users.get(user_id)
    if task is None or user is None:
        return None
    return Seat.of(task, user_id, admin=user.admin)


def whole(call: MethodCall, number: int, select: list[Any] | None = None) -> dict[str, Any]:
    """Return a task as most methods answer with it."""
    table = table_of(call)
    row = table.row(number)
    task = shown(call, row, selected(table, select or []))
    names = {str(name).upper().replace("_", "") for name in select or ("CHATID",)}
    if names & {"CHATID", "*"}:
        task["chatId"] = chat_of(number)
    found = seat(call, number, call.caller.user.id)
    task["action"] = allowed(found)
    if not select:
        adds = task["action"]["checklist.add"]
        tree = _checklist(row.get("CHECKLIST") or (), number, call.caller.user.id, adds=adds)
        task |= {"checkListTree": tree, "checkListCanAdd": adds}
    return {"task": task}


def _checklist(titles: Iterable[str], task: int, user_id: int, *, adds: bool) -> dict[str, Any]:
    root = _node(0, None, None, user_id, "")
    nodes = [
        _node(index, index, task, user_id, title)
        | {"action": dict.fromkeys(_ON_ITEMS, adds), "descendants": []}
        for index, title in enumerate(titles, 1)
    ]
    return root | {"action": [], "descendants": nodes}


def _node(node: int, item: int | None, task: int | None, user_id: int, title: str) -> dict[str, Any]:
    place = None if item is None else item - 1
    return {
        "nodeId": node,
        "fields": {
            "id": item,
            "copiedId": None,
            "entityId": task,
            "userId": user_id,
            "createdBy": None if item is None else user_id,
            "parentId": None if item is None else 0,
            "title": title,
            "sortIndex": place,
            "displaySortIndex": "" if item is None else str(item),
            "isComplete": False,
            "isImportant": False,
            "completedCount": 0,
            "members": [],
            "attachments": [],
            "nodeId": None,
        },
    }


def is_overdue(call: MethodCall, row: Mapping[str, Any]) -> bool:
    """Return whether a task should be done by now and is not."""
    deadline = _moment(row.get("DEADLINE"))
    late = isinstance(deadline, float) and deadline < call.portal.clock.now()
    return late and row.get("STATUS") != _DONE


def new_comments(call: MethodCall, number: int, user_id: int) -> int:
    """Return how much others have written into a task since somebody has written there."""
    messages = call.portal.store.table("task_message")
    count = 0
    for message in reversed(belonging(call.portal.store, "task_message", number)):
        if messages.row(message).get("CREATED_BY", 1) == user_id:
            break
        count += 1
    return count
