"""Objects of REST 3.0: how methods read and list them, and what they say of their fields.

Documented on https://apidocs.bitrix24.com/api-reference/rest-v3.html.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_b24.sandbox.errors import Rest3Error, invalid

Params = Mapping[str, Any]
Row = Mapping[str, Any]

_PAGE = 50
#: How many rows one page has at most.
LARGEST_PAGE = 1000
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "in": lambda value, wanted: value in wanted,
    "between": lambda value, wanted: wanted[0] <= value <= wanted[1],
}
#: What `….field.get` and `….field.list` say of a field.
_ATTRIBUTES = (
    "name",
    "type",
    "title",
    "description",
    "validationRules",
    "requiredGroups",
    "filterable",
    "sortable",
    "editable",
    "multiple",
    "elementType",
)
_PHP = {"DateTime": "object"}


@dataclass(frozen=True, slots=True)
class Dto:
    """A kind of objects.

    :param name: such as `TaskDto`.
    :param types: of its fields, by name: `int`, `string`, `bool`, `array`, `object`, `DateTime`.
    :param editable: the fields that callers may write.
    """

    name: str
    types: Mapping[str, str]
    filterable: frozenset[str] = frozenset({"id"})
    sortable: frozenset[str] = frozenset({"id"})
    editable: frozenset[str] = frozenset()

    def unknown(self, name: object) -> Rest3Error:
        """Return the refusal of a field that there is not."""
        text = f"Unknown field `{name}` for entity `{self.name}`"
        return Rest3Error(400, "UNKNOWNDTOPROPERTYEXCEPTION", text)

    def fields(self, params: Params) -> dict[str, Any]:
        """Return the parameter `fields`, whose names the object has.

        :raises Rest3Error: when it is missing or no object, or has other names.
        """
        fields = params.get("fields")
        if fields is None:
            raise invalid({"fields": "Required field `fields` is not specified"})
        if not isinstance(fields, dict):
            raise invalid({"fields": wrong_type("fields", "array")})
        for name in fields:
            if name not in self.types:
                raise self.unknown(name)
        return fields

    def misfits(self, fields: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with the types of these values, by name."""
        return {
            name: wrong_type(name, self.types[name])
            for name, value in fields.items()
            if not _is(self.types[name], value)
        }

    def ordered(self, params: Params, rows: Iterable[Row], default: Mapping[str, str]) -> list[Row]:
        """Return rows in the order of the parameter `order`."""
        order = params.get("order") or default
        if not isinstance(order, dict) or any(
            str(way).upper() not in ("ASC", "DESC") for way in order.values()
        ):
            raise Rest3Error(400, "INVALIDORDEREXCEPTION", f"Unable to recognize sorting parameter `{order}`")
        for name in order:
            if name not in self.types:
                raise self.unknown(name)
            if name not in self.sortable:
                raise invalid({name: self._lacks(name, "Sortable")})
        found = list(rows)
        for name, way in reversed(order.items()):
            descending = str(way).upper() == "DESC"
            found.sort(
                key=lambda row, name=name: (row.get(name) is not None, row.get(name)),  # type: ignore[misc]
                reverse=descending,
            )
        return found

    def tests(self, params: Params) -> list[Callable[[Row], bool]]:
        """Return what the parameter `filter` wants of a row."""
        given = params.get("filter") or []
        if not isinstance(given, list):
            raise self._unreadable(given)
        return [self._test(condition) for condition in given]

    def _lacks(self, name: str, attribute: str) -> str:
        return f"In DTO `{self.name}`, the `{name}` field requires the `{attribute}` attribute"

    def _unreadable(self, given: object) -> Rest3Error:
        return Rest3Error(
            400, "INVALIDFILTEREXCEPTION", f"Unable to recognize the filter expression `{given}`"
        )

    def _test(self, condition: object) -> Callable[[Row], bool]:
        if not isinstance(condition, list) or len(condition) not in (2, 3):
            raise self._unreadable(condition)
        name, sign, wanted = condition if len(condition) == 3 else (condition[0], "=", condition[1])
        if len(condition) == 2 and isinstance(wanted, list):
            sign = "in"
        if name not in self.types:
            raise self.unknown(name)
        if name not in self.filterable:
            raise invalid({name: self._lacks(name, "Filterable")})
        compare = _OPERATORS.get(sign)
        if compare is None:
            raise Rest3Error(400, "UNKNOWNFILTEROPERATOREXCEPTION", f"Unknown filter operator `{sign}`")
        several = sign in ("in", "between")
        if several is not isinstance(wanted, list) or (sign == "between" and len(wanted) != 2):
            raise self._unreadable(condition)
        if not all(_is(self.types[name], value) for value in (wanted if several else [wanted])):
            raise invalid({name: wrong_type(name, self.types[name])})
        # Nothing is above or below none.
        equality = sign in ("=", "!=", "in")
        return lambda row: (equality or row[name] is not None) and bool(compare(row[name], wanted))


