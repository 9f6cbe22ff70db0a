"""Tasks (of the planner, not of processes) as REST 3.0 has them; the old `tasks.task.list` lists the same ones.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-add-rest-v3.html and the pages beside it.
"""

from __future__ import annotations

import operator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import Rest3Error, invalid
from airflow_provider_b24.sandbox.method import Rest3Call as Call
from airflow_provider_b24.sandbox.method import Rest3Method as Method

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_b24.sandbox.callers import User
    from airflow_provider_b24.sandbox.records.table import Table

_PAGE, _LARGEST_PAGE = 50, 1000
_TYPES: Mapping[str, str] = {
    "title": "string",
    "description": "string",
    "creatorId": "int",
    "responsibleId": "int",
    "parentId": "int",
    "priority": "string",
    "status": "string",
    "deadline": "DateTime",
    "needsControl": "bool",
    "crmItemIds": "array",
}
_REQUIRED = ("title", "creatorId", "responsibleId")
_DEFAULTS: Mapping[str, Any] = {
    "description": "",
    "deadline": None,
    "needsControl": False,
    "priority": "average",
    "status": "pending",
    "parentId": None,
    "crmItemIds": [],
    "creatorId": 1,
    "responsibleId": 1,
}
# How the one store of records calls the fields, and what it writes for names.
_NAMES: Mapping[str, str] = {
    "title": "TITLE",
    "description": "DESCRIPTION",
    "creatorId": "CREATED_BY",
    "responsibleId": "RESPONSIBLE_ID",
    "parentId": "PARENT_ID",
    "priority": "PRIORITY",
    "status": "STATUS",
    "deadline": "DEADLINE",
    "needsControl": "TASK_CONTROL",
    "crmItemIds": "UF_CRM_TASK",
    "changed": "CHANGED_DATE",
    "activity": "ACTIVITY_DATE",
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "priority": {"low": "0", "average": "1", "high": "2"},
    "status": {
        "pending": "2",
        "in_progress": "3",
        "supposedly_completed": "4",
        "completed": "5",
        "deferred": "6",
    },
}
_RELATED = {"creator": "creatorId", "responsible": "responsibleId"}
_RELATED_FIELDS = ("id", "name", "lastName", "email")
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "in": lambda value, wanted: value in wanted,
    "between": lambda value, wanted: wanted[0] <= value <= wanted[1],
}


def _add(call: Call) -> dict[str, Any]:
    fields = _fields(call)
    problems = {name: f"Required field `{name}` is not specified" for name in _REQUIRED if name not in fields}
    problems |= _problems(call, fields)
    if problems:
        raise invalid(problems)
    number = call.portal.store.create("task", _written(fields), call.caller.user.id)
    return {"item": _item(call, number, [])}


def _get(call: Call) -> dict[str, Any]:
    number = _id(call)
    if number not in _table(call):
        raise Rest3Error(400, "ENTITYNOTFOUNDEXCEPTION", f"Record with ID = `{number}` not found")
    return {"item": _item(call, number, call.params.get("select") or [])}


def _update(call: Call) -> dict[str, bool]:
    number, fields = _id(call), _fields(call)
    problems = _problems(call, fields)
    if "creatorId" in fields:
        problems["creatorId"] = (
            "In DTO `TaskDto`, the field `creatorId` requires the presence of the `Editable` attribute"
        )
    if problems:
        raise invalid(problems)
    _require(call, number, 403)
    call.portal.store.change("task", number, _written(fields), call.caller.user.id)
    return {"result": True}


def _delete(call: Call) -> dict[str, bool]:
    number = _id(call)
    _require(call, number, 400)
    call.portal.store.remove("task", number, call.caller.user.id)
    return {"result": True}


def _list(call: Call) -> dict[str, Any]:
    order = call.params.get("order") or {"id": "ASC"}
    if not isinstance(order, dict) or any(str(way).upper() not in ("ASC", "DESC") for way in order.values()):
        raise Rest3Error(400, "INVALIDORDEREXCEPTION", f"Unable to recognize sorting parameter `{order}`")
    tests = [_condition(condition) for condition in call.params.get("filter") or []]
    numbers = [number for number in _table(call) if all(test(number) for test in tests)]
    rows = [_item(call, number, []) for number in numbers]
    for name, way in reversed(order.items()):
        rows.sort(key=lambda row: (row.get(name) is not None, row.get(name)), reverse=way.upper() == "DESC")
    limit, offset = _page(call)
    select = call.params.get("select") or ["id"]
    return {"items": [_item(call, row["id"], select) for row in rows[offset : offset + limit]]}


