"""What a list method's filter may say, by family of methods, and what it means.

A key of a filter is an operator and a field. What a family's page does not document is refused: a filter that is
misread gives wrong rows without an error.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.records.fields import Field, Value, as_text, sort_key

Row = Mapping[str, Any]
Test = Callable[[Row], bool]
#: Finds a field by the name a caller gives it; `None` where there is none.
FieldNamed = Callable[[str], Field | None]

# Longer ones first: `!=%` is not `!=` before a field `%NAME`.
_OPERATOR = re.compile(r"!=%|!%=|!@|!%|!=|>=|<=|=%|%=|@|%|=|!|>|<|")

_EQUALITY = frozenset({"", "=", "!", "!="})
_ORDERING = frozenset({">", ">=", "<", "<="})
_MEMBERSHIP = frozenset({"@", "!@"})
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_LIKE = frozenset({"%", "=%", "%="})
_NOT_LIKE = frozenset({"!%", "!=%", "!%="})


@dataclass(frozen=True, slots=True)
class Family:
    """Methods whose filters and orders are written alike.

    :param operators: what may stand before a field; the empty one is equality.
    :param code: the code of their errors.
    :param bad_filter: the text of a filter's error, with `{}` for what is wrong.
    :param bad_order: the same for an order.
    :param no_object: the text where the parameter is no object, with `{}` for its name.
    :param strict: whether a value that does not fit its field is refused; else it counts as 0, as PHP reads it.
    :param logic: whether filters nest, with `logic` `OR` or `AND`.
    """

    operators: frozenset[str]
    code: str | int = ""
    # The pages have this one text for all that goes wrong. Portals ignore what they do not know, and give all rows.
    bad_filter: str = "Failed to get list. General error. Filter: {}."
    bad_order: str = "Failed to get list. General error. Order: {}."
    no_object: str = "Parameter '{}' must be array."
    strict: bool = False
    logic: bool = False

    def refuse(self, text: str) -> RestError:
        """Return the error of a filter."""
        return RestError(400, self.code, self.bad_filter.format(text))

    def refuse_order(self, text: str) -> RestError:
        """Return the error of an order."""
        return RestError(400, self.code, self.bad_order.format(text))


#: `crm.deal.list`, `crm.contact.list`, `crm.company.list`.
CRM = Family(_EQUALITY | _ORDERING | _MEMBERSHIP | _LIKE)
#: `crm.lead.list`: its page has NOT LIKE, too.
CRM_LEAD = Family(CRM.operators | _NOT_LIKE)
#: `crm.item.list`.
ITEM = Family(
    CRM_LEAD.operators,
    "INVALID_ARG_VALUE",
    "Invalid filter: {}",
    "Invalid order: {}",
    strict=True,
    logic=True,
)
#: `crm.item.productrow.list`.
PRODUCT_ROW = Family(
    ITEM.operators - _MEMBERSHIP, "INVALID_ARG_VALUE", "Invalid filter: {}", "Invalid order: {}", strict=True
)
#: `crm.item.payment.list`, `crm.item.delivery.list`, `crm.item.payment.product.list` and its like.
PAYMENT = Family(ITEM.operators, 0, "Invalid filter: {}", "Invalid order: {}", strict=True)
#: `tasks.task.list`.
TASK = Family(
    frozenset({"", "!"}) | _ORDERING,
    "0",
    "Invalid filter key (internal error): {}",
    "Invalid sorting key (internal error)",
)
#: `user.get`.
USER = Family(CRM_LEAD.operators, "ERROR_ARGUMENT", "Invalid filter: {}", "Invalid sort: {}")
#: `department.get`: its filter is among the parameters, and has no operators.
DEPARTMENT = Family(frozenset({""}), "ERROR_CORE", "Invalid filter: {}", "Invalid sort: {}")
#: `bizproc.task.list`, `bizproc.workflow.instances`, `bizproc.workflow.template.list`.
BIZPROC = Family(
    _EQUALITY | _ORDERING,
    "ERROR_FILTER_VALIDATION_FAILURE",
    "Invalid data in FILTER parameter: {}",
    "Invalid data in ORDER parameter: {}",
)
#: `event.offline.get`, `event.offline.list`.
OFFLINE = Family(_EQUALITY | _ORDERING, "ERROR_ARGUMENT", "Invalid filter: {}", "Invalid order: {}")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a filter.

    :param field: name in the rows; empty for a nested filter.
    :param sign: the operator.
    :param wanted: what the operator compares with, ready for comparison.
    """

    field: str
    sign: str
    wanted: tuple[Value, ...]
    test: Test


def read_filter(given: object, family: Family, field_named: FieldNamed) -> list[Condition]:
    """Read a filter, all of whose conditions must hold.

    :raises RestError: for an operator or a field that the family does not have.
    """
    if given in (None, "", [], {}):
        return []
    if isinstance(given, list) and family.logic:
        # Names from 0 on make a list, in forms and in PHP.
        given = {str(index): item for index, item in enumerate(given)}
    if not isinstance(given, Mapping):
        raise RestError(400, family.code, family.no_object.format("filter"))
    if family.logic and any(str(key).lower() == "logic" for key in given):
        return [Condition("", "", (), _nested(given, family, field_named))]
    return [_condition(str(key), value, family, field_named) for key, value in given.items()]


