"""What a portal does by itself when a task changes: it notes the change, and closes the results of what is done.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/tasks-task-history-list.html and
https://apidocs.bitrix24.com/api-reference/tasks/result/tasks-task-result-list.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.fields import FieldType

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.records.store import Change, Store

_DONE = "5"
_FIRST_CHAT = 100_000
#: What goes with a task.
_BELONGINGS = ("task_history", "task_message", "task_result", "task_file")
# The changes that are noted. A moment is noted as Unix time, and of a description that it is another.
_MOMENTS = frozenset({"DEADLINE", "START_DATE_PLAN", "END_DATE_PLAN"})
_LISTS = frozenset({"ACCOMPLICES", "AUDITORS", "TAGS", "UF_TASK_WEBDAV_FILES"})
_NOTED = (
    _MOMENTS
    | _LISTS
    | {
        "TITLE",
        "DESCRIPTION",
        "STATUS",
        "PRIORITY",
        "MARK",
        "PARENT_ID",
        "GROUP_ID",
        "STAGE_ID",
        "CREATED_BY",
        "RESPONSIBLE_ID",
        "DURATION_PLAN",
        "DURATION_FACT",
        "TIME_ESTIMATE",
        "TIME_SPENT_IN_LOGS",
        "ADD_IN_REPORT",
        "TASK_CONTROL",
        "ALLOW_TIME_TRACKING",
        "ALLOW_CHANGE_DEADLINE",
        "FLOW_ID",
    }
)
_moment = FieldType("datetime").key


def chat_of(task: int) -> int:
    """Return the number of a task's chat; those of people's notifications are their own numbers."""
    return _FIRST_CHAT + task


def belonging(store: Store, kind: str, task: int) -> list[int]:
    """Return the numbers of a task's messages, results and so on, in order.

    :param kind: `task_history`, `task_message`, `task_result` or `task_file`.
    """
    return list(store.table(kind).all(filters.CRM, filter_by={"=TASK_ID": task}))


def follow(store: Store, change: Change, now: str) -> None:
    """Note a change of a task, and what follows from it.

    :param now: the moment, as the portal writes dates.
    """
    if change.kind == "task_message" and change.verb == "add":
        task = store.table("task_message").row(change.number)["TASK_ID"]
        _note(store, task, change.user_id, now, "COMMENT", None, str(change.number))
    if change.kind != "task":
        return
    if change.verb == "add":
        _note(store, change.number, change.user_id, now, "NEW", None, None)
    elif change.verb == "delete":
        for kind in _BELONGINGS:
            for number in belonging(store, kind, change.number):
                store.table(kind).delete(number)
    else:
        row = store.table("task").row(change.number)
        for name, before in change.changed.items():
            if name in _NOTED:
                _note(
                    store,
                    change.number,
                    change.user_id,
                    now,
                    name,
                    _text(name, before),
                    _text(name, row[name]),
                )
        if "STATUS" in change.changed and row["STATUS"] == _DONE:
            for number in belonging(store, "task_result", change.number):
                store.table("task_result").update(number, {"STATUS": "closed"})


def _note(
    store: Store, task: int, user_id: int, now: str, field: str, before: str | None, after: str | None
) -> None:
    noted = {"TASK_ID": task, "USER_ID": user_id, "CREATED_DATE": now, "FIELD": field}
    store.table("task_history").add({**noted, "FROM_VALUE": before, "TO_VALUE": after})


def _text(name: str, value: Any) -> str:
    if name == "DESCRIPTION" or value in (None, "", [], 0):
        return ""
    if name in _MOMENTS:
        moment = _moment(value)
        return str(int(moment)) if isinstance(moment, float) else ""
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value)
