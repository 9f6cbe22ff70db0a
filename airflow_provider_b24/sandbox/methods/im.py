"""`im.notify.*`: notifications for people, which each of them reads, answers and deletes.

Documented on https://apidocs.bitrix24.com/api-reference/chats/notifications/index.html. A tag is unique among what one
person has of one application. Notifications with buttons, and such as may be answered, are made by the portal's
modules; here by `add_records("notification", …)` with `NOTIFY_TYPE` 1 and `NOTIFY_BUTTONS`, or with `CAN_ANSWER`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.bb_code import as_html
from airflow_provider_b24.sandbox.errors import RestError, access_denied
from airflow_provider_b24.sandbox.method import Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.fields import FieldType, sort_key

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.callers import User
    from airflow_provider_b24.sandbox.records.table import Table

Row = Mapping[str, Any]

_moment = FieldType("datetime").key

_CONFIRMATION, _PERSONAL, _SYSTEM = 1, 2, 4
_PAGE = 50
_LARGEST_ATTACHMENT = 60_000
_SHORTEST_SEARCH = 3
# The modules whose notifications people may tell apart.
_MODULES = {
    "im": ("Messenger", {"private_message": "Personal messages", "mention": "Mentions"}),
    "tasks": ("Tasks", {"task_update": "Task updates", "comment": "Task comments"}),
    "bizproc": ("Business processes", {"activity": "Messages of processes"}),
    "rest": ("Applications", {"rest_notify": "Messages of applications"}),
}
_SCHEMA = {
    module: {
        "NAME": name,
        "MODULE_ID": module,
        "LIST": [{"ID": f"{module}|{event}", "NAME": title} for event, title in events.items()],
    }
    for module, (name, events) in _MODULES.items()
}


def _table(call: MethodCall) -> Table:
    return call.portal.store.table("notification")


def _client(call: MethodCall) -> str:
    # A webhook has no application: it names one.
    application, named = call.caller.application, call.text("CLIENT_ID")
    return named if application is None else application.client_id


def _add(kind: int | None) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> int | bool:
        user_id = call.integer("USER_ID")
        if user_id <= 0:
            raise RestError(400, "USER_ID_EMPTY", "User ID can't be empty")
        message = call.text("MESSAGE").strip()
        if not message:
            raise RestError(400, "MESSAGE_EMPTY", "Message can't be empty")
        chosen = kind or (_SYSTEM if call.text("TYPE").upper() == "SYSTEM" else _PERSONAL)
        notification = {
            "USER_ID": user_id,
            "AUTHOR_ID": call.caller.user.id if chosen == _PERSONAL else 0,
            "NOTIFY_TYPE": chosen,
            "MESSAGE": message,
            **{name: call.text(name) for name in ("MESSAGE_OUT", "TAG", "SUB_TAG")},
            "CLIENT_ID": _client(call),
        }
        attachment = _attachment(call.params.get("ATTACH"))
        if attachment:
            notification["ATTACH"] = attachment
        if user_id not in call.portal.callers.users:
            return False
        if notification["TAG"]:
            same = {name: notification[name] for name in ("USER_ID", "CLIENT_ID", "TAG")}
            _delete_those(call, lambda row: same.items() <= row.items())
        return call.portal.store.create("notification", notification, call.caller.user.id)

    return run


def _attachment(given: object) -> object:
    if isinstance(given, str) and given:
        try:
            given = json.loads(given)
        except ValueError:
            given = True
    if not given:
        return None
    if not isinstance(given, dict | list):
        raise RestError(400, "ATTACH_ERROR", "Incorrect attach params")
    if len(json.dumps(given, ensure_ascii=False)) > _LARGEST_ATTACHMENT:
        text = "You have exceeded the maximum allowable size of attach"
        raise RestError(400, "ATTACH_OVERSIZE", text)
    return given


def _tag(row: Row, name: str = "TAG") -> str:
    tag = str(row[name] or "")
    # Tags of applications do not meet those of others.
    return f"MP|{row['CLIENT_ID'] or ''}|{tag}" if tag and row["NOTIFY_MODULE"] == "rest" else tag


def _mine(call: MethodCall) -> list[dict[str, Any]]:
    """Return the caller's own notifications with all their fields, the newest first."""
    table = _table(call)
    numbers = table.all(filters.CRM, filter_by={"=USER_ID": call.caller.user.id}, order={"ID": "DESC"})
    rows = [row for row in map(table.get, numbers) if row is not None]
    rows.sort(key=lambda row: sort_key(_moment(row["DATE_CREATE"])), reverse=True)
    return rows