def _condition(key: str, value: object, family: Family, field_named: FieldNamed) -> Condition:
    if family.logic and isinstance(value, Mapping | list) and key.isdecimal():
        return Condition("", "", (), _nested(value, family, field_named))
    match = _OPERATOR.match(key)
    sign = match[0] if match else ""
    name = key[len(sign) :]
    found = field_named(name)
    if sign not in family.operators or found is None:
        # What begins with an operator nobody knows is a field nobody knows.
        raise family.refuse(f"field '{name if sign in family.operators else key}' is not allowed in filter")
    if found.type.name == "pattern" and sign in ("", "!"):
        sign += "=%"
    values = list(value.values()) if isinstance(value, Mapping) else value
    wanted = _wanted(values if isinstance(values, list) else [values], sign, name, found, family)
    return Condition(found.name, sign, wanted, _test(found, sign, wanted))


def _nested(value: Mapping[str, Any] | list[Any], family: Family, field_named: FieldNamed) -> Test:
    pairs = enumerate(value) if isinstance(value, list) else value.items()
    given = {str(key): item for key, item in pairs}
    logic = str(next((given.pop(key) for key in list(given) if key.lower() == "logic"), "AND")).upper()
    if logic not in ("AND", "OR"):
        raise family.refuse("field 'logic' has invalid value")
    tests = [condition.test for condition in read_filter(given, family, field_named)]
    holds = any if logic == "OR" else all
    return lambda row: holds(test(row) for test in tests)


def _wanted(values: list[Any], sign: str, name: str, field: Field, family: Family) -> tuple[Value, ...]:
    if sign in _LIKE | _NOT_LIKE:
        if any(isinstance(value, dict | list) for value in values):
            raise family.refuse(f"field '{name}' has invalid value")
        return tuple(str(value).casefold() for value in values)
    wanted = []
    for value in values:
        fits, key = field.type.comparable(value)
        if not fits and (family.strict or isinstance(value, dict | list)):
            raise family.refuse(f"field '{name}' has invalid value")
        wanted.append(key)
    return tuple(wanted)


def _test(field: Field, sign: str, wanted: tuple[Value, ...]) -> Test:
    name, default, key = field.name, field.default, field.type.key
    negative = sign.startswith("!")
    if sign in _LIKE | _NOT_LIKE:
        finds = _pattern if "=" in sign else _part
        tests = [finds(str(text)) for text in wanted]

        def like(row: Row) -> bool:
            value = row.get(name, default)
            texts = [as_text(item) for item in value] if isinstance(value, list) else [as_text(value)]
            return any(test(text) for text in texts for test in tests) is not negative

        return like
    if sign in _EQUALITY | _MEMBERSHIP:
        one_of = frozenset(wanted)

        def equal(row: Row) -> bool:
            value = row.get(name, default)
            if isinstance(value, list):
                return any(key(item) in one_of for item in value) is not negative
            return (key(value) in one_of) is not negative

        return equal
    compare = _COMPARE[sign]
    # Nothing is above or below none, nor a number above or below a text: SQL's NULL.
    limits = [limit for limit in wanted if limit is not None]

    def ordered(row: Row) -> bool:
        value = key(row.get(name, default))
        if value is None:
            return False
        for limit in limits:  # noqa: SIM110 - twice as quick as a generator
            if isinstance(value, str) is isinstance(limit, str) and compare(value, limit):
                return True
        return False

    return ordered


def _part(wanted: str) -> Callable[[str], bool]:
    return lambda text: wanted in text


def _pattern(wanted: str) -> Callable[[str], bool]:
    """Read SQL's LIKE: `%` is anything, `_` is any character."""
    parts = {"%": ".*", "_": "."}
    pattern = re.compile("".join(parts.get(char, re.escape(char)) for char in wanted), re.DOTALL)
    return lambda text: pattern.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Sorting:
    """One key of an order."""

    field: Field
    descending: bool

    def key(self, row: Row) -> tuple[int, float, str]:
        """Return what rows are sorted by."""
        return sort_key(self.field.type.key(row.get(self.field.name, self.field.default)))


def read_order(given: object, family: Family, field_named: FieldNamed) -> list[Sorting]:
    """Read an order such as `{"ID": "DESC"}`.

    :raises RestError: for a field or a direction that the family does not have.
    """
    if given in (None, "", [], {}):
        return []
    if not isinstance(given, Mapping):
        raise RestError(400, family.code, family.no_object.format("order"))
    order = []
    for name, direction in given.items():
        field = field_named(str(name))
        if field is None or field.type.multiple:
            raise family.refuse_order(f"field '{name}' is not allowed in order")
        if str(direction).upper() not in ("ASC", "DESC"):
            raise family.refuse_order(
                f"allowed sort directions are ASC, DESC. But got '{direction}' for field '{name}'"
            )
        order.append(Sorting(field, str(direction).upper() == "DESC"))
    return order
