"""Tasks (of the planner, not of processes) as REST 3.0 has them; the old `tasks.task.list` lists the same ones.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-add-rest-v3.html and the pages beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox import dto
from airflow_provider_b24.sandbox.errors import Rest3Error, invalid
from airflow_provider_b24.sandbox.method import Rest3Call as Call
from airflow_provider_b24.sandbox.method import Rest3Method as Method
from airflow_provider_b24.sandbox.task_dto import PEOPLE, STORED, TASK, item, read, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_b24.sandbox.callers import User
    from airflow_provider_b24.sandbox.records.table import Table

_REQUIRED = ("title", "creatorId", "responsibleId")
_USERS = ("creatorId", "responsibleId")
_FIELDS_OF_PEOPLE = ("id", "name", "lastName", "email")


def _add(call: Call) -> dict[str, Any]:
    fields = TASK.fields(call.params)
    problems = {name: f"Required field `{name}` is not specified" for name in _REQUIRED if name not in fields}
    problems |= _problems(call, fields, TASK.editable | {"creatorId"})
    if problems:
        raise invalid(problems)
    number = call.portal.store.create("task", written(fields), call.caller.user.id)
    return {"item": _item(call, number, [])}


def _get(call: Call) -> dict[str, Any]:
    number = dto.number(call.params)
    if number not in _table(call):
        raise Rest3Error(400, "ENTITYNOTFOUNDEXCEPTION", f"Record with ID = `{number}` not found")
    return {"item": _item(call, number, dto.selected(call.params))}


def _update(call: Call) -> dict[str, bool]:
    number, fields = dto.number(call.params), TASK.fields(call.params)
    problems = _problems(call, fields, TASK.editable)
    if problems:
        raise invalid(problems)
    _require(call, number, 403)
    call.portal.store.change("task", number, written(fields), call.caller.user.id)
    return {"result": True}


def _delete(call: Call) -> dict[str, bool]:
    number = dto.number(call.params)
    _require(call, number, 400)
    call.portal.store.remove("task", number, call.caller.user.id)
    return {"result": True}


def _list(call: Call) -> dict[str, Any]:
    tests = TASK.tests(call.params)
    rows: list[Mapping[str, Any]] = [{"id": number} for number in _table(call)]
    rows = [row for row in rows if all(test(row) for test in tests)]
    order = call.params.get("order")
    if isinstance(order, dict) and set(order) - {"id"}:
        names = {"id"} | (set(order) & set(STORED))
        rows = [read(_table(call), row["id"], names) for row in rows]
    rows = TASK.ordered(call.params, rows, {"id": "ASC"})
    select = dto.selected(call.params) or ["id"]
    return {"items": [_item(call, row["id"], select) for row in dto.cut(call.params, rows)]}


def _table(call: Call) -> Table:
    return call.portal.store.table("task")


def _require(call: Call, number: int, status: int) -> None:
    if number not in _table(call):
        raise dto.denied(status)


def _problems(call: Call, fields: Mapping[str, Any], editable: frozenset[str]) -> dict[str, str]:
    problems = TASK.misfits(fields)
    for name, value in fields.items():
        if name not in editable:
            problems[name] = (
                f"In DTO `{TASK.name}`, the field `{name}` requires the presence of the `Editable` attribute"
            )
        elif name in _USERS and name not in problems and value not in call.portal.callers.users:
            problems[name] = f"User specified in the field `{name}` not found"
        elif name == "parentId" and name not in problems and value not in _table(call):
            problems[name] = 'Task specified in the "Parent Task" field not found'
    return problems


def _item(call: Call, number: int, select: list[str]) -> dict[str, Any]:
    wanted = {PEOPLE.get(path.partition(".")[0], path) for path in select}
    if select and wanted <= set(STORED):
        whole = read(_table(call), number, wanted)
    else:
        whole = item(call.portal.store, number, call.caller.user)
    if not select:
        return whole
    chosen = {name: whole[name] for name in select if name in whole}
    for relation, _, name in (path.partition(".") for path in select if "." in path):
        if relation not in PEOPLE or name not in _FIELDS_OF_PEOPLE:
            raise Rest3Error(
                400, "UNKNOWNDTOPROPERTYEXCEPTION", f"Unknown field `{name}` for entity `UserDto`"
            )
        user = call.portal.callers.users.get(whole[PEOPLE[relation]])
        if user is not None:
            chosen.setdefault(relation, {})[name] = _user(user)[name]
        else:
            chosen[relation] = None
    return chosen


def _user(user: User) -> dict[str, Any]:
    return {"id": user.id, "name": user.name, "lastName": user.last_name, "email": user.email}


METHODS3 = (
    Method("tasks.task.add", "tasks", _add, keeps_result=True),
    Method("tasks.task.get", "tasks", _get),
    Method("tasks.task.list", "tasks", _list),
    Method("tasks.task.update", "tasks", _update, keeps_result=True),
    Method("tasks.task.delete", "tasks", _delete, keeps_result=True),
)
