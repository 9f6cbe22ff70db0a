"""Fields of records: their types, how values are stored, compared and written out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: What values are compared as.
Value = float | str | None

_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
_WHOLE = frozenset(
    {
        "integer",
        "user",
        "location",
        "crm_category",
        "crm_company",
        "crm_contact",
        "crm_deal",
        "crm_entity",
        "crm_lead",
        "crm_quote",
    }
)
_DATES = frozenset({"date", "datetime"})
_FLAGS = frozenset({"char", "boolean"})


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of a field, as `fields` methods name it; `any` for one that nobody has declared.

    :param multiple: whether it holds a list.
    """

    name: str
    multiple: bool = False

    @property
    def key(self) -> Callable[[object], Value]:
        """What makes a value of this type comparable; `None` for none."""
        if self.name in _WHOLE or self.name == "double":
            return _as_number
        if self.name in _DATES:
            return _as_moment
        if self.name in _FLAGS:
            return _as_flag
        if self.name == "crm_multifield":
            return _as_contact
        return _as_anything if self.name == "any" else as_text

    def comparable(self, value: object) -> tuple[bool, Value]:
        """Return whether a value of a filter fits, and what it is compared as."""
        if isinstance(value, dict | list):
            return False, None
        if value is None or value == "":
            return True, self.key(value)
        key = self.key(value)
        if key is None:
            return False, 0.0
        return True, key

    def store(self, value: object) -> Any:
        """Return a value as it is kept.

        :raises ValueError: when it does not fit the type.
        """
        if self.multiple:
            items = list(value.values()) if isinstance(value, dict) else value
            if items in (None, "", False):
                return []
            if not isinstance(items, list | tuple):
                raise TypeError(_php_type(value))
            if self.name == "crm_multifield":
                return list(items)
            return [self._store(item) for item in items]
        return self._store(value)

    def _store(self, value: object) -> Any:
        if self.name == "any" or (self.name == "file" and isinstance(value, dict | list)):
            return value
        if value is None or value == "":
            return None
        if isinstance(value, dict | list):
            raise ValueError(value)
        if self.name in _FLAGS:
            return _as_flag(value)
        if self.name in _WHOLE or self.name == "double":
            number = _as_number(value)
            if number is None:
                raise ValueError(value)
            return number if self.name == "double" else int(number)
        if self.name in _DATES and _as_moment(value) is None:
            raise ValueError(value)
        return str(value)


ANY = FieldType("any")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind of records.

    :param name: in the rows, as the older methods and documents of processes call it.
    :param item_name: as `crm.item.*` and `tasks.task.*` call it.
    :param default: what a record has that does not say; the rows do not hold it.
    :param dynamic: whether the portal's users have made it.
    :param status_type: the directory that its values come from, for one of type `crm_status`.
    :param parent: the entity type of the record that it binds to, 0 for none.
    """

    name: str
    type: FieldType = ANY
    item_name: str = ""
    default: Any = None
    read_only: bool = False
    immutable: bool = False
    required: bool = False
    deprecated: bool = False
    dynamic: bool = False
    status_type: str = ""
    parent: int = 0

    @property
    def title(self) -> str:
        """What people read."""
        return self.name.replace("_", " ").capitalize()


def sort_key(key: Value) -> tuple[int, float, str]:
    """Order values of any kind: none first, numbers before text, as MySQL does with what REST lists hold."""
    if key is None:
        return (0, 0.0, "")
    return (2, 0.0, key) if isinstance(key, str) else (1, key, "")


def _as_number(value: object) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        text = value.strip()
        # Users and bindings may be written with what they are: `user_14`, `CO_3`.
        text = text.rpartition("_")[2] if text[:1].isalpha() else text
        if _NUMBER.fullmatch(text):
            return float(text)
    return None


def _as_moment(value: object) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str) or not value:
        return None
    for read in (datetime.fromisoformat, _local_date):
        try:
            moment = read(value)
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _local_date(text: str) -> datetime:
    form = "%d.%m.%Y %H:%M:%S" if ":" in text else "%d.%m.%Y"
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def _as_flag(value: object) -> str:
    return "Y" if str(value).lower() in ("1", "y", "true", "yes") else "N"


def as_text(value: object) -> str:
    """Return a value as text is compared: MySQL takes no regard to case, and REST knows no difference to none."""
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, bool):
        return "y" if value else "n"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).casefold()


def _as_contact(value: object) -> str:
    return as_text(value.get("VALUE") if isinstance(value, dict) else value)


def _as_anything(value: object) -> Value:
    # Process ids look like long decimal numbers now and then: those stay text.
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return value.casefold()
    number = _as_number(value)
    return as_text(value) if number is None else number


def _php_type(value: object) -> str:
    return (
        "string" if isinstance(value, str) else "integer" if isinstance(value, int) else type(value).__name__
    )