def _get(call: MethodCall) -> dict[str, Any]:
    before = _last(call)
    if (before is None) is not ("LAST_TYPE" not in call.params):
        text = "Parameters LAST_ID and LAST_TYPE should be used together."
        raise RestError(400, "LAST_ID_AND_LAST_TYPE", text)
    rows = _mine(call)
    confirmations = [row for row in rows if row["NOTIFY_TYPE"] == _CONFIRMATION]
    others = [row for row in rows if row["NOTIFY_TYPE"] != _CONFIRMATION]
    # The cursor stands in one of the two parts; what comes before it has been read.
    if before is not None and call.integer("LAST_TYPE") == _CONFIRMATION:
        confirmations = _after(confirmations, before)
    elif before is not None:
        confirmations, others = [], _after(others, before)
    found = _listed(call, [*confirmations, *others])
    if not rows:
        return found
    unread = sum(row["NOTIFY_READ"] != "Y" for row in rows)
    return {
        "total_count": len(rows),
        "total_unread_count": unread,
        "chat_id": call.caller.user.id,
        **found,
    }


def _last(call: MethodCall) -> int | None:
    given = call.params.get("LAST_ID")
    if given is None:
        return None
    if not str(given).isdecimal():
        raise RestError(400, "LAST_ID_STRING", "Last notification ID can't be string")
    return int(given)


