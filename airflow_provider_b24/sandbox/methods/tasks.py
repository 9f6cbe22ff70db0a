"""`tasks.task.*`: what people do outside of processes.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/index.html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.bb_code import as_html
from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.fields import FieldType
from airflow_provider_b24.sandbox.records.task_changes import belonging
from airflow_provider_b24.sandbox.task_card import (
    existing,
    is_overdue,
    new_comments,
    selected,
    shown,
    table_of,
    task_id,
    whole,
)

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.records.fields import Field
    from airflow_provider_b24.sandbox.records.table import Table

_FILTER = frozenset(
    [
        "ID",
        "PARENT_ID",
        "GROUP_ID",
        "CREATED_BY",
        "STATUS_CHANGED_BY",
        "PRIORITY",
        "FORUM_TOPIC_ID",
        "RESPONSIBLE_ID",
        "TITLE",
        "TAG",
        "REAL_STATUS",
        "STATUS",
        "MARK",
        "SITE_ID",
        "ADD_IN_REPORT",
        "DATE_START",
        "DEADLINE",
        "CREATED_DATE",
        "CLOSED_DATE",
        "CHANGED_DATE",
        "ACCOMPLICE",
        "AUDITOR",
        "STAGE_ID",
        "SPRINT_ID",
        "BACKLOG_ID",
        "UF_CRM_TASK",
        "FAVORITE",
    ]
)
_ORDER = frozenset(
    [
        "ID",
        "TITLE",
        "TIME_SPENT_IN_LOGS",
        "DATE_START",
        "CREATED_DATE",
        "CHANGED_DATE",
        "CLOSED_DATE",
        "ACTIVITY_DATE",
        "START_DATE_PLAN",
        "END_DATE_PLAN",
        "DEADLINE",
        "REAL_STATUS",
        "STATUS_COMPLETE",
        "PRIORITY",
        "MARK",
        "GROUP_ID",
        "TIME_ESTIMATE",
        "ALLOW_CHANGE_DEADLINE",
        "ALLOW_TIME_TRACKING",
        "MATCH_WORK_TIME",
        "FAVORITE",
        "SORTING",
        "IS_PINNED",
        "IS_PINNED_IN_GROUP",
    ]
)
_ALSO = {
    "TAG": "TAGS",
    "REAL_STATUS": "STATUS",
    "STATUS_COMPLETE": "STATUS",
    "ACCOMPLICE": "ACCOMPLICES",
    "AUDITOR": "AUDITORS",
}
_STATUSES = frozenset("23456")
_moment = FieldType("datetime").key
_MOVES = {
    "start": "3",
    "pause": "2",
    "complete": "5",
    "defer": "6",
    "renew": "2",
    "approve": "5",
    "disapprove": "2",
}
_SWITCHES = {
    "favorite.add": ("FAVORITE", "Y"),
    "favorite.remove": ("FAVORITE", "N"),
    "pin": ("IS_PINNED", "Y"),
    "unpin": ("IS_PINNED", "N"),
    "mute": ("IS_MUTED", "Y"),
    "unmute": ("IS_MUTED", "N"),
}


def _named(table: Table, allowed: frozenset[str]) -> filters.FieldNamed:
    by_item_name = {table.declare(_ALSO.get(name, name)).item_name.upper(): name for name in allowed}

    def find(name: str) -> Field | None:
        upper = by_item_name.get(name.upper(), name.upper())
        own = upper.startswith("UF_")
        return table.field_named(_ALSO.get(upper, upper)) if own or upper in allowed else None

    return find


def _list(call: MethodCall) -> Listing:
    table = table_of(call)
    given = call.params.get("FILTER")
    if isinstance(given, Mapping):
        given = dict(given)
        more = given.pop("::SUBFILTER-PARAMS", None)
        if str(given.pop("ONLY_ROOT_TASKS", "")) == "Y":
            given["PARENT_ID"] = [None, 0]
        given |= more if isinstance(more, Mapping) else {}
    # The order is checked by itself: it may name other fields.
    filters.read_order(call.params.get("ORDER"), filters.TASK, _named(table, _ORDER))
    rows, total, following = table.page(
        filters.TASK,
        filter_by=given,
        order=call.params.get("ORDER"),
        start=call.integer("START"),
        default_order={"ID": "DESC"},
        fields=_named(table, _FILTER | _ORDER),
    )
    filters.read_filter(given, filters.TASK, _named(table, _FILTER))
    select = call.sequence("SELECT")
    fields = selected(table, select)
    tasks = [shown(call, row, fields) | _more(call, row, select) for row in rows]
    return Listing({"tasks": tasks}, total, following)


def _more(call: MethodCall, row: Mapping[str, Any], select: list[Any]) -> dict[str, Any]:
    """Return what a list has of a task on request."""
    task: dict[str, Any] = {}
    wanted = call.mapping("PARAMS")
    if call.flag_of(wanted, "WITH_PARSED_DESCRIPTION"):
        task["parsedDescription"] = as_html(str(row.get("DESCRIPTION") or ""))
    if call.flag_of(wanted, "WITH_RESULT_INFO"):
        store = call.portal.store
        numbers = belonging(store, "task_result", row["ID"])
        still = [n for n in numbers if store.table("task_result").row(n).get("STATUS", "open") == "open"]
        task |= {
            "taskHasOpenResult": "Y" if still else "N",
            "taskHasResult": "Y" if numbers else "N",
            "taskRequireResult": "N",
        }
    if call.flag_of(wanted, "WITH_TIMER_INFO"):
        task |= {"timeElapsed": None, "timerIsRunningForCurrentUser": "N"}
    return task | _unasked(call, row, select)


def _unasked(call: MethodCall, row: Mapping[str, Any], select: list[Any]) -> dict[str, Any]:
    """Return what comes with a task because of the selected fields and of the order."""
    names = {str(name).upper() for name in select}
    task: dict[str, Any] = {}
    if "DESCRIPTION" in names:
        task["descriptionInBbcode"] = "Y"
    if "COUNTERS" in names:
        task["counter"] = _counter(call, row)
    if names:
        task["group"] = []
    if "DEADLINE" in {str(name).upper() for name in call.mapping("ORDER")}:
        task["lengthDeadline"] = "1" if row.get("DEADLINE") else "0"
    return task


def _counter(call: MethodCall, row: Mapping[str, Any]) -> dict[str, Any]:
    late = int(is_overdue(call, row))
    new = new_comments(call, row["ID"], call.caller.user.id)
    muted = row.get("IS_MUTED") == "Y"
    counters = {
        "expired": 0 if muted else late,
        "newComments": 0 if muted else new,
        "projectExpired": 0,
        "projectNewComments": 0,
        "mutedExpired": late if muted else 0,
        "mutedNewComments": new if muted else 0,
    }
    color = "gray" if muted or not (late or new) else "danger" if late else "success"
    return {"counters": counters, "color": color, "value": late + new}


def _get(call: MethodCall) -> dict[str, Any] | list[Any]:
    select = call.params.get("SELECT")
    if select is not None and (not isinstance(select, list | dict) or not select):
        text = "Invalid value {} to match with parameter {select}. Should be value of type array. (internal error)"
        raise RestError(400, "100", text)
    number = task_id(call)
    if number not in table_of(call):
        # Only this method answers nothing to a task that one may not see or that is not there.
        return []
    if not select:
        return whole(call, number)
    names = call.sequence("SELECT")
    # Some come unasked.
    found = whole(call, number, ["ID", "FAVORITE", *names])
    return {"task": _unasked(call, table_of(call).row(number), names) | found["task"]}


def _given(call: MethodCall, number: int = 0) -> dict[str, Any]:
    given = {str(name).upper(): value for name, value in call.mapping("FIELDS").items()}
    if not given:
        raise RestError(400, "100", "Could not find value for parameter {fields} (internal error)")
    table = table_of(call)
    if number == 0 or "TITLE" in given:
        _check(bool(str(given.get("TITLE") or "").strip()), "Task title is not specified")
    if number == 0 or "RESPONSIBLE_ID" in given:
        # Without anyone it is the creator's own task.
        responsible = str(given.setdefault("RESPONSIBLE_ID", call.caller.user.id))
        _check(responsible not in ("", "0"), "Responsible person not specified")
        known = responsible.isdecimal() and int(responsible) in call.portal.callers.users
        _check(known, 'User specified in the "Responsible" field not found')
    if "STATUS" in given:
        _check(str(given["STATUS"]) in _STATUSES, "Incorrect status")
    begin, end = (given.get(name) for name in ("START_DATE_PLAN", "END_DATE_PLAN"))
    if begin and end:
        earlier = (_moment(end) or 0) < (_moment(begin) or 0)  # type: ignore[operator]
        _check(not earlier, "The end date in scheduling is earlier than the start date")
    parent = str(given.get("PARENT_ID") or "0")
    if parent != "0":
        found = parent.isdecimal() and int(parent) in table
        _check(found, 'Task specified in the "Parent Task" field not found')
        _check(int(parent) != number, "Cannot bind the node to itself")
        _check(
            number == 0 or number not in _ancestors(table, int(parent)),
            "Creating cyclic links in tasks is prohibited",
        )
    return given


def _ancestors(table: Table, number: int) -> set[int]:
    found: set[int] = set()
    while number in table and number not in found:
        found.add(number)
        number = int(table.row(number).get("PARENT_ID") or 0)
    return found


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise RestError(400, "ERROR_CORE", f"{problem}<br>")


def _add(call: MethodCall) -> dict[str, Any]:
    return whole(call, call.portal.store.create("task", _given(call), call.caller.user.id))


def _update(call: MethodCall) -> dict[str, Any]:
    number = existing(call, "0")
    given = _given(call, number)
    if "STATUS" in given:
        given |= _status(call, str(given["STATUS"]))
    return _changed(call, number, given)


def _changed(call: MethodCall, number: int, values: Mapping[str, Any]) -> dict[str, Any]:
    call.portal.store.change("task", number, values, call.caller.user.id)
    return whole(call, number)


def _status(call: MethodCall, status: str) -> dict[str, Any]:
    now, user_id = call.now(), call.caller.user.id
    closed = status == "5"
    return {
        "STATUS": status,
        "STATUS_CHANGED_BY": user_id,
        "STATUS_CHANGED_DATE": now,
        "CLOSED_BY": user_id if closed else None,
        "CLOSED_DATE": now if closed else None,
    }


def _move(verb: str, status: str) -> Callable[[MethodCall], Any]:
    # Some pages have one number for a task that is not there, others another.
    code = "0" if verb in ("start", "complete") else "1048582"
    return lambda call: _changed(call, existing(call, code), _status(call, status))


def _switch(name: str, value: str) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> Any:
        favorite = name == "FAVORITE"
        number = existing(call, "1", "Task not found or not accessible") if favorite else existing(call)
        call.portal.store.change("task", number, {name: value}, call.caller.user.id)
        return True if favorite else whole(call, number)

    return run


def _delegate(call: MethodCall) -> dict[str, Any]:
    number = existing(call, "0")
    call.require("userId")
    if call.integer("USERID") not in call.portal.callers.users:
        raise RestError(400, "0", "Action on the task is not allowed (internal error)")
    return _changed(call, number, {"RESPONSIBLE_ID": call.integer("USERID")})


def _delete(call: MethodCall) -> dict[str, bool]:
    number = existing(call, text="No access to delete the task (internal error)")
    call.portal.store.remove("task", number, call.caller.user.id)
    return {"task": True}


def _fields(call: MethodCall) -> dict[str, Any]:
    told = {}
    for field in table_of(call).fields:
        kind = {"pattern": "string", "any": "string"}.get(field.type.name, field.type.name)
        told[field.name] = {"title": field.title, "type": kind}
        if field.name == "ID":
            told[field.name]["primary"] = True  # type: ignore[assignment]
        elif field.required:
            told[field.name]["required"] = True  # type: ignore[assignment]
        else:
            told[field.name]["default"] = field.default
    return {"fields": told}


def _watch(*, start: bool) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> dict[str, Any]:
        number = existing(call, "1048584", "a:0:{}", note="")
        own = str(call.caller.user.id)
        others = [str(one) for one in table_of(call).row(number).get("AUDITORS") or () if str(one) != own]
        return _changed(call, number, {"AUDITORS": [*others, own] if start else others})

    return run


METHODS = (
    Method("tasks.task.list", "task", _list),
    Method("tasks.task.get", "task", _get),
    Method("tasks.task.add", "task", _add),
    Method("tasks.task.update", "task", _update),
    Method("tasks.task.delete", "task", _delete),
    Method("tasks.task.delegate", "task", _delegate),
    Method("tasks.task.getFields", "task", _fields),
    Method("tasks.task.startwatch", "task", _watch(start=True)),
    Method("tasks.task.stopwatch", "task", _watch(start=False)),
    *(Method(f"tasks.task.{verb}", "task", _move(verb, status)) for verb, status in _MOVES.items()),
    *(Method(f"tasks.task.{verb}", "task", _switch(*change)) for verb, change in _SWITCHES.items()),
)
