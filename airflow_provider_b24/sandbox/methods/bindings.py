"""`crm.lead.contact.*`, `crm.deal.contact.*`, `crm.company.contact.*`, `crm.contact.company.*`: who belongs to what.

Documented on https://apidocs.bitrix24.com/api-reference/crm/deals/contacts/index.html and its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Method, MethodCall
from airflow_provider_b24.sandbox.records.bindings import (
    Binding,
    added,
    bindings_of,
    in_order,
    next_sort,
    relation_of,
    without,
)
from airflow_provider_b24.sandbox.records.fields import Field, FieldType
from airflow_provider_b24.sandbox.records.rows import described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class _Owner:
    """What is bound to what, and where the pages of the methods differ.

    :param not_found: the code of the error for a record that is not there.
    :param unfit: what an error calls the `fields` of the method that takes one away.
    :param keeps_sort: whether who is bound already keeps the sort index, unless there is a new one.
    """

    kind: str
    to: str
    not_found: str = ""
    unfit: str = "item"
    keeps_sort: bool = False

    @property
    def methods(self) -> str:
        return f"crm.{self.kind}.{self.to}"

    @property
    def key(self) -> str:
        return f"{self.to.upper()}_ID"


_OWNERS = (
    _Owner("lead", "contact", not_found="NOT_FOUND"),
    _Owner("deal", "contact"),
    _Owner("company", "contact", keeps_sort=True),
    _Owner("contact", "company", unfit="fields", keeps_sort=True),
)


def _fields(owner: _Owner) -> Callable[[MethodCall], Any]:
    told = described(
        (
            Field(owner.key, FieldType("integer"), required=True),
            Field("SORT", FieldType("integer")),
            Field("IS_PRIMARY", FieldType("char")),
        )
    )
    return lambda _: told


def _get(owner: _Owner) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> list[dict[str, Any]]:
        return [
            {
                owner.key: binding.number,
                "SORT": binding.sort,
                "ROLE_ID": 0,
                "IS_PRIMARY": "Y" if binding.primary else "N",
            }
            for binding in _bindings(call, owner, _number(call, owner, "ownerEntityID"))
        ]

    return run


def _add(owner: _Owner) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        given = _given(call, "fields")
        number = _number(call, owner, "'ownerEntityID'")
        bound = _bindings(call, owner, number)
        other = _other(owner, given)
        if any(binding.number == other for binding in bound):
            return False
        primary = MethodCall.flag_of(given, "IS_PRIMARY")
        _bind(call, owner, number, added(bound, other, _sort(given), primary=primary))
        return True

    return run


def _delete(owner: _Owner) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        given = _given(call, owner.unfit)
        number = _number(call, owner, "'ownerEntityID'")
        bound = _bindings(call, owner, number)
        other = _other(owner, given)
        if all(binding.number != other for binding in bound):
            return False
        _bind(call, owner, number, without(bound, other))
        return True

    return run


def _set(owner: _Owner) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        if not isinstance(call.params.get("ITEMS"), dict | list):
            raise RestError(400, "", "The parameter items must be array.")
        number = _number(call, owner, "ownerEntityID")
        old = {binding.number: binding for binding in _bindings(call, owner, number)}
        new: list[Binding] = []
        for index, item in enumerate(call.sequence("ITEMS"), 1):
            given = _upper(item) if isinstance(item, dict) else {}
            other = _whole(given.get(owner.key)) or 0
            if other <= 0:
                continue
            sort = _sort(given)
            if sort is None and owner.keeps_sort:
                sort = old[other].sort if other in old else next_sort([*old.values(), *new])
            primary = MethodCall.flag_of(given, "IS_PRIMARY")
            new.append(Binding(other, index * 10 if sort is None else sort, primary))
        _bind(call, owner, number, in_order(new))
        return True

    return run


def _clear(owner: _Owner) -> Callable[[MethodCall], Any]:
    def run(call: MethodCall) -> bool:
        _bind(call, owner, _number(call, owner, "ownerEntityID"), ())
        return True

    return run


def _number(call: MethodCall, owner: _Owner, name: str) -> int:
    number = call.integer("ID")
    if number <= 0:
        raise RestError(400, "", f"The parameter {name} is invalid or not defined.")
    if number not in call.portal.store.table(owner.kind):
        raise RestError(400, owner.not_found, "Not found.")
    return number


def _given(call: MethodCall, called: str) -> Mapping[str, Any]:
    if call.integer("ID") > 0 and not isinstance(call.params.get("FIELDS"), dict):
        raise RestError(400, "", f"The parameter '{called}' must be array.")
    return _upper(call.mapping("FIELDS"))


def _upper(given: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name).upper(): value for name, value in given.items()}


def _other(owner: _Owner, given: Mapping[str, Any]) -> int:
    other = _whole(given.get(owner.key)) or 0
    if other <= 0:
        raise RestError(400, "", "The parameter 'fields' is not valid.")
    return other


def _sort(given: Mapping[str, Any]) -> int | None:
    return _whole(given.get("SORT"))


def _whole(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _bindings(call: MethodCall, owner: _Owner, number: int) -> tuple[Binding, ...]:
    relation = relation_of(owner.kind)
    return bindings_of(relation, call.portal.store.table(owner.kind).row(number)) if relation else ()


def _bind(call: MethodCall, owner: _Owner, number: int, bindings: tuple[Binding, ...]) -> None:
    call.portal.store.bind(owner.kind, number, bindings, call.caller.user.id)


METHODS = tuple(
    Method(f"{owner.methods}.{verb}", "crm", make(owner))
    for owner in _OWNERS
    for verb, make in (
        ("fields", _fields),
        ("add", _add),
        ("delete", _delete),
        ("items.get", _get),
        ("items.set", _set),
        ("items.delete", _clear),
    )
)