def number(params: Params, name: str = "id") -> int:
    """Return a parameter that must be a number.

    :raises Rest3Error: when it is missing or none.
    """
    if name not in params:
        raise invalid({name: f"Required field `{name}` is not specified"})
    found = params[name]
    if type(found) is not int:
        raise invalid({name: wrong_type(name, "int")})
    return found


def cut(params: Params, rows: Sequence[Row]) -> Sequence[Row]:
    """Return the page of the rows that the parameter `pagination` asks for."""
    page = params.get("pagination") or {}
    numbers = page.values() if isinstance(page, dict) else [None]
    if not all(type(number) is int and number >= 0 for number in numbers) or page.get("limit") == 0:
        raise Rest3Error(
            400, "INVALIDPAGINATIONEXCEPTION", f"Unable to recognize the pagination parameter `{page}`"
        )
    limit = min(page.get("limit", _PAGE), LARGEST_PAGE)
    offset = page.get("offset", max(page.get("page", 1) - 1, 0) * limit)
    return rows[offset : offset + limit]


def wrong_type(name: str, kind: str) -> str:
    """Return what is said of a value of another type."""
    return f"Field `{name}` requires data type `{kind}` for this request"


def missing(names: Iterable[str]) -> Rest3Error:
    """Return the refusal of an object without fields that it must have."""
    problems = {name: f'Required field "{name}" is not filled' for name in names}
    return Rest3Error(400, "VALIDATION_DTOVALIDATIONEXCEPTION", "Validation error", problems)


def denied(status: int = 403) -> Rest3Error:
    """Return the refusal of what a person may not do."""
    return Rest3Error(status, "ACCESSDENIEDEXCEPTION", "Access denied")


def selected(params: Params) -> list[str]:
    """Return the names that a call selects, none without any.

    :raises Rest3Error: for what is no list of names.
    """
    select = params.get("select")
    if select is not None and (not isinstance(select, list) or not all(isinstance(s, str) for s in select)):
        text = f"Unable to recognize select expression `{select}`"
        raise Rest3Error(400, "INVALIDSELECTEXCEPTION", text)
    return select or []


def described(dto: Dto, params: Params, name: str | None = None) -> list[dict[str, Any]]:
    """Return what is said of the fields of a kind, or of one of them.

    :raises Rest3Error: for an attribute, or a field, that there is not.
    """
    select = selected(params)
    for attribute in select:
        if attribute not in _ATTRIBUTES:
            text = f"Unknown field `{attribute}` for entity `DtoFieldDto`"
            raise Rest3Error(400, "UNKNOWNDTOPROPERTYEXCEPTION", text)
    if name is not None and name not in dto.types:
        raise _field_not_found(name)
    wanted = [name] if name is not None else dto.types
    return [_described(dto, field, select or _ATTRIBUTES) for field in wanted]


def _field_not_found(name: str) -> Rest3Error:
    error = Rest3Error(400, "", f"Field `{name}` not found")
    error.code = "BITRIX_REST_V3_REALISATION_EXCEPTION_FIELDNOTFOUNDEXCEPTION"
    return error


def _described(dto: Dto, name: str, select: Sequence[str]) -> dict[str, Any]:
    kind = dto.types[name]
    said: dict[str, Any] = {
        "name": name,
        "type": _PHP.get(kind, kind),
        "title": "ID" if name == "id" else name,
        "description": "Identifier" if name == "id" else None,
        "validationRules": [],
        "requiredGroups": None,
        "filterable": name in dto.filterable,
        "sortable": name in dto.sortable,
        "editable": name in dto.editable,
        "multiple": False,
        "elementType": None,
    }
    return {attribute: said[attribute] for attribute in select}


def _is(kind: str, value: Any) -> bool:
    if kind == "DateTime":
        try:
            return datetime.fromisoformat(value).utcoffset() is not None
        except (TypeError, ValueError):
            return False
    return type(value) is {"string": str, "int": int, "bool": bool, "array": list, "object": dict}[kind]
