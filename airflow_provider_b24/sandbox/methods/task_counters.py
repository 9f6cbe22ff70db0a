"""`tasks.task.counters.get`: how many of somebody's tasks are overdue, and how many comments are new to that person.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-counters-get.html. A group is there when a
task is in it.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.task_card import is_overdue, new_comments, table_of, typed_integer
from airflow_provider_b24.sandbox.task_rights import ROLES, has_role

_ALL = "view_all"
_EXPIRED, _NEW_COMMENTS = 6291456, 12582912


def _get(call: MethodCall) -> Listing:
    user = call.caller.user
    user_id = typed_integer(call, "userId", code="0") if call.text("USERID") else user.id
    role = call.text("TYPE") or _ALL
    group = typed_integer(call, "groupId", code="0") if call.text("GROUPID") else 0
    table = table_of(call)
    tasks = [task for task in map(table.get, table) if task is not None]
    if group:
        tasks = [task for task in tasks if task["GROUP_ID"] == group]
        if not tasks:
            raise RestError(400, "0", "Group not found or access denied. (internal error)")
    result: Any = []
    if user_id in call.portal.callers.users and (user.admin or user_id == user.id):
        roles = ROLES if role == _ALL else [role] if role in ROLES else []
        mine = [task for task in tasks if any(has_role(task, one, user_id) for one in roles)]
        mine = [task for task in mine if task["IS_MUTED"] != "Y"]
        result = {
            "expired": {"counter": sum(is_overdue(call, task) for task in mine), "code": _EXPIRED},
            "new_comments": {
                "counter": sum(new_comments(call, task["ID"], user_id) for task in mine),
                "code": _NEW_COMMENTS,
            },
        }
    return Listing(result, 1)


METHODS = (Method("tasks.task.counters.get", "task", _get),)
