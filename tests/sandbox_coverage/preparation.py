"""What a portal must have for an example to make sense there: the records that it names, by family of methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_b24.sandbox import AskPerson, CallRobot, SandboxPortal

from .belongings import bound, notified, of_task, recurring, sold, trigger, with_products
from .named import Params, add_record, found_by, named, number_of, run
from .pages import REST3

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
        "CREATORID",
        "RESPONSIBLE_ID",
        "RESPONSIBLEID",
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
_CROWD = 3


def prepare(portal: SandboxPortal, method: str, params: Params) -> dict[str, Any]:
    """Put what a call names into a portal.

    :returns: the parameters, with what only the portal can name: its processes and event tokens.
    """
    _people(portal, params)
    method = method.removeprefix(REST3)
    upper = {name.upper(): value for name, value in params.items()}
    for family, make in _FAMILIES:
        if method.lower().startswith(family):
            return {**params, **make(portal, method.lower(), upper)}
    return dict(params)


def _people(portal: SandboxPortal, params: Any) -> None:
    for name, value in named(params):
        if name in _USERS and str(value).isdecimal():
            _user(portal, int(value))


def _user(portal: SandboxPortal, number: int) -> None:
    if number and number not in portal.callers.users:
        portal.add_records(
            "user", [{"ID": number, "NAME": "Uwe", "LAST_NAME": "User", "EMAIL": "u@b.example"}]
        )
        portal.callers.let_in(number)


def _old_record(portal: SandboxPortal, method: str, upper: Params) -> Params:
    kind = method.split(".")[1]
    contacts = _CONTACTS if "PHONE" in portal.records(kind).schema.fields else {}
    if ".userfield." in method:
        return _own_field(portal, method, upper)
    record = {"TITLE": "text"} | contacts | found_by(upper)
    for name in _CONTACTS:
        if isinstance(record.get(name), str):
            record[name] = [{"VALUE": record[name], "VALUE_TYPE": "WORK"}]
    if method.endswith(".list"):
        # The page that it asks for has some, too.
        portal.add_records(kind, [record] * (number_of(upper, "START") + _CROWD))
    else:
        add_record(portal, kind, record | ({"ID": number_of(upper)} if number_of(upper) else {}))
    return {}


def _own_field(portal: SandboxPortal, method: str, upper: Params) -> Params:
    owner = method.partition(".userfield.")[0]
    fields = {"FIELD_NAME": "TEXT", "USER_TYPE_ID": "string", "LABEL": "text", **found_by(upper)}
    number = number_of(upper) or number_of({"ID": fields.pop("id", "")})
    if method.endswith(".add"):
        return {}
    row = portal.records("userfield").row(run(portal, f"{owner}.userfield.add", {"fields": fields}))
    if number:
        portal.add_records("userfield", [{**row, "ID": number}])
    return {}


def _item(portal: SandboxPortal, method: str, upper: Params) -> Params:
    number = number_of(upper, "ENTITYTYPEID")
    kind = _KINDS.get(number, f"item:{number}")
    if number:
        contacts = _CONTACTS if "PHONE" in portal.records(kind).schema.fields else {}
        record = {"title": "text"} | contacts | found_by(upper)
        add_record(portal, kind, record | ({"ID": number_of(upper)} if number_of(upper) else {}))
    return {}


def _task(portal: SandboxPortal, method: str, upper: Params) -> Params:
    number = number_of(upper, "TASKID") or number_of(upper)
    found = found_by(upper)
    # A date of the example that is no date is one that has been computed.
    found = {name: value for name, value in found.items() if value != "text"}
    record = {"TITLE": "text", "ACCOMPLICES": [1], "AUDITORS": [2], "DEADLINE": "2026-01-31T00:00:00+00:00"}
    record["STATUS"] = {"approve": 4, "disapprove": 4, "pause": 3, "renew": 5}.get(
        method.rpartition(".")[2], 2
    )
    record |= {"UF_CRM_TASK": ["L_1"], "UF_TASK_WEBDAV_FILES": [1], **found}
    add_record(portal, "task", record | ({"ID": number} if number else {}))
    return {}


def _employee(portal: SandboxPortal, method: str, upper: Params) -> Params:
    if ".userfield." in method:
        return _own_field(portal, method, upper)
    if method in ("user.get", "user.search"):
        start = number_of(upper, "START")
        for _ in range(start + _CROWD):
            portal.add_user()
        for number in portal.records("user"):
            shown = {"PERSONAL_CITY": "text", "WORK_POSITION": "text"} | found_by(upper)
            portal.store.put("user", number, {k: str(v).replace("%", "an") for k, v in shown.items()})
    elif number_of(upper):
        _user(portal, number_of(upper))
    return {}


def _department(portal: SandboxPortal, method: str, upper: Params) -> Params:
    for name in ("PARENT", "ID"):
        number = number_of(upper, name)
        if number:
            add_record(portal, "department", {"ID": number, "NAME": "text", "PARENT": 1, "UF_HEAD": 1})
    if method.endswith(".get"):
        portal.add_records(
            "department", [{"NAME": "text", "PARENT": number_of(upper, "PARENT"), "UF_HEAD": 1}]
        )
    return {}


def _status(portal: SandboxPortal, method: str, upper: Params) -> Params:
    number = number_of(upper)
    given = upper.get("FIELDS", {})
    if method.endswith(".add"):
        add_record(portal, "status", {"ENTITY_ID": given["ENTITY_ID"], "STATUS_ID": "X", "NAME": "x"})
    elif number:
        add_record(portal, "status", {"ID": number, "ENTITY_ID": "SOURCE", "STATUS_ID": "X", "NAME": "x"})
    elif method.endswith(".list"):
        add_record(portal, "status", {"STATUS_ID": "X", "NAME": "x", "ENTITY_ID": "SOURCE"} | found_by(upper))
    return {}


def _robot(portal: SandboxPortal, method: str, upper: Params) -> Params:
    if method.endswith((".update", ".delete", ".list")):
        kind = method.split(".")[1]
        params = {"CODE": str(upper.get("CODE") or "code"), "HANDLER": _HANDLER, "NAME": "text"}
        params["USE_SUBSCRIPTION"] = "Y"
        run(portal, f"bizproc.{kind}.add", params)
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
    user = number_of(upper, "FROM_USER_ID") or 1
    asked = []
    activity = found_by(upper).get("ACTIVITY", "RequestInformationActivity")
    for _ in numbers:
        portal.start_process([AskPerson(user, activity=activity)])
        asked.append(portal.tasks[-1].id)
    if "TASK_IDS" in upper:
        return {"TASK_IDS": asked}
    return {"TASK_ID": asked[0]} if "TASK_ID" in upper else {}


def _template(portal: SandboxPortal, method: str, upper: Params) -> Params:
    kind = ("crm", "CCrmDocumentLead", "LEAD")
    given = found_by(upper)
    if given:
        kind = (str(given.get("MODULE_ID") or "crm"), kind[1], kind[2])
    number = portal.add_template("text", [], kind, client_id=portal.application.client_id)
    if "TEMPLATE_ID" in upper:
        portal.add_records("lead", [{"ID": 1}])
        return {"TEMPLATE_ID": number}
    return {"ID": number} if "ID" in upper else {}


def _offline(portal: SandboxPortal, method: str, upper: Params) -> Params:
    if method in ("event.bind", "event.test"):
        return {}
    connector = str(upper.get("AUTH_CONNECTOR") or "")
    for given in (
        {"event": "ONCRMLEADADD", "event_type": "offline", "auth_connector": connector},
        {"event": "ONCRMLEADADD", "handler": _HANDLER},
    ):
        run(portal, "event.bind", given)
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
    *((f"crm.item.{part}.", sold) for part in ("payment", "delivery", "productrow")),
    ("crm.item.", _item),
    ("crm.automation.trigger.", trigger),
    ("crm.deal.recurring.", recurring),
    *((f"crm.{kind}.productrows.", with_products) for kind in ("lead", "deal")),
    *((f"crm.{kind}.contact.", bound) for kind in ("lead", "deal", "company")),
    ("crm.contact.company.", bound),
    ("crm.status.", _status),
    *((f"crm.{kind}.", _old_record) for kind in ("lead", "deal", "contact", "company")),
    *((f"tasks.task.{part}.", of_task) for part in ("history", "result", "files", "file", "chat")),
    ("tasks.task.", _task),
    ("im.notify.", notified),
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
