"""One session with a portal that calls every documented method it has, and notes what is read and answered."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from unittest import mock

from airflow_provider_b24.sandbox import AskPerson, CallRobot, SandboxPortal
from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, MethodCall, Rest3Call

from . import crm
from .facts import paths

_HANDLER = "http://127.0.0.1:9/"
_ROBOT = {
    "CODE": "score",
    "HANDLER": _HANDLER,
    "AUTH_USER_ID": 1,
    "USE_SUBSCRIPTION": "Y",
    "NAME": "Score",
    "DESCRIPTION": "",
    "PROPERTIES": {"a": {"Name": "A"}},
    "RETURN_PROPERTIES": {"b": {"Name": "B"}},
    "DOCUMENT_TYPE": ["crm", "CCrmDocumentLead", "LEAD"],
    "FILTER": {"INCLUDE": [["crm"]]},
    "USE_PLACEMENT": "Y",
    "PLACEMENT_HANDLER": _HANDLER,
}
_LEAD = ["crm", "CCrmDocumentLead", "LEAD_1"]
_STEPS = base64.b64encode(b'[{"type": "finish"}]').decode()
_PHONES = {"PHONE": [{"VALUE": "1"}], "EMAIL": [{"VALUE": "a@b.cc"}], "IM": [{"VALUE": "x"}]}
_TASK = {"taskId": 1}
# Before the name of a method of REST 3.0.
_REST3 = "api/"


class Seen(NamedTuple):
    """What one method did.

    :param read: names of parameters it looked at, in capitals; `*` for all of them.
    :param answer: paths of the fields it answered.
    """

    read: set[str]
    answer: set[str]


class _Watched(dict[str, Any]):
    # Notes which parameters a method looks at.
    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key.upper())
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.read.add(key.upper())
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.read.add(str(key).upper())
        return super().__contains__(key)

    def items(self) -> Any:
        self.read.add("*")
        return super().items()


def watch() -> dict[str, Seen]:
    """Call everything and return what was seen, by method in small letters.

    :raises RuntimeError: when a call is refused that should not be.
    """
    seen: dict[str, Seen] = {}
    portal = SandboxPortal(limits=False)
    with portal:
        portal.records("item:147")
        for method, params in _calls(portal):
            read, result = _call(portal, method, params)
            name = method.removeprefix(_REST3).lower()
            known = seen.setdefault(name, Seen(set(), set()))
            known.read.update(read)
            known.answer.update(paths(result))
    return seen


def _call(portal: SandboxPortal, method: str, params: dict[str, Any]) -> tuple[set[str], Any]:
    caller = portal.callers.by_token(portal.application.access_token)
    newer = method.startswith(_REST3)
    name = method.removeprefix(_REST3).lower()
    watched = _Watched(params if newer else {key.upper(): value for key, value in params.items()})
    try:
        if newer:
            result = portal.methods3[name].run(Rest3Call(portal, caller, watched))
        else:
            call = MethodCall(portal, caller, name, params)
            call.params = watched
            result = portal.methods[name].run(call)
    except RestError as refusal:
        raise RuntimeError(f"{method} {params}: {refusal}") from None
    return watched.read, result.result if isinstance(result, Listing) else result


def _calls(portal: SandboxPortal) -> Iterator[tuple[str, dict[str, Any]]]:
    # Nothing is posted: what is called here answers by itself.
    with mock.patch.object(portal.queue_server, "_enqueue", lambda call: call):
        yield from _records()
        yield from _own_fields_and_directories()
        yield from crm.calls(portal)
        yield from _tasks()
        yield from _belongings_of_tasks(portal)
        yield "tasks.task.delete", _TASK
        yield from _people()
        yield from _application()
        yield from _notifications()
        yield from _processes(portal)


def _records() -> Iterator[tuple[str, dict[str, Any]]]:
    every = {
        "select": ["*", "UF_*", "PHONE", "EMAIL"],
        "filter": {">ID": 0},
        "order": {"ID": "ASC"},
        "start": 0,
    }
    for kind in ("lead", "deal", "contact", "company"):
        fields = {"TITLE": "x"} | (_PHONES if kind != "deal" else {})
        yield f"crm.{kind}.fields", {}
        yield f"crm.{kind}.add", {"fields": fields, "params": {"REGISTER_SONET_EVENT": "Y"}}
        yield f"crm.{kind}.list", every
        yield f"crm.{kind}.get", {"id": 1}
        yield f"crm.{kind}.update", {"id": 1, "fields": {"COMMENTS": "x"}, "params": {}}
    for kind in (1, 2, 147):
        where = {"entityTypeId": kind, "useOriginalUfNames": "N"}
        phones = [{"typeId": "PHONE", "valueType": "WORK", "value": "1"}]
        yield "crm.item.fields", where
        yield "crm.item.add", {**where, "fields": {"title": "x", "fm": phones}}
        yield "crm.item.list", {**where, **every}
        yield "crm.item.get", {**where, "id": 1 if kind > 4 else 2}
        yield "crm.item.update", {**where, "id": 1 if kind > 4 else 2, "fields": {"title": "y"}}
        yield "crm.item.import", {**where, "fields": {"title": "x"}}
        yield "crm.item.batchImport", {**where, "data": [{"title": "x"}, {"contactIds": 1}]}
        yield "crm.item.delete", {**where, "id": 1 if kind > 4 else 2}
    for kind in ("lead", "deal", "contact", "company"):
        yield f"crm.{kind}.delete", {"id": 1}


def _own_fields_and_directories() -> Iterator[tuple[str, dict[str, Any]]]:
    made = {"FIELD_NAME": "X", "USER_TYPE_ID": "enumeration", "LABEL": "x", "LIST": [{"VALUE": "a"}]}
    listing = {"filter": {"MANDATORY": "N", "LANG": "en"}, "order": {"SORT": "ASC"}}
    owners = [f"crm.{kind}" for kind in ("lead", "deal", "contact", "company")]
    for number, owner in enumerate([*owners, "user"], 1):
        yield f"{owner}.userfield.add", {"fields": made}
        yield f"{owner}.userfield.list", listing
        if owner != "user":
            yield f"{owner}.userfield.get", {"id": number}
        yield f"{owner}.userfield.update", {"id": number, "fields": {"SORT": 1}}
        yield f"{owner}.userfield.delete", {"id": number}
    yield "crm.status.fields", {}
    yield "crm.status.entity.types", {}
    yield "crm.status.entity.items", {"entityId": "SOURCE"}
    yield "crm.status.list", {"filter": {"ENTITY_ID": "DEAL_STAGE"}, "order": {"SORT": "ASC"}}
    yield "crm.status.get", {"id": 1}
    yield "crm.status.add", {"fields": {"ENTITY_ID": "SOURCE", "STATUS_ID": "X", "NAME": "x"}}
    yield "crm.status.update", {"id": 1, "fields": {"NAME": "x"}}
    yield "crm.status.delete", {"id": 1, "params": {"FORCED": "Y"}}


def _tasks() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "tasks.task.getFields", {}
    fields = {"TITLE": "x", "ACCOMPLICES": [1], "AUDITORS": [2], "TAGS": ["a"]}
    yield "tasks.task.add", {"fields": fields}
    more = {"WITH_RESULT_INFO": True, "WITH_TIMER_INFO": True, "WITH_PARSED_DESCRIPTION": True}
    listing = {
        "order": {"ID": "ASC"},
        "filter": {"ID": 1},
        "select": ["*", "COUNTERS"],
        "params": more,
        "start": 0,
    }
    yield "tasks.task.list", listing
    yield "tasks.task.get", {**_TASK, "select": ["*"]}
    yield "tasks.task.update", {**_TASK, "fields": {"TITLE": "y"}}
    yield "tasks.task.delegate", {**_TASK, "userId": 2}
    moves = (
        "start",
        "pause",
        "complete",
        "renew",
        "defer",
        "approve",
        "disapprove",
        "pin",
        "unpin",
        "mute",
        "unmute",
    )
    for verb in (*moves, "startwatch", "stopwatch", "favorite.add", "favorite.remove"):
        yield f"tasks.task.{verb}", {"id": 1} if verb in ("pin", "unpin", "mute", "unmute") else _TASK


def _belongings_of_tasks(portal: SandboxPortal) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "tasks.task.history.list", {**_TASK, "filter": {"FIELD": "NEW"}, "order": {"createdDate": "ASC"}}
    yield "tasks.task.getaccess", {**_TASK, "users": [1]}
    yield f"{_REST3}tasks.task.access.get", {"id": 1}
    yield "tasks.task.counters.get", {"userId": 1, "groupId": 0, "type": "view_all"}
    file = portal.add_file("a.txt", b"x")
    yield "tasks.task.files.attach", {**_TASK, "fileId": file}
    yield f"{_REST3}tasks.task.file.attach", {**_TASK, "fileIds": [file]}
    for family in ("", "access.", "chat.message.", "file."):
        name = "id" if family != "file." else "taskId"
        yield f"{_REST3}tasks.task.{family}field.get", {"name": name, "select": None}
        yield f"{_REST3}tasks.task.{family}field.list", {"select": None}
    text = {"taskId": 1, "text": "x"}
    yield f"{_REST3}tasks.task.chat.message.send", {"fields": text}
    yield f"{_REST3}tasks.task.result.add", {"fields": text}
    yield f"{_REST3}tasks.task.result.addfromchatmessage", {"fields": {"messageId": 1}}
    yield f"{_REST3}tasks.task.result.update", {"id": 2, "fields": {"text": "y"}}
    yield f"{_REST3}tasks.task.result.delete", {"id": 2}
    yield "tasks.task.result.addFromComment", {"commentId": 1}
    yield "tasks.task.result.list", _TASK
    yield "tasks.task.result.deleteFromComment", {"commentId": 1}


def _people() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "user.add", {"EMAIL": "c@portal.example", "NAME": "Cleo"}
    yield "user.update", {"ID": 3, "PERSONAL_CITY": "Berlin"}
    everybody = {"sort": "ID", "order": "ASC", "ADMIN_MODE": True, "start": 0, "IMAGE_RESIZE": "small"}
    yield "user.get", {**everybody, "FILTER": {"ACTIVE": True}}
    yield "user.search", {**everybody, "FILTER": {"NAME": "a"}}
    yield "user.access", {"ACCESS": ["AU"]}
    yield "access.name", {"ACCESS": ["AU", "G2"]}
    yield "department.add", {"NAME": "x", "PARENT": 1, "SORT": 1, "UF_HEAD": 1}
    yield "department.get", {"sort": "ID", "order": "ASC", "PARENT": 1, "START": 0}
    yield "department.update", {"ID": 2, "NAME": "y"}
    yield "department.delete", {"ID": 2}


def _application() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "app.option.set", {"options": {"data": "value", "data2": "value2"}}
    yield "app.option.get", {}
    yield "app.option.get", {"option": "data"}
    yield "user.option.set", {"options": {"data": "value", "data2": "value2"}}
    yield "user.option.get", {}
    yield "feature.get", {"CODE": "rest_offline_extended"}
    yield "method.get", {"NAME": "profile"}
    offline = {"event": "ONCRMLEADADD", "event_type": "offline", "auth_connector": "x"}
    yield "event.bind", offline
    yield "event.bind", {"event": "ONCRMLEADADD", "handler": _HANDLER, "auth_type": 0}
    yield "event.bind", {"event": "ONOFFLINEEVENT", "handler": _HANDLER, "options": {"minTimeout": 1}}
    yield "crm.lead.add", {"fields": {"TITLE": "x"}}
    yield "crm.lead.add", {"fields": {"TITLE": "x"}}
    mine = {"auth_connector": "x"}
    yield "event.offline.list", {**mine, "filter": {"EVENT_NAME": "ONCRMLEADADD"}, "order": {"ID": "ASC"}}
    portion = {"filter": {}, "order": {}, "limit": 1, "clear": 0, "process_id": "", "error": 0}
    yield "event.offline.get", {**mine, **portion}
    yield "event.offline.error", {"process_id": "x", "message_id": [1]}
    yield "event.offline.clear", {"process_id": "x", "id": [1]}
    yield "event.offline.clear", {"process_id": "x", "message_id": [1]}
    yield "event.unbind", {**offline, "handler": "", "auth_type": 0}


def _notifications() -> Iterator[tuple[str, dict[str, Any]]]:
    note = {
        "USER_ID": 1,
        "MESSAGE": "x",
        "MESSAGE_OUT": "x",
        "TAG": "t",
        "SUB_TAG": "s",
        "ATTACH": [{"MESSAGE": "x"}],
    }
    yield "im.notify.personal.add", {**note, "CLIENT_ID": "x"}
    yield "im.notify.system.add", {**note, "TAG": "", "CLIENT_ID": "x"}
    yield "im.notify.get", {"LAST_ID": 9, "LAST_TYPE": 3, "LIMIT": 9, "CONVERT_TEXT": "Y"}
    wanted = {"SEARCH_TYPE": "rest", "SEARCH_TYPES": ["rest"], "SEARCH_AUTHORS": [1], "SEARCH_TEXT": "x"}
    days = {"SEARCH_DATE": "", "SEARCH_DATE_FROM": "", "SEARCH_DATE_TO": "", "GROUP_TAG": "", "LIMIT": 9}
    yield "im.notify.history.search", {**wanted, **days, "CONVERT_TEXT": "N"}
    yield "im.notify.schema.get", {}
    yield "im.notify.read", {"ID": 1, "ACTION": "Y", "ONLY_CURRENT": "Y"}
    yield "im.notify.read.list", {"IDS": [1], "ACTION": "Y"}
    yield "im.notify.read.all", {}
    yield "im.notify.answer", {"NOTIFY_ID": 1, "ANSWER_TEXT": "x"}
    yield "im.notify.confirm", {"NOTIFY_ID": 1, "NOTIFY_VALUE": "Y"}
    yield "im.notify.delete", {"SUB_TAG": "s", "CLIENT_ID": "x"}


def _processes(portal: SandboxPortal) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("robot", "activity"):
        yield f"bizproc.{kind}.add", {**_ROBOT, "CODE": kind}
        yield f"bizproc.{kind}.list", {}
        yield f"bizproc.{kind}.update", {"CODE": kind, "FIELDS": {"NAME": "y"}}
    process = portal.start_process([CallRobot("robot"), AskPerson(1), AskPerson(1)])
    yield "bizproc.activity.log", {"EVENT_TOKEN": process.waiting_for, "LOG_MESSAGE": "x"}
    said = {"EVENT_TOKEN": process.waiting_for, "RETURN_VALUES": {"b": 1}, "LOG_MESSAGE": "x"}
    yield "bizproc.event.send", said
    names = [
        "ENTITY",
        "DOCUMENT_ID",
        "ID",
        "WORKFLOW_ID",
        "DOCUMENT_NAME",
        "NAME",
        "DOCUMENT_URL",
        "PARAMETERS",
    ]
    yield (
        "bizproc.task.list",
        {"SELECT": ["*", *names], "FILTER": {"USER_ID": 1}, "ORDER": {"ID": "ASC"}, "START": 0},
    )
    yield "bizproc.task.complete", {"TASK_ID": 1, "STATUS": 1, "COMMENT": "x", "FIELDS": {}}
    yield "bizproc.task.delegate", {"TASK_IDS": [2], "FROM_USER_ID": 1, "TO_USER_ID": 2}
    running = {"SELECT": ["*"], "FILTER": {"MODULE_ID": "crm"}, "ORDER": {"ID": "ASC"}, "start": 0}
    yield "bizproc.workflow.instances", running
    template = {
        "DOCUMENT_TYPE": ["crm", "CCrmDocumentLead", "LEAD"],
        "NAME": "x",
        "DESCRIPTION": "x",
        "TEMPLATE_DATA": ["x.bpt", _STEPS],
        "AUTO_EXECUTE": 0,
    }
    yield "bizproc.workflow.template.add", template
    yield "bizproc.workflow.template.update", {"ID": 1, "FIELDS": {"NAME": "y"}}
    yield (
        "bizproc.workflow.template.list",
        {"SELECT": ["*"], "FILTER": {"ID": 1}, "ORDER": {"ID": "ASC"}, "start": 0},
    )
    yield "bizproc.workflow.start", {"TEMPLATE_ID": 1, "DOCUMENT_ID": _LEAD, "PARAMETERS": {"a": 1}}
    yield "bizproc.workflow.terminate", {"ID": process.id, "STATUS": "x"}
    yield "bizproc.workflow.kill", {"ID": process.id}
    yield "bizproc.workflow.template.delete", {"ID": 1}
    for kind in ("robot", "activity"):
        yield f"bizproc.{kind}.delete", {"CODE": kind}
