"""`crm.lead.userfield.*` and its like, `user.userfield.*`: fields that a portal's users make.

Documented on https://apidocs.bitrix24.com/api-reference/crm/universal/user-defined-fields/index.html.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.fields import Field, FieldType
from airflow_provider_b24.sandbox.records.rows import old_writer
from airflow_provider_b24.sandbox.records.schemas import item_name

if TYPE_CHECKING:
    from collections.abc import Callable

# What values of a type are kept and compared as; what is not here is kept as it comes.
_TYPES = {
    "string": "string",
    "integer": "integer",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
    "enumeration": "integer",
    "employee": "user",
    "file": "file",
    "url": "string",
    "money": "string",
    "address": "string",
    "crm_status": "crm_status",
    "iblock_section": "integer",
    "iblock_element": "integer",
    "crm": "any",
}
_LABELS = ("EDIT_FORM_LABEL", "LIST_COLUMN_LABEL", "LIST_FILTER_LABEL", "ERROR_MESSAGE", "HELP_MESSAGE")
_SETTINGS: dict[str, dict[str, Any]] = {
    "string": {
        "SIZE": 20,
        "ROWS": 1,
        "REGEXP": "",
        "MIN_LENGTH": 0,
        "MAX_LENGTH": 0,
        "DEFAULT_VALUE": "",
    },
    "enumeration": {"DISPLAY": "LIST", "LIST_HEIGHT": 1, "CAPTION_NO_VALUE": "", "SHOW_NO_VALUE": "Y"},
}


@dataclass(frozen=True, slots=True)
class _Owner:
    kind: str
    entity_id: str
    prefix: str
    scope: str

    @property
    def methods(self) -> str:
        return "user.userfield" if self.kind == "user" else f"crm.{self.kind}.userfield"


_OWNERS = (
    *(
        _Owner(kind, f"CRM_{kind.upper()}", "UF_CRM_", "crm")
        for kind in ("lead", "deal", "contact", "company")
    ),
    _Owner("user", "USER", "UF_USR_", "user.userfield"),
)


def _list(owner: _Owner) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> Listing:
        table = call.portal.store.table("userfield")
        filter_by = call.params.get("FILTER")
        language = None
        if isinstance(filter_by, dict):
            # What stands among the conditions for the language of labels; without it there are none.
            language = str(filter_by.get("LANG") or "")
            filter_by = {name: value for name, value in filter_by.items() if name != "LANG"}
        numbers = table.all(filters.CRM, filter_by=filter_by, order=call.params.get("ORDER"))
        rows = [table.row(number) for number in numbers]
        write = old_writer(table.fields if language else [f for f in table.fields if f.name not in _LABELS])
        mine = [write(row) for row in rows if row["ENTITY_ID"] == owner.entity_id]
        if language:
            mine = [row | {name: row[name].get(language) for name in _LABELS if row[name]} for row in mine]
        return Listing(mine, len(mine))

    return run


def _get(owner: _Owner) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> dict[str, Any]:
        table = call.portal.store.table("userfield")
        return old_writer(table.fields)(table.row(_existing(call, owner)))

    return run


def _existing(call: MethodCall, owner: _Owner) -> int:
    if not call.caller.user.admin:
        raise RestError(400, "", "Access denied.")
    number = call.integer("ID")
    if number <= 0:
        raise RestError(400, "", "ID is not defined or invalid")
    table = call.portal.store.table("userfield")
    if number not in table or table.row(number)["ENTITY_ID"] != owner.entity_id:
        raise RestError(400, "ERROR_NOT_FOUND", f"The entity with ID '{number}' is not found")
    return number


def _given(call: MethodCall) -> dict[str, Any]:
    if not isinstance(call.params.get("FIELDS"), dict):
        raise RestError(400, "", "Parameter 'fields' must be array")
    given = {str(name).upper(): value for name, value in call.mapping("FIELDS").items()}
    label = given.pop("LABEL", None)
    if label is not None:
        given = dict.fromkeys(_LABELS[:3], label) | given
    for name in _LABELS:
        if isinstance(given.get(name), str):
            given[name] = {"en": given[name]}
    return given


def _settings(kind: str, given: object) -> dict[str, Any]:
    return _SETTINGS.get(kind, {}) | (given if isinstance(given, dict) else {})


def _add(owner: _Owner) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> int:
        if not call.caller.user.admin:
            raise RestError(400, "", "Access denied.")
        given = _given(call)
        name = str(given.get("FIELD_NAME") or "")
        if not name:
            raise RestError(400, "", "The 'FIELD_NAME' field is not found.")
        name = owner.prefix + name.removeprefix(owner.prefix)
        if len(name) > 50:
            raise RestError(400, "ERROR_CORE", "Field name is too long (more than 50 characters).")
        if not re.fullmatch("[A-Z0-9_]+", name):
            text = "Field name contains invalid characters. Allowed characters are: A-Z, 0-9 and _."
            raise RestError(400, "ERROR_CORE", text)
        kind = str(given.get("USER_TYPE_ID") or "")
        if not kind:
            raise RestError(400, "", "The 'USER_TYPE_ID' field is not found.")
        if kind not in _TYPES:
            raise RestError(400, "ERROR_CORE", "Invalid custom type specified.")
        field_type = FieldType(_TYPES[kind], multiple=given.get("MULTIPLE") == "Y")
        required = given.get("MANDATORY") == "Y"
        field = Field(name, field_type, item_name(name), dynamic=True, required=required)
        call.portal.store.table(owner.kind).own(field)
        made = {**given, "FIELD_NAME": name, "ENTITY_ID": owner.entity_id}
        made["SETTINGS"] = _settings(kind, given.get("SETTINGS"))
        if kind == "enumeration":
            made["LIST"] = _choices(call, given.get("LIST"), [], multiple=field_type.multiple)
        else:
            made.pop("LIST", None)
        return call.portal.store.create("userfield", made, call.caller.user.id)

    return run


def _update(owner: _Owner) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        number, given = _existing(call, owner), _given(call)
        row = call.portal.store.table("userfield").row(number)
        if "SETTINGS" in given:
            given["SETTINGS"] = _settings("", row.get("SETTINGS")) | _settings("", given["SETTINGS"])
        listed = given.pop("LIST", None)
        if listed is not None and row["USER_TYPE_ID"] == "enumeration":
            multiple = row.get("MULTIPLE") == "Y"
            given["LIST"] = _choices(call, listed, row.get("LIST") or [], multiple=multiple)
        call.portal.store.change("userfield", number, given, call.caller.user.id)
        return True

    return run


def _choices(
    call: MethodCall, given: object, before: list[dict[str, Any]], *, multiple: bool
) -> list[dict[str, Any]]:
    """Return what a list can be: what it was, with what is changed by number, deleted, or new."""
    table = call.portal.store.table("userfield")
    last = max((int(one["ID"]) for number in table for one in table.row(number).get("LIST") or ()), default=0)
    kept = {one["ID"]: one for one in before}
    entries = list(given.values()) if isinstance(given, dict) else given if isinstance(given, list) else []
    for entry in entries:
        said = {str(key).upper(): value for key, value in entry.items()} if isinstance(entry, dict) else {}
        number = str(said.get("ID") or "")
        old = kept.get(number)
        if old is not None and said.get("DEL") == "Y":
            del kept[number]
            continue
        if old is None:
            if not said.get("VALUE"):
                continue
            last += 1
            number, old = str(last), {"SORT": "0", "DEF": "N", "XML_ID": secrets.token_hex(16)}
        changed = {name: str(said[name]) for name in ("SORT", "VALUE", "DEF", "XML_ID") if said.get(name)}
        kept[number] = {"ID": number, **old, **changed}
    names = [one["XML_ID"] for one in kept.values()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RestError(400, "ERROR_CORE", f"List item with XML_ID={twice} already exists.")
    chosen = next((number for number, one in kept.items() if one["DEF"] == "Y"), None)
    for number, one in kept.items():
        if not multiple and number != chosen:
            # One value has one default: the first that is said to be it.
            kept[number] = {**one, "DEF": "N"}
    return list(kept.values())


def _delete(owner: _Owner) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        number = _existing(call, owner)
        store = call.portal.store
        store.table(owner.kind).disown(store.table("userfield").row(number)["FIELD_NAME"])
        store.remove("userfield", number, call.caller.user.id)
        return True

    return run


METHODS = tuple(
    Method(f"{owner.methods}.{verb}", owner.scope, make(owner))
    for owner in _OWNERS
    for verb, make in (
        ("list", _list),
        ("get", _get),
        ("add", _add),
        ("update", _update),
        ("delete", _delete),
    )
    if (owner.kind, verb) != ("user", "get")  # there is no such method
)
