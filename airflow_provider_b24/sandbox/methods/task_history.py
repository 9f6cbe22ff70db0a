"""`tasks.task.history.list`: what has happened to a task.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-history-list.html. Moments are in it as Unix
time, and of descriptions just that they are another, as portals have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.method import Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.task_card import existing

if TYPE_CHECKING:
    from collections.abc import Mapping


def _list(call: MethodCall) -> dict[str, Any]:
    number = existing(call, "0", "Access denied. (internal error)")
    table = call.portal.store.table("task_history")
    given = call.params.get("FILTER")
    wanted = {**given, "TASK_ID": number} if isinstance(given, dict) else given or {"TASK_ID": number}
    order = call.params.get("ORDER") or {"CREATED_DATE": "DESC"}
    if isinstance(order, dict):
        # What happened in the same second stays in order.
        order = {**order, "ID": next(iter(order.values()))}
    numbers = table.all(filters.TASK, filter_by=wanted, order=order)
    return {"list": [_shown(call, table.row(one)) for one in numbers]}


def _shown(call: MethodCall, row: Mapping[str, Any]) -> dict[str, Any]:
    user = call.portal.callers.users.get(row["USER_ID"])
    return {
        "id": row["ID"],
        "createdDate": row["CREATED_DATE"],
        "field": row["FIELD"],
        "value": {"from": row["FROM_VALUE"], "to": row["TO_VALUE"]},
        "user": {
            "id": row["USER_ID"],
            "name": user.name if user else "",
            "lastName": user.last_name if user else "",
            "secondName": "",
            "login": user.email if user else "",
        },
    }


METHODS = (Method("tasks.task.history.list", "task", _list),)
