"""`crm.item.details.configuration.*` and the older ones of each kind: what the card of a record shows.

Documented on https://apidocs.bitrix24.com/api-reference/crm/universal/item-details-configuration/index.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Method, MethodCall
from airflow_provider_b24.sandbox.records import filters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    # Finds the kind of the records that a call is about.
    _KindOf = Callable[[MethodCall], str]

_OLDER = ("lead", "deal", "contact", "company")
_PERSONAL, _COMMON = "P", "C"
# What chooses among the cards of a kind: names of the parameter, and what it is when nobody says.
_VARIANTS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "lead": (("leadCustomerType", "lead.customer.type"), 1),
    "deal": (("dealCategoryId",), 0),
}
_OF_SMART_PROCESSES = (("categoryId",), 1)


def _kind_by_type(call: MethodCall) -> str:
    number = call.integer("ENTITYTYPEID")
    if call.params.get("ENTITYTYPEID") in (None, ""):
        raise RestError(400, "", "Parameter 'entityTypeId' is not defined")
    table = call.portal.store.of_type(number)
    if table is None:
        name = f"DYNAMIC_{number}" if number > 0 else str(call.params["ENTITYTYPEID"])
        raise RestError(400, "", f"The entity type '{name}' is not supported in current context.")
    return table.schema.kind


def _kind(kind: str) -> _KindOf:
    return lambda _: kind


def _get(kind_of: _KindOf) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> list[dict[str, Any]] | None:
        found = _found(call, kind_of(call), *_whose(call, common_is_for_administrators=False))
        return call.portal.store.table("card").row(found[0])["SECTIONS"] if found else None

    return run


def _set(kind_of: _KindOf) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        kind = kind_of(call)
        scope, user_id = _whose(call)
        sections = _sections(call.params.get("DATA"), "have" if kind_of is _kind_by_type else "has")
        store, found = call.portal.store, _found(call, kind, scope, user_id)
        if found:
            store.change("card", found[0], {"SECTIONS": sections}, call.caller.user.id)
        else:
            card = {"KIND": kind, "SCOPE": scope, "USER_ID": user_id, "VARIANT": _variant(call, kind)}
            store.create("card", {**card, "SECTIONS": sections}, call.caller.user.id)
        return True

    return run


def _reset(kind_of: _KindOf) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        kind = kind_of(call)
        _remove(call, _found(call, kind, *_whose(call)))
        return True

    return run


def _force(kind_of: _KindOf) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        kind = kind_of(call)
        if not call.caller.user.admin:
            raise _denied()
        _remove(call, _found(call, kind, _PERSONAL, None))
        return True

    return run


def _denied() -> RestError:
    return RestError(400, "", "Access denied.")


def _whose(call: MethodCall, *, common_is_for_administrators: bool = True) -> tuple[str, int]:
    """Return scope and person of a card, and refuse those who may not have it."""
    me = call.caller.user
    if call.text("SCOPE").upper() == _COMMON:
        if common_is_for_administrators and not me.admin:
            raise _denied()
        return _COMMON, 0
    user_id = call.integer("USERID") or me.id
    if user_id != me.id and not me.admin:
        raise _denied()
    return _PERSONAL, user_id


def _variant(call: MethodCall, kind: str) -> int:
    names, usual = _VARIANTS.get(kind, _OF_SMART_PROCESSES if kind.startswith("item:") else ((), 0))
    given = call.mapping("EXTRAS")
    value = next((str(given[name]) for name in names if name in given), "")
    return int(value) if value.isdecimal() else usual


def _found(call: MethodCall, kind: str, scope: str, user_id: int | None) -> Sequence[int]:
    """Return the numbers of cards.

    :param user_id: whose, `None` for everybody's.
    """
    wanted: dict[str, Any] = {"=KIND": kind, "=SCOPE": scope, "=VARIANT": _variant(call, kind)}
    if user_id is not None:
        wanted["=USER_ID"] = user_id
    return call.portal.store.table("card").all(filters.CRM, filter_by=wanted)


def _remove(call: MethodCall, numbers: Sequence[int]) -> None:
    for number in numbers:
        call.portal.store.remove("card", number, call.caller.user.id)


def _sections(data: object, has: str) -> list[dict[str, Any]]:
    """Read the sections of a card.

    :param has: how the error begins that a section of another type meets.
    """
    if not isinstance(data, dict | list):
        raise RestError(400, "", "Parameter 'data' must be array.")
    if not data:
        raise RestError(400, "", "There are no data to write.")
    if isinstance(data, dict):
        raise RestError(400, "", "The data must be indexed array.")
    sections = []
    for index, item in enumerate(data):
        given = item if isinstance(item, dict) else {}
        where = f"ection at index {index}"
        if given.get("type") != "section":
            text = f"S{where} {has} type {given.get('type') or ''}. The expected type is 'section'."
            raise RestError(400, "", text)
        for name in ("name", "title"):
            if not given.get(name):
                raise RestError(400, "", f"S{where} does not have {name}.")
        section = {name: str(given[name]) for name in ("name", "title", "type")}
        sections.append({**section, "elements": _elements(given.get("elements"), f"s{where}")})
    return sections


def _elements(given: object, where: str) -> list[dict[str, Any]]:
    items = given.values() if isinstance(given, dict) else given if isinstance(given, list) else ()
    elements = []
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not item.get("name"):
            raise RestError(400, "", f"Element at index {index} in {where} does not have name.")
        element = {"name": str(item["name"]), "optionFlags": str(item.get("optionFlags") or 0)}
        if isinstance(item.get("options"), dict):
            element["options"] = item["options"]
        elements.append(element)
    return elements


METHODS = tuple(
    Method(f"crm.{name}.details.configuration.{verb}", "crm", make(kind_of))
    for name, kind_of in (("item", _kind_by_type), *((kind, _kind(kind)) for kind in _OLDER))
    for verb, make in (
        ("get", _get),
        ("set", _set),
        ("reset", _reset),
        ("forceCommonScopeForAll", _force),
    )
)
