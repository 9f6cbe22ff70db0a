"""`user.*` and `access.name`: employees and what they may do.

Documented on https://apidocs.bitrix24.com/api-reference/user/index.html and
https://apidocs.bitrix24.com/api-reference/common/users/index.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.records.fields import Field
    from airflow_provider_b24.sandbox.records.table import Table

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_ALWAYS = frozenset(
    [
        "ID",
        "ACTIVE",
        "NAME",
        "LAST_NAME",
        "SECOND_NAME",
        "EMAIL",
        "LAST_LOGIN",
        "DATE_REGISTER",
        "TIME_ZONE",
        "IS_ONLINE",
        "TIMESTAMP_X",
        "LAST_ACTIVITY_DATE",
        "PERSONAL_GENDER",
        "PERSONAL_WWW",
        "PERSONAL_BIRTHDAY",
        "PERSONAL_MOBILE",
        "PERSONAL_CITY",
        "WORK_PHONE",
        "WORK_POSITION",
        "UF_EMPLOYMENT_DATE",
        "UF_DEPARTMENT",
        "USER_TYPE",
    ]
)
_BY_NUMBER = {"ID": "ASC"}
# Who searches by name finds parts of these.
_NAMES = ("NAME", "LAST_NAME", "SECOND_NAME", "EMAIL", "WORK_POSITION")
_OTHER_PARAMETERS = frozenset({"SORT", "ORDER", "FILTER", "ADMIN_MODE", "SELECT", "IMAGE_RESIZE", "START"})
_GROUPS = {"AU": "All authorized users", "G2": "All visitors"}


def _table(call: MethodCall) -> Table:
    return call.portal.store.table("user")


def _row(row: Mapping[str, Any], fields: Iterable[Field]) -> dict[str, Any]:
    shown = {}
    for field in fields:
        value = row.get(field.name, field.default)
        if field.name == "ACTIVE":
            shown[field.name] = value == "Y"
        elif field.name == "ID":
            shown[field.name] = str(value)
        elif field.name in ("TIMESTAMP_X", "LAST_ACTIVITY_DATE"):
            # The pages show an empty object for both.
            shown[field.name] = {}
        elif field.type.multiple:
            shown[field.name] = list(value or ())
        else:
            shown[field.name] = "" if value is None else value
    return shown


def _everything(table: Table, row: Mapping[str, Any]) -> list[Field]:
    return [
        field for field in table.fields if field.name in _ALWAYS or row.get(field.name) not in (None, "", [])
    ]


def _listing(
    call: MethodCall, filter_by: Mapping[str, Any], family: filters.Family = filters.USER
) -> Listing:
    table = _table(call)
    sort = call.text("SORT")
    rows, total, following = table.page(
        family,
        filter_by=filter_by,
        order={sort: call.text("ORDER") or "ASC"} if sort else None,
        start=call.integer("START"),
        default_order={"ID": call.text("ORDER") or "ASC"},
    )
    select = {str(name).upper() for name in call.sequence("SELECT")}
    shown = []
    for row in rows:
        fields = _everything(table, row)
        if select and "*" not in select:
            own = "UF_*" in select
            fields = [f for f in table.fields if f.name in select or (own and f.name.startswith("UF_"))]
        shown.append(_row(row, fields))
    return Listing(shown, total, following)


def _get(call: MethodCall) -> Listing:
    table = _table(call)
    given = call.params.get("FILTER")
    if given not in (None, "", []) and not isinstance(given, Mapping):
        raise filters.USER.refuse("it is no object")
    filter_by = dict(call.mapping("FILTER"))
    for name, value in call.params.items():
        # Fields may stand among the parameters, too, with operators; other parameters are nobody's business.
        if name not in _OTHER_PARAMETERS and table.field_named(name.lstrip("!=<>%@")) is not None:
            filter_by[name] = value
    family = filters.USER
    wanted = next((filter_by.pop(key) for key in list(filter_by) if key.upper() == "NAME_SEARCH"), None)
    if wanted is not None:
        family = replace(family, logic=True)
        filter_by["0"] = {"logic": "OR", **{f"%{name}": wanted for name in _NAMES}}
    return _listing(call, filter_by, family)


def _search(call: MethodCall) -> Listing:
    given = {str(name).upper(): value for name, value in call.mapping("FILTER").items()}
    for name, value in call.params.items():
        if name not in _OTHER_PARAMETERS and name in ("FIND", "UF_DEPARTMENT_NAME", "USER_TYPE", *_NAMES):
            given.setdefault(name, value)
    filter_by: dict[str, Any] = {}
    for name, value in given.items():
        if name == "FIND":
            filter_by["0"] = {"logic": "OR", **{f"%{field}": value for field in _NAMES}}
        elif name == "UF_DEPARTMENT_NAME":
            departments = call.portal.store.table("department")
            named = str(value).casefold()
            found = [
                number
                for number in departments
                if named in str(departments.row(number).get("NAME")).casefold()
            ]
            filter_by["UF_DEPARTMENT"] = found or [0]
        elif name == "USER_TYPE":
            filter_by[name] = value
        else:
            filter_by[f"%{name}"] = value
    return _listing(call, filter_by, replace(filters.USER, logic=True))


def _current(call: MethodCall) -> dict[str, Any]:
    table = _table(call)
    row = table.row(call.caller.user.id)
    # Whoever calls is there now.
    moments = dict.fromkeys(("TIMESTAMP_X", "LAST_ACTIVITY_DATE"), call.now())
    return {"XML_ID": ""} | _row(row, _everything(table, row)) | moments


def _fields(call: MethodCall) -> dict[str, str]:
    return {field.name: field.title for field in _table(call).fields}


def _check_email(call: MethodCall, number: int = 0) -> None:
    email = call.text("EMAIL")
    if not _EMAIL.fullmatch(email):
        raise RestError(400, "ERROR_ARGUMENT", "wrong_email")
    taken, _, _ = _table(call).page(filters.USER, filter_by={"=EMAIL": email}, start=-1)
    if any(row["ID"] != number for row in taken):
        raise RestError(400, "ERROR_ARGUMENT", "A user with this email already exists")


def _add(call: MethodCall) -> int:
    if not call.caller.user.admin:
        raise RestError(400, "ERROR_CORE", "access_denied")
    _check_email(call)
    number = call.portal.store.create("user", call.params, call.caller.user.id)
    call.portal.callers.let_in(number)
    return number


def _update(call: MethodCall) -> bool:
    number = call.integer("ID")
    if number <= 0:
        raise RestError(400, "ERROR_CORE", "Invalid user ID passed")
    if number not in _table(call) or not (call.caller.user.admin or number == call.caller.user.id):
        raise RestError(400, "ERROR_CORE", "access_denied")
    if "EMAIL" in call.params:
        _check_email(call, number)
    call.portal.store.change("user", number, call.params, call.caller.user.id)
    return True


def _access(call: MethodCall) -> bool:
    call.require("ACCESS")
    own = {f"U{call.caller.user.id}", *_GROUPS}
    return call.caller.user.admin or any(str(code) in own for code in call.sequence("ACCESS"))


def _access_name(call: MethodCall) -> dict[str, Any] | bool:
    codes = call.sequence("ACCESS")
    if not codes:
        return False
    names = {}
    for code in map(str, codes):
        user = call.portal.callers.users.get(int(code[1:])) if re.fullmatch("U[0-9]{1,9}", code) else None
        if user is not None:
            name = f"{user.name} {user.last_name}".strip()
            names[code] = {"provider_id": "user", "provider": "Users", "name": name}
        elif code in _GROUPS:
            names[code] = {"provider_id": "other", "provider": "", "name": _GROUPS[code]}
    return names


METHODS = (
    Method("user.admin", "", lambda call: call.caller.user.admin),
    Method("user.access", "", _access),
    Method("access.name", "", _access_name),
    Method("user.current", "user", _current),
    Method("user.get", "user", _get),
    Method("user.search", "user", _search),
    Method("user.fields", "user", _fields),
    Method("user.add", "user", _add),
    Method("user.update", "user", _update),
)
