"""What a portal must have for an example to make sense there: the records that it names, by family of methods."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from airflow_provider_b24.sandbox import AskPerson, CallRobot, SandboxPortal
from airflow_provider_b24.sandbox.core import document_of
from airflow_provider_b24.sandbox.method import MethodCall

_KINDS = {1: "lead", 2: "deal", 3: "contact", 4: "company"}
_HANDLER = "https://handler.example/"
# Parameters that hold the number of a user, in any method.
_USERS = frozenset(
    [
        "USER_ID",
        "USERID",
        "FROM_USER_ID",
        "TO_USER_ID",
        "AUTH_USER_ID",
        "CREATED_BY",
        "RESPONSIBLE_ID",
        "ASSIGNED_BY_ID",
        "UF_HEAD",
    ]
)
_CONTACTS = {
    "PHONE": [{"VALUE": "1", "VALUE_TYPE": "WORK"}],
    "EMAIL": [{"VALUE": "a@portal.example", "VALUE_TYPE": "WORK"}],
    "WEB": [{"VALUE": "portal.example", "VALUE_TYPE": "WORK"}],
    "IM": [{"VALUE": "a", "VALUE_TYPE": "TELEGRAM"}],
}
_OPERATOR = re.compile("^[!=<>%@]*")
_CROWD = 3

Params = Mapping[str, Any]


def prepare(portal: SandboxPortal, method: str, params: Params) -> dict[str, Any]:
    """Put what a call names into a portal.

    :returns: the parameters, with what only the portal can name: its processes and event tokens.
    """
    _people(portal, params)
    upper = {name.upper(): value for name, value in params.items()}
    for family, make in _FAMILIES:
        if method.lower().startswith(family):
            return {**params, **make(portal, method.lower(), upper)}
    return dict(params)


def _people(portal: SandboxPortal, params: Any) -> None:
    for name, value in _named(params):
        if _OPERATOR.sub("", name.upper()) in _USERS and str(value).isdecimal():
            _user(portal, int(value))


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name), item
            yield from _named(item)


def _user(portal: SandboxPortal, number: int) -> None:
    if number and number not in portal.callers.users:
        portal.add_records(
            "user", [{"ID": number, "NAME": "Uwe", "LAST_NAME": "User", "EMAIL": "u@b.example"}]
        )
        portal.callers.let_in(number)


def _add(portal: SandboxPortal, kind: str, record: Mapping[str, Any]) -> None:
    if record.get("ID") not in portal.records(kind):
        portal.add_records(kind, [record])


def _number(upper: Params, name: str = "ID") -> int:
    value = str(upper.get(name, ""))
    return int(value) if value.isdecimal() else 0


def _found(upper: Params) -> dict[str, Any]:
    """Return fields of a record that passes the filter, as far as that is easily said."""
    given = upper.get("FILTER")
    fields: dict[str, Any] = {}
    for key, value in given.items() if isinstance(given, Mapping) else ():
        if isinstance(value, Mapping):
            fields = _found({"FILTER": value}) | fields
            continue
        if key.startswith("!=") and value == "":
            # Whatever it is: not nothing.
            fields.setdefault(key[2:], "text")
        if key.startswith("!") or key.lower() == "logic":
            continue
        name = key.lstrip("=<>%@")
        sign = key.removesuffix(name)
        chosen = value[0] if isinstance(value, list) and value else value
        if sign[:1] in ("<", ">") and chosen in ("text", ""):
            # A date that the example computes.
            continue
        if sign == ">":
            # Later, where it is a date.
            chosen = int(chosen) + 1 if str(chosen).isdecimal() else f"2099{chosen[4:]}"
        if "%" in sign or name not in fields or fields[name] == "text":
            fields[name] = chosen
    return fields


def _old_record(portal: SandboxPortal, method: str, upper: Params) -> Params:
    kind = method.split(".")[1]
    contacts = _CONTACTS if "PHONE" in portal.records(kind).schema.fields else {}
    if ".userfield." in method:
        return _own_field(portal, method, upper)
    record = {"TITLE": "text"} | contacts | _found(upper)
    for name in _CONTACTS:
        if isinstance(record.get(name), str):
            record[name] = [{"VALUE": record[name], "VALUE_TYPE": "WORK"}]
    if method.endswith(".list"):
        # The page that it asks for has some, too.
        portal.add_records(kind, [record] * (_number(upper, "START") + _CROWD))
    else:
        _add(portal, kind, record | ({"ID": _number(upper)} if _number(upper) else {}))
    return {}


def _own_field(portal: SandboxPortal, method: str, upper: Params) -> Params:
    owner = method.partition(".userfield.")[0]
    fields = {"FIELD_NAME": "TEXT", "USER_TYPE_ID": "string", "LABEL": "text", **_found(upper)}
    number = _number(upper) or _number({"ID": fields.pop("id", "")})
    if method.endswith(".add"):
        return {}
    caller = portal.callers.by_token(portal.application.access_token)
    made = MethodCall(portal, caller, f"{owner}.userfield.add", {"fields": fields})
    row = portal.records("userfield").row(portal.methods[made.method].run(made))
    if number:
        portal.add_records("userfield", [{**row, "ID": number}])
    return {}


def _item(portal: SandboxPortal, method: str, upper: Params) -> Params:
    number = _number(upper, "ENTITYTYPEID")
    kind = _KINDS.get(number, f"item:{number}")
    if number:
        contacts = _CONTACTS if "PHONE" in portal.records(kind).schema.fields else {}
        record = {"title": "text"} | contacts | _found(upper)
        _add(portal, kind, record | ({"ID": _number(upper)} if _number(upper) else {}))
    return {}


def _task(portal: SandboxPortal, method: str, upper: Params) -> Params:
    number = _number(upper, "TASKID") or _number(upper)
    found = _found(upper)
    # A date of the example that is no date is one that has been computed.
    found = {name: value for name, value in found.items() if value != "text"}
    record = {"TITLE": "text", "ACCOMPLICES": [1], "AUDITORS": [2], "DEADLINE": "2026-01-31T00:00:00+00:00"}
    record["STATUS"] = {"approve": 4, "disapprove": 4, "pause": 3, "renew": 5}.get(
        method.rpartition(".")[2], 2
    )
    record |= {"UF_CRM_TASK": ["L_1"], "UF_TASK_WEBDAV_FILES": [1], **found}
    _add(portal, "task", record | ({"ID": number} if number else {}))
    return {}


def _employee(portal: SandboxPortal, method: str, upper: Params) -> Params:
    if ".userfield." in method:
        return _own_field(portal, method, upper)
    if method in ("user.get", "user.search"):
        start = _number(upper, "START")
        for _ in range(start + _CROWD):
            portal.add_user()
        for number in portal.records("user"):
            shown = {"PERSONAL_CITY": "text", "WORK_POSITION": "text"} | _found(upper)
            portal.store.put("user", number, {k: str(v).replace("%", "an") for k, v in shown.items()})
    elif _number(upper):
        _user(portal, _number(upper))
    return {}


def _department(portal: SandboxPortal, method: str, upper: Params) -> Params:
    for name in ("PARENT", "ID"):
        number = _number(upper, name)
        if number:
            _add(portal, "department", {"ID": number, "NAME": "text", "PARENT": 1, "UF_HEAD": 1})
    if method.endswith(".get"):
        portal.add_records("department", [{"NAME": "text", "PARENT": _number(upper, "PARENT"), "UF_HEAD": 1}])
    return {}


def _status(portal: SandboxPortal, method: str, upper: Params) -> Params:
    number = _number(upper)
    given = upper.get("FIELDS", {})
    if method.endswith(".add"):
        _add(portal, "status", {"ENTITY_ID": given["ENTITY_ID"], "STATUS_ID": "X", "NAME": "x"})
    elif number:
        _add(portal, "status", {"ID": number, "ENTITY_ID": "SOURCE", "STATUS_ID": "X", "NAME": "x"})
    elif method.endswith(".list"):
        _add(portal, "status", {"STATUS_ID": "X", "NAME": "x", "ENTITY_ID": "SOURCE"} | _found(upper))
    return {}


def _robot(portal: SandboxPortal, method: str, upper: Params) -> Params:
    if method.endswith((".update", ".delete", ".list")):
        kind = method.split(".")[1]
        params = {"CODE": str(upper.get("CODE") or "code"), "HANDLER": _HANDLER, "NAME": "text"}
        params["USE_SUBSCRIPTION"] = "Y"
        caller = portal.callers.by_token(portal.application.access_token)
        call = MethodCall(portal, caller, method, params)
        portal.methods[f"bizproc.{kind}.add"].run(call)
    return {}


def _process(portal: SandboxPortal, method: str, upper: Params) -> Params:
    portal.application.issue_tokens()
    _robot(portal, "bizproc.robot.list", {})
    process = portal.start_process([CallRobot("code")])
    token = "EVENT_TOKEN" if "EVENT_TOKEN" in upper else ""
    if "ID" in upper and "workflow.template" not in method:
        return {"ID": process.id}
    return {"event_token": process.waiting_for} if token else {}


def _person_asked(portal: SandboxPortal, method: str, upper: Params) -> Params:
    numbers = upper.get("TASK_IDS") or [upper.get("TASK_ID") or 1]
    user = _number(upper, "FROM_USER_ID") or 1
    asked = []
    activity = _found(upper).get("ACTIVITY", "RequestInformationActivity")
    for _ in numbers:
        portal.start_process([AskPerson(user, activity=activity)])
        asked.append(portal.tasks[-1].id)
    if "TASK_IDS" in upper:
        return {"TASK_IDS": asked}
    return {"TASK_ID": asked[0]} if "TASK_ID" in upper else {}


def _template(portal: SandboxPortal, method: str, upper: Params) -> Params:
    kind = ("crm", "CCrmDocumentLead", "LEAD")
    given = _found(upper)
    if given:
        kind = (str(given.get("MODULE_ID") or "crm"), kind[1], kind[2])
    number = portal.add_template("text", [], kind, client_id=portal.application.client_id)
    if "TEMPLATE_ID" in upper:
        portal.add_records("lead", [{"ID": 1}])
        return {"TEMPLATE_ID": number}
    return {"ID": number} if "ID" in upper else {}


def _offline(portal: SandboxPortal, method: str, upper: Params) -> Params:
    caller = portal.callers.by_token(portal.application.access_token)
    if method in ("event.bind", "event.test"):
        return {}
    connector = str(upper.get("AUTH_CONNECTOR") or "")
    for given in (
        {"event": "ONCRMLEADADD", "event_type": "offline", "auth_connector": connector},
        {"event": "ONCRMLEADADD", "handler": _HANDLER},
    ):
        portal.methods["event.bind"].run(MethodCall(portal, caller, "event.bind", given))
    portal.fire_event("ONCRMLEADADD", {"FIELDS": {"ID": 1}})
    return {}


def _file(portal: SandboxPortal, method: str, upper: Params) -> Params:
    number = portal.add_file("text.txt", b"text")
    if method == "disk.file.get":
        return {"id": number}
    if method == "catalog.product.download":
        return {"fields": {**upper["FIELDS"], "fileId": number}}
    return {"id": 1}


def _options(portal: SandboxPortal, method: str, upper: Params) -> Params:
    portal.application.options.update({"data": "value", "data2": "value2"})
    user = portal.callers.users[1]
    user.options[portal.application.client_id] = {"data": "value", "data2": "value2"}
    return {}


_FAMILIES: tuple[tuple[str, Callable[[SandboxPortal, str, Params], Params]], ...] = (
    ("crm.item.", _item),
    ("crm.status.", _status),
    *((f"crm.{kind}.", _old_record) for kind in ("lead", "deal", "contact", "company")),
    ("tasks.task.", _task),
    ("app.option.", _options),
    ("user.option.", _options),
    ("user.", _employee),
    ("department.", _department),
    ("bizproc.robot.", _robot),
    ("bizproc.activity.add", _robot),
    ("bizproc.activity.update", _robot),
    ("bizproc.activity.delete", _robot),
    ("bizproc.activity.list", _robot),
    ("bizproc.task.", _person_asked),
    ("bizproc.workflow.template.", _template),
    ("bizproc.workflow.start", _template),
    ("bizproc.", _process),
    ("event.", _offline),
    ("disk.", _file),
    ("catalog.", _file),
)
#: What a document of a process is called.
document = document_of
