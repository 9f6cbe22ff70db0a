"""Who may do what with a task.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-get-access.html and
https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-access-get.html.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_b24.sandbox import dto
from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Method, MethodCall, Rest3Call, Rest3Method
from airflow_provider_b24.sandbox.task_card import seat, table_of, task_id
from airflow_provider_b24.sandbox.task_rights import ACTIONS, RIGHTS, Seat, allowed, in_capitals

_CAPITALS = in_capitals(ACTIONS)


def _of_users(call: MethodCall) -> dict[str, Any]:
    number = task_id(call, note="")
    users = call.params.get("USERS")
    if users is not None and (not isinstance(users, list | dict) or not users):
        text = "Invalid value {} to match with parameter {users}. Should be value of type array."
        raise RestError(400, "100", text)
    people = call.sequence("USERS") or [call.caller.user.id]
    if number not in table_of(call):
        return {"allowedActions": []}
    told = {}
    for user in map(str, people):
        found = seat(call, number, int(user)) if user.isdecimal() else None
        told[user] = {_CAPITALS[name]: may for name, may in allowed(found).items()}
    return {"allowedActions": told}


def _of_caller(call: Rest3Call) -> dict[str, bool]:
    task = call.portal.store.table("task").get(dto.number(call.params))
    user = call.caller.user
    return allowed(None if task is None else Seat.of(task, user.id, admin=user.admin), RIGHTS)


METHODS = (Method("tasks.task.getaccess", "task", _of_users),)
METHODS3 = (Rest3Method("tasks.task.access.get", "tasks", _of_caller),)
