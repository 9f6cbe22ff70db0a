"""`tasks.task.*`: what people do outside of processes.

Documented on https://apidocs.bitrix24.com/api-reference/tasks/index.html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.fields import FieldType
from airflow_provider_b24.sandbox.records.rows import task_writer

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
# What may be done with a task in any state, and what nobody is offered here.
_ALWAYS = [
    "edit",
    "remove",
    "delegate",
    "changeDeadline",
    "create",
    "addFavorite",
    "checklistAddItems",
    "rate",
    "checklist.add",
    "checklist.reorder",
    "edit.plan",
    "elapsedtime.add",
    "favorite.add",
]
_NEVER = [
    "accept",
    "decline",
    "take",
    "deleteFavorite",
    "favorite.delete",
    "edit.originator",
    "dayplan.timer.toggle",
]
_COUNTERS = (
    "expired",
    "newComments",
    "projectExpired",
    "projectNewComments",
    "mutedExpired",
    "mutedNewComments",
)
_PEOPLE = {"CREATED_BY": "creator", "RESPONSIBLE_ID": "responsible"}
_CROWDS = {"ACCOMPLICES": "accomplicesData", "AUDITORS": "auditorsData"}


def _table(call: MethodCall) -> Table:
    return call.portal.store.table("task")


def _named(table: Table, allowed: frozenset[str]) -> filters.FieldNamed:
    by_item_name = {table.declare(_ALSO.get(name, name)).item_name.upper(): name for name in allowed}

    def find(name: str) -> Field | None:
        upper = by_item_name.get(name.upper(), name.upper())
        own = upper.startswith("UF_")
        return table.field_named(_ALSO.get(upper, upper)) if own or upper in allowed else None

    return find


def _list(call: MethodCall) -> Listing:
    table = _table(call)
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
    tasks = [_shown(call, row, _selected(table, call.sequence("SELECT"))) for row in rows]
    unasked = _unasked(call)
    if unasked:
        tasks = [_more(row, task, unasked) for row, task in zip(rows, tasks, strict=True)]
    return Listing({"tasks": tasks}, total, following)


def _unasked(call: MethodCall) -> frozenset[str]:
    """Return what a list answers beside the selected fields, because of them and of the order."""
    select = {str(name).upper() for name in call.sequence("SELECT")}
    because = {"DESCRIPTION": "descriptionInBbcode", "COUNTERS": "counter"}
    found = {more for name, more in because.items() if name in select} | ({"group"} if select else set())
    by_deadline = "DEADLINE" in {str(name).upper() for name in call.mapping("ORDER")}
    return frozenset(found | ({"lengthDeadline"} if by_deadline else set()))


def _more(row: Mapping[str, Any], task: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    values = {
        "descriptionInBbcode": "Y",
        "group": [],
        "lengthDeadline": "1" if row.get("DEADLINE") else "0",
        "counter": {"counters": dict.fromkeys(_COUNTERS, 0), "color": "gray", "value": 0},
    }
    return {name: value for name, value in values.items() if name in names} | task


def _selected(table: Table, select: list[Any]) -> list[Field]:
    if not select or "*" in select:
        return table.fields
    found = (table.field_named(str(name)) for name in select)
    return [field for field in found if field is not None]


def _shown(call: MethodCall, row: Mapping[str, Any], fields: list[Field]) -> dict[str, Any]:
    task = task_writer(fields)(row)
    for field in fields:
        value = row.get(field.name, field.default)
        if field.name in _PEOPLE and value:
            task[_PEOPLE[field.name]] = _person(call, value)
        elif field.name in _CROWDS:
            people = {str(number): _person(call, number) for number in value or ()}
            task[field.item_name] = list(people)
            task[_CROWDS[field.name]] = people or []
        elif field.name == "NEW_COMMENTS_COUNT":
            task[field.item_name] = int(value)
        elif field.name == "UF_TASK_WEBDAV_FILES":
            task[field.item_name] = [int(item) if str(item).isdecimal() else item for item in value or ()]
        elif field.name == "GROUP_ID":
            task["group"] = []
        elif field.name == "STATUS":
            task["subStatus"] = task["status"]
    with_more = call.mapping("PARAMS")
    if call.flag_of(with_more, "WITH_PARSED_DESCRIPTION"):
        task["parsedDescription"] = row.get("DESCRIPTION", "")
    if call.flag_of(with_more, "WITH_RESULT_INFO"):
        task |= {"taskHasOpenResult": "N", "taskHasResult": "N", "taskRequireResult": "N"}
    if call.flag_of(with_more, "WITH_TIMER_INFO"):
        task |= {"timeElapsed": None, "timerIsRunningForCurrentUser": "N"}
    return task


def _person(call: MethodCall, number: Any) -> dict[str, str]:
    user = call.portal.callers.users.get(int(number))
    return {
        "id": str(number),
        "name": f"{user.name} {user.last_name}".strip() if user else "",
        "link": f"/company/personal/user/{number}/",
        "icon": "/bitrix/images/tasks/default_avatar.png",
        "workPosition": "",
    }


def _number(call: MethodCall) -> int:
    # Pins and bells are documented with `id`; portals take it elsewhere, too.
    if call.params.get("TASKID") is None and call.params.get("ID") is not None:
        call.params["TASKID"] = call.params["ID"]
    if call.params.get("TASKID") is None:
        text = "CTaskItem All parameters in the constructor must have real class type (internal error)"
        raise RestError(400, "100", text)
    number = call.integer("TASKID")
    if number <= 0:
        raise RestError(400, "0", "wrong task id (internal error)")
    return number


def _not_allowed(code: str) -> RestError:
    # Some pages have one number for it, others another.
    return RestError(400, code, "Action on the task is not allowed (internal error)")


def _existing(call: MethodCall, refusal: RestError | None = None) -> int:
    """Return the number of the task that is meant.

    :param refusal: what is said to one that is not there, where the method's page has its own.
    """
    number = _number(call)
    if number not in _table(call):
        # A task that one may not see and one that is not there are told alike.
        raise refusal or _not_allowed("1048582")
    return number


def _whole(call: MethodCall, number: int, select: list[Any] | None = None) -> dict[str, Any]:
    table = _table(call)
    row = table.row(number)
    task = _shown(call, row, _selected(table, select or []))
    if select is None:
        task |= {"checkListTree": _checklist(call), "checkListCanAdd": True}
    return {"task": task | {"action": _actions(str(row.get("STATUS", "2")))}}


def _checklist(call: MethodCall) -> dict[str, Any]:
    """Return the tree of a task without checklists."""
    nothing = ("id", "copiedId", "entityId", "createdBy", "parentId", "sortIndex")
    fields: dict[str, Any] = dict.fromkeys(nothing) | {"nodeId": 0}
    fields |= {"userId": call.caller.user.id, "title": "", "displaySortIndex": "", "completedCount": 0}
    fields |= {"isComplete": False, "isImportant": False, "members": [], "attachments": []}
    return {"nodeId": 0, "fields": fields, "action": [], "descendants": []}


def _actions(status: str) -> dict[str, bool]:
    done = status == "5"
    possible = {
        "start": status in ("2", "6"),
        "pause": status == "3",
        "complete": not done,
        "renew": status in ("5", "6"),
        "defer": status in ("2", "3"),
        "approve": status == "4",
        "disapprove": status == "4",
    }
    return possible | dict.fromkeys(_ALWAYS, True) | dict.fromkeys(_NEVER, False)


def _get(call: MethodCall) -> dict[str, Any] | list[Any]:
    select = call.params.get("SELECT")
    if select is not None and (not isinstance(select, list | dict) or not select):
        text = "Invalid value {} to match with parameter {select}. Should be value of type array. (internal error)"
        raise RestError(400, "100", text)
    number = _number(call)
    if number not in _table(call):
        # Only this method answers nothing to a task that one may not see or that is not there.
        return []
    if not select:
        return _whole(call, number)
    # Some come unasked.
    found = _whole(call, number, ["ID", "FAVORITE", *call.sequence("SELECT")])
    return {"task": _more(_table(call).row(number), found["task"], _unasked(call))}


def _given(call: MethodCall, number: int = 0) -> dict[str, Any]:
    given = {str(name).upper(): value for name, value in call.mapping("FIELDS").items()}
    if not given:
        raise RestError(400, "100", "Could not find value for parameter {fields} (internal error)")
    table = _table(call)
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
        moment = FieldType("datetime").key
        earlier = (moment(end) or 0) < (moment(begin) or 0)  # type: ignore[operator]
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
    return _whole(call, call.portal.store.create("task", _given(call), call.caller.user.id))


def _update(call: MethodCall) -> dict[str, Any]:
    number = _existing(call, _not_allowed("0"))
    given = _given(call, number)
    if "STATUS" in given:
        given |= _status(call, str(given["STATUS"]))
    return _changed(call, number, given)


def _changed(call: MethodCall, number: int, values: Mapping[str, Any]) -> dict[str, Any]:
    call.portal.store.change("task", number, values, call.caller.user.id)
    return _whole(call, number)


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
    code = "0" if verb in ("start", "complete") else "1048582"
    return lambda call: _changed(call, _existing(call, _not_allowed(code)), _status(call, status))


def _switch(name: str, value: str) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> Any:
        refusal = RestError(400, "1", "Task not found or not accessible") if name == "FAVORITE" else None
        number = _existing(call, refusal)
        call.portal.store.change("task", number, {name: value}, call.caller.user.id)
        return True if name == "FAVORITE" else _whole(call, number)

    return run


def _delegate(call: MethodCall) -> dict[str, Any]:
    number = _existing(call, _not_allowed("0"))
    call.require("userId")
    if call.integer("USERID") not in call.portal.callers.users:
        raise _not_allowed("0")
    return _changed(call, number, {"RESPONSIBLE_ID": call.integer("USERID")})


def _delete(call: MethodCall) -> dict[str, bool]:
    refusal = RestError(400, "1048582", "No access to delete the task (internal error)")
    call.portal.store.remove("task", _existing(call, refusal), call.caller.user.id)
    return {"task": True}


def _fields(call: MethodCall) -> dict[str, Any]:
    told = {}
    for field in _table(call).fields:
        kind = {"pattern": "string", "any": "string"}.get(field.type.name, field.type.name)
        told[field.name] = {"title": field.title, "type": kind}
        if field.name == "ID":
            told[field.name]["primary"] = True  # type: ignore[assignment]
        elif field.required:
            told[field.name]["required"] = True  # type: ignore[assignment]
        else:
            told[field.name]["default"] = field.default
    return {"fields": told}


METHODS = (
    Method("tasks.task.list", "task", _list),
    Method("tasks.task.get", "task", _get),
    Method("tasks.task.add", "task", _add),
    Method("tasks.task.update", "task", _update),
    Method("tasks.task.delete", "task", _delete),
    Method("tasks.task.delegate", "task", _delegate),
    Method("tasks.task.getFields", "task", _fields),
    *(Method(f"tasks.task.{verb}", "task", _move(verb, status)) for verb, status in _MOVES.items()),
    *(Method(f"tasks.task.{verb}", "task", _switch(*change)) for verb, change in _SWITCHES.items()),
)