def _after(rows: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    at = next((index for index, row in enumerate(rows) if row["ID"] == number), None)
    # The one that was read last may have been deleted since.
    return [row for row in rows if row["ID"] < number] if at is None else rows[at + 1 :]


def _listed(call: MethodCall, rows: list[dict[str, Any]]) -> dict[str, Any]:
    limit = call.integer("LIMIT", _PAGE)
    page = rows[: limit if 0 < limit < _PAGE else _PAGE]
    convert = call.text("CONVERT_TEXT") == "Y"
    users = call.portal.callers.users
    authors = dict.fromkeys(row["AUTHOR_ID"] for row in page)
    return {
        "notifications": [_shown(row, convert=convert) for row in page],
        "users": [_person(call, users[number]) for number in authors if number in users],
    }


def _shown(row: Row, *, convert: bool) -> dict[str, Any]:
    module, event = row["NOTIFY_MODULE"], row["NOTIFY_EVENT"]
    text = str(row["MESSAGE"] or "")
    shown = {
        "id": row["ID"],
        "chat_id": row["USER_ID"],
        "author_id": row["AUTHOR_ID"],
        "date": row["DATE_CREATE"],
        "notify_type": row["NOTIFY_TYPE"],
        "notify_module": module,
        "notify_event": event,
        "notify_tag": _tag(row),
        "notify_sub_tag": _tag(row, "SUB_TAG"),
        "notify_title": row["NOTIFY_TITLE"],
        "setting_name": f"{module}|{event}",
        "text": as_html(text) if convert else text,
        "notify_read": row["NOTIFY_READ"],
        "params": {"ATTACH": row["ATTACH"]} if row["ATTACH"] else None,
    }
    if row["NOTIFY_BUTTONS"]:
        shown["notify_buttons"] = json.dumps(row["NOTIFY_BUTTONS"])
    return shown


def _person(call: MethodCall, user: User) -> dict[str, Any]:
    row = call.portal.store.table("user").get(user.id) or {}
    phones = {
        name: row[field]
        for name, field in (
            ("work_phone", "WORK_PHONE"),
            ("personal_mobile", "PERSONAL_MOBILE"),
            ("inner_phone", "UF_PHONE_INNER"),
        )
        if row.get(field)
    }
    birthday = str(row.get("PERSONAL_BIRTHDAY") or "")[:10].split("-")
    return {
        "id": user.id,
        "active": row.get("ACTIVE") == "Y",
        "name": f"{user.name} {user.last_name}".strip(),
        "first_name": user.name,
        "last_name": user.last_name,
        "work_position": row.get("WORK_POSITION") or "",
        "color": "#1eb4aa",
        "avatar": "",
        "avatar_hr": "",
        "gender": row.get("PERSONAL_GENDER") or "M",
        "birthday": f"{birthday[2]}-{birthday[1]}" if len(birthday) > 2 else "",
        "external_auth_id": "socservices",
        "status": "online",
        **dict.fromkeys(("extranet", "network", "bot", "connector"), False),
        **dict.fromkeys(("idle", "mobile_last_date", "desktop_last_date", "absent"), False),
        "last_activity_date": row.get("LAST_ACTIVITY_DATE") or False,
        "departments": row.get("UF_DEPARTMENT") or [],
        "phones": phones or False,
        "bot_data": None,
        "type": "user",
        "website": row.get("PERSONAL_WWW") or "",
        "email": user.email,
    }


def _search(call: MethodCall) -> dict[str, Any]:
    last = _last(call)
    tests = list(_tests(call))
    text = call.text("SEARCH_TEXT").casefold()
    if not tests and len(text) < _SHORTEST_SEARCH:
        raise RestError(400, "SEARCH_TEXT_ERROR", "SEARCH_TEXT can't be less than 3 symbols")
    tag = call.text("GROUP_TAG")
    found = [
        row
        for row in _mine(call)
        if text in str(row["MESSAGE"] or "").casefold()
        and (not tag or tag in (_tag(row), row["TAG"]))
        and all(test(row) for test in tests)
    ]
    rest = found if last is None else _after(found, last)
    first = {"total_results": len(found)} if last is None else {}
    return {"chat_id": call.caller.user.id, **first, **_listed(call, rest)}


def _tests(call: MethodCall) -> Iterable[Callable[[Row], bool]]:
    types = [str(name) for name in call.sequence("SEARCH_TYPES") + call.sequence("SEARCH_TYPE")]
    if types:
        yield lambda row: any(_is_of(row, name) for name in types)
    authors = {str(number) for number in call.sequence("SEARCH_AUTHORS")}
    if authors:
        yield lambda row: str(row["AUTHOR_ID"]) in authors
    for first, last in (_day(call.text("SEARCH_DATE")), _span(call)):
        if first is not None and last is not None:
            yield lambda row, first=first, last=last: first <= _moment(row["DATE_CREATE"]) <= last  # type: ignore[misc]


def _day(text: str) -> tuple[float | None, float | None]:
    """Return the first and the last second of the day that a moment is in, by its own time zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None, None
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=moment.tzinfo or UTC)
    return start.timestamp(), (start + timedelta(days=1)).timestamp() - 1


def _span(call: MethodCall) -> tuple[Any, Any]:
    return _moment(call.text("SEARCH_DATE_FROM")), _moment(call.text("SEARCH_DATE_TO"))


def _is_of(row: Row, name: str) -> bool:
    module, _, event = name.partition("|")
    return bool(row["NOTIFY_MODULE"] == module) and event in ("", row["NOTIFY_EVENT"])


def _mark(call: MethodCall, rows: Iterable[Row], read: str) -> None:
    for row in rows:
        if row["NOTIFY_READ"] != read:
            _table(call).update(row["ID"], {"NOTIFY_READ": read})


def _action(call: MethodCall) -> str:
    return "Y" if call.text("ACTION") in ("", "Y") else "N"


def _read(call: MethodCall) -> bool:
    if "ID" not in call.params:
        return True
    number, only = call.integer("ID"), call.text("ONLY_CURRENT") == "Y"
    wanted = [row for row in _mine(call) if row["ID"] == number or (not only and row["ID"] > number)]
    _mark(call, wanted, _action(call))
    return True


def _read_list(call: MethodCall) -> bool:
    if not isinstance(call.params.get("IDS"), list | dict):
        raise RestError(400, "PARAMS_ERROR", "No IDS param or it is not an array")
    rows = {row["ID"]: row for row in _mine(call)}
    for given in call.sequence("IDS"):
        number = int(given) if str(given).isdecimal() else 0
        if number <= 0:
            break
        _mark(call, [rows[number]] if number in rows else [], _action(call))
    return True


def _read_all(call: MethodCall) -> dict[str, Any]:
    _mark(call, _mine(call), "Y")
    return {"result": True, "newCounter": 0}


def _delete(call: MethodCall) -> bool:
    if call.integer("ID") > 0:
        number, user_id = call.integer("ID"), call.caller.user.id
        return _delete_those(call, lambda row: row["ID"] == number and row["USER_ID"] == user_id)
    tags = {name: call.text(name) for name in ("TAG", "SUB_TAG") if call.text(name)}
    if not tags:
        raise RestError(400, "PARAMS_ERROR", "Incorrect params")
    client = _client(call)
    if not client:
        raise access_denied("Access denied! Client ID not specified")
    same = {"CLIENT_ID": client, **tags}
    return _delete_those(call, lambda row: same.items() <= row.items())


def _delete_those(call: MethodCall, unwanted: Callable[[Row], bool]) -> bool:
    table = _table(call)
    numbers = [number for number in table if unwanted(table.row(number))]
    for number in numbers:
        call.portal.store.remove("notification", number, call.caller.user.id)
    return bool(numbers)


def _own(call: MethodCall) -> dict[str, Any] | None:
    number = call.integer("NOTIFY_ID")
    if number <= 0:
        raise RestError(400, "ID_ERROR", "Notification ID can't be empty")
    table = _table(call)
    row = table.get(number)
    return row if row is not None and row["USER_ID"] == call.caller.user.id else None


def _answer(call: MethodCall) -> dict[str, Any]:
    row = _own(call)
    text = call.text("ANSWER_TEXT").strip()
    if not text:
        raise RestError(400, "ANSWER_TEXT_ERROR", "ANSWER_TEXT can't be empty")
    if row is None or row["CAN_ANSWER"] != "Y":
        return {"result_message": False}
    _table(call).update(row["ID"], {"ANSWER": text, "NOTIFY_READ": "Y"})
    return {"result_message": ["Your response has been successfully sent."]}


def _confirm(call: MethodCall) -> dict[str, Any]:
    row = _own(call)
    value = call.text("NOTIFY_VALUE")
    if not value:
        raise RestError(400, "NOTIFY_VALUE_ERROR", "Notification Value can't be empty")
    buttons = row["NOTIFY_BUTTONS"] if row is not None else None
    pressed = [button for button in buttons or () if str(button.get("VALUE")) == value]
    if row is None or not pressed:
        return {"result_message": False}
    # A question that is answered is asked no more.
    call.portal.store.remove("notification", row["ID"], call.caller.user.id)
    return {"result_message": [str(pressed[0].get("TITLE") or value)]}


METHODS = (
    Method("im.notify", "im", _add(None)),
    Method("im.notify.personal.add", "im", _add(_PERSONAL)),
    Method("im.notify.system.add", "im", _add(_SYSTEM)),
    Method("im.notify.get", "im", _get),
    Method("im.notify.history.search", "im", _search),
    Method("im.notify.schema.get", "im", lambda _: _SCHEMA),
    Method("im.notify.read", "im", _read),
    Method("im.notify.read.list", "im", _read_list),
    Method("im.notify.read.all", "im", _read_all),
    Method("im.notify.answer", "im", _answer),
    Method("im.notify.confirm", "im", _confirm),
    Method("im.notify.delete", "im", _delete),
)