def _page(call: Call) -> tuple[int, int]:
    page = call.params.get("pagination") or {}
    numbers = page.values() if isinstance(page, dict) else [None]
    if not all(type(number) is int and number >= 0 for number in numbers) or page.get("limit") == 0:
        raise Rest3Error(
            400, "INVALIDPAGINATIONEXCEPTION", f"Unable to recognize the pagination parameter `{page}`"
        )
    limit = min(page.get("limit", _PAGE), _LARGEST_PAGE)
    return limit, page.get("offset", max(page.get("page", 1) - 1, 0) * limit)


def _condition(condition: Any) -> Callable[[int], bool]:
    name, sign, wanted = condition if len(condition) == 3 else (condition[0], "=", condition[1])
    if len(condition) == 2 and isinstance(wanted, list):
        sign = "in"
    if name != "id":
        raise invalid({name: f"In DTO `TaskDto`, the `{name}` field requires the `Filterable` attribute"})
    compare = _OPERATORS.get(sign)
    if compare is None:
        raise Rest3Error(400, "UNKNOWNFILTEROPERATOREXCEPTION", f"Unknown filter operator `{sign}`")
    numbers = wanted if isinstance(wanted, list) else [wanted]
    if not all(type(number) is int for number in numbers):
        raise invalid({"id": "Field `id` requires data type `int` for this request"})
    return lambda number: bool(compare(number, wanted))


def _table(call: Call) -> Table:
    return call.portal.store.table("task")


def _written(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as the store has them."""
    written: dict[str, Any] = {}
    for name, value in fields.items():
        stored = ("Y" if value else "N") if isinstance(value, bool) else value
        written[_NAMES[name]] = _WORDS[name].get(value, value) if name in _WORDS else stored
    return written


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as REST 3.0 has it."""
    item: dict[str, Any] = {"id": row["ID"]}
    for name, stored in _NAMES.items():
        value = row.get(stored, _DEFAULTS.get(name))
        words = {number: word for word, number in _WORDS.get(name, {}).items()}
        item[name] = words.get(value, value) if isinstance(value, str) else value
    return item | {"needsControl": row.get("TASK_CONTROL") == "Y"}


def _require(call: Call, number: int, status: int) -> None:
    if number not in _table(call):
        raise Rest3Error(status, "ACCESSDENIEDEXCEPTION", "Access denied")


def _id(call: Call) -> int:
    if "id" not in call.params:
        raise invalid({"id": "Required field `id` is not specified"})
    number = call.params["id"]
    if type(number) is not int:
        raise invalid({"id": "Field `id` requires data type `int` for this request"})
    return number


def _fields(call: Call) -> dict[str, Any]:
    fields = call.params.get("fields")
    if fields is None:
        raise invalid({"fields": "Required field `fields` is not specified"})
    if not isinstance(fields, dict):
        raise invalid({"fields": "Field `fields` requires data type `array` for this request"})
    unknown = next((name for name in fields if name not in _TYPES), None)
    if unknown is not None:
        raise Rest3Error(
            400, "UNKNOWNDTOPROPERTYEXCEPTION", f"Unknown field `{unknown}` for entity `TaskDto`"
        )
    return fields


def _problems(call: Call, fields: Mapping[str, Any]) -> dict[str, str]:
    problems = {}
    for name, value in fields.items():
        kind = _TYPES[name]
        if not _is(kind, value):
            problems[name] = f"Field `{name}` requires data type `{kind}` for this request"
        elif name in _RELATED.values() and value not in call.portal.callers.users:
            problems[name] = f"User specified in the field `{name}` not found"
    return problems


def _is(kind: str, value: Any) -> bool:
    if kind == "DateTime":
        try:
            return datetime.fromisoformat(value).utcoffset() is not None
        except (TypeError, ValueError):
            return False
    return type(value) is {"string": str, "int": int, "bool": bool, "array": list}[kind]


def _item(call: Call, number: int, select: list[str]) -> dict[str, Any]:
    row = _read(_table(call).row(number))
    if not select:
        return row
    item = {name: row[name] for name in select if name in row}
    for relation, _, name in (path.partition(".") for path in select if "." in path):
        if relation not in _RELATED or name not in _RELATED_FIELDS:
            raise Rest3Error(
                400, "UNKNOWNDTOPROPERTYEXCEPTION", f"Unknown field `{name}` for entity `UserDto`"
            )
        user = call.portal.callers.users[row[_RELATED[relation]]]
        item.setdefault(relation, {})[name] = _user(user)[name]
    return item


def _user(user: User) -> dict[str, Any]:
    return {"id": user.id, "name": user.name, "lastName": user.last_name, "email": user.email}


METHODS3 = (
    Method("tasks.task.add", "tasks", _add, keeps_result=True),
    Method("tasks.task.get", "tasks", _get),
    Method("tasks.task.list", "tasks", _list),
    Method("tasks.task.update", "tasks", _update, keeps_result=True),
    Method("tasks.task.delete", "tasks", _delete, keeps_result=True),
)
