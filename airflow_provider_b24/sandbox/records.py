"""A record store behind the list methods: filter, order, select, and pages of 50."""

from __future__ import annotations

import bisect
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

PAGE = 50
_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")

_OPERATORS: tuple[tuple[str, Callable[[Any, Any], bool]], ...] = (
    (">=", operator.ge),
    ("<=", operator.le),
    ("!=", operator.ne),
    ("!", operator.ne),
    (">", operator.gt),
    ("<", operator.lt),
    ("=", operator.eq),
    ("%", lambda value, part: str(part).lower() in str(value).lower()),
)


@dataclass(frozen=True, slots=True)
class Page:
    """What a list method answers with.

    :param rows: the records of this page.
    :param total: how many there are in all, `None` when nobody counted.
    :param next: offset of the following page, `None` on the last one.
    """

    rows: list[dict[str, Any]]
    total: int | None
    next: int | None


class RecordStore:
    """Records of one kind, each a flat mapping with its number under `id_field`.

    :param text_ids: write numbers as text, as all but the newest methods do.
    """

    def __init__(self, id_field: str = "ID", *, text_ids: bool = True) -> None:
        self.id_field = id_field
        self._text_ids = text_ids
        self._rows: list[dict[str, Any]] = []
        self._ids: list[int] = []
        self._last = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, record: Mapping[str, Any]) -> int:
        """Store a record and return its number: its own, or the next one.

        :raises ValueError: for a number that is not higher than all before.
        """
        number = int(record.get(self.id_field, self._last + 1))
        if number <= self._last:
            raise ValueError(f"Numbers go up: {number} cannot follow {self._last}")
        self._last = number
        self._rows.append({**record, self.id_field: str(number) if self._text_ids else number})
        self._ids.append(number)
        return number

    def get(self, number: int) -> dict[str, Any] | None:
        """Return a copy of the record with this number."""
        try:
            return dict(self._rows[self._position(number)])
        except KeyError:
            return None

    def change(self, number: int, fields: Mapping[str, Any]) -> None:
        """Change fields of the record with this number.

        :raises KeyError: when there is none.
        """
        self._rows[self._position(number)].update(fields)

    def remove(self, number: int) -> None:
        """Forget the record with this number; it is not given again.

        :raises KeyError: when there is none.
        """
        position = self._position(number)
        del self._rows[position], self._ids[position]

    def rows(self) -> list[dict[str, Any]]:
        """Return a copy of every record, in the order of their numbers."""
        return [dict(row) for row in self._rows]

    def _position(self, number: int) -> int:
        position = bisect.bisect_left(self._ids, number)
        if position == len(self._ids) or self._ids[position] != number:
            raise KeyError(number)
        return position

    def page(
        self,
        *,
        filter_by: Mapping[str, Any] | None = None,
        order: Mapping[str, Any] | None = None,
        select: Sequence[str] | None = None,
        start: int = 0,
    ) -> Page:
        """Return one page.

        :param start: offset of the page; -1 means the first page without counting.
        """
        only = {name.upper(): value for name, value in (filter_by or {}).items()}
        if set(only) == {">ID"} and _ascending(order, "ID"):
            # The recommended way through big lists, so it must not become slower with their size.
            position = bisect.bisect_right(self._ids, int(_number(only[">ID"]) or 0))
            if start < 0:
                return Page(_select(self._rows[position : position + PAGE], select), None, None)
            found: Sequence[Mapping[str, Any]] = self._rows[position:]
        elif not only and _ascending(order, "ID"):
            found = self._rows
        else:
            found = find(self._rows, filter_by, order)
        return cut(found, select=select, start=start)


class RecordStores:
    """The stores behind the list methods: `lead`, `task`, `item:147`, and `item` for all other types."""

    def __init__(self) -> None:
        self._stores: dict[str, RecordStore] = {}

    def find(self, kind: str) -> RecordStore:
        """Return the store of one kind."""
        if kind.startswith("item:") and kind not in self._stores:
            kind = "item"
        return self._stores.setdefault(kind, _store(kind))

    def add(self, kind: str, records: int | Iterable[Mapping[str, Any]]) -> list[int]:
        """Store records, or as many as a number says; return their numbers."""
        store = self._stores.setdefault(kind, _store(kind))
        if isinstance(records, int):
            title = "TITLE" if store.id_field == "ID" else "title"
            first = len(store) + 1
            records = [{title: f"{kind} {first + index}"} for index in range(records)]
        return [store.add(record) for record in records]


def _store(kind: str) -> RecordStore:
    if kind in ("lead", "notification"):
        return RecordStore()
    if kind == "task":
        return RecordStore("id")
    if kind.partition(":")[0] == "item":
        return RecordStore("id", text_ids=False)
    raise ValueError(f"No records of kind {kind!r}: choose lead, task, notification, item or item:<type id>")


def find(
    rows: Iterable[Mapping[str, Any]], filter_by: Mapping[str, Any] | None, order: Mapping[str, Any] | None
) -> list[Mapping[str, Any]]:
    """Return the rows that pass the filter, in order; field names are not case-sensitive."""
    tests = [_test(name, value) for name, value in (filter_by or {}).items()]
    found = [row for row in rows if all(test(row) for test in tests)]
    for name, direction in reversed(list((order or {}).items())):
        found.sort(key=_sort_key(name), reverse=str(direction).lower() == "desc")
    return found


def cut(rows: Sequence[Mapping[str, Any]], *, select: Sequence[str] | None, start: int) -> Page:
    """Cut one page out of all rows."""
    if start < 0:
        return Page(_select(rows[:PAGE], select), None, None)
    more = start + PAGE if start + PAGE < len(rows) else None
    return Page(_select(rows[start : start + PAGE], select), len(rows), more)


def _select(rows: Sequence[Mapping[str, Any]], select: Sequence[str] | None) -> list[dict[str, Any]]:
    if not select or "*" in select:
        return [dict(row) for row in rows]
    wanted = {name.upper() for name in select}
    return [{name: value for name, value in row.items() if name.upper() in wanted} for row in rows]


def _ascending(order: Mapping[str, Any] | None, field: str) -> bool:
    return not order or [(k.upper(), str(v).upper()) for k, v in order.items()] == [(field, "ASC")]


def _test(name: str, wanted: Any) -> Callable[[Mapping[str, Any]], bool]:
    compare: Callable[[Any, Any], bool] = operator.eq
    name = name.removeprefix("@")
    for sign, function in _OPERATORS:
        if name.startswith(sign):
            name, compare = name[len(sign) :], function
            break

    def one(value: Any, other: Any) -> bool:
        left, right = _number(value), _number(other)
        if left is not None and right is not None:
            return compare(left, right)
        return compare("" if value is None else str(value), "" if other is None else str(other))

    def test(row: Mapping[str, Any]) -> bool:
        value = _field(row, name)
        if isinstance(wanted, list):
            answers = [one(value, item) for item in wanted]
            return all(answers) if compare is operator.ne else any(answers)
        return one(value, wanted)

    return test


def _field(row: Mapping[str, Any], name: str) -> Any:
    if name in row:
        return row[name]
    upper = name.upper()
    return next((value for key, value in row.items() if key.upper() == upper), None)


def _number(value: Any) -> float | None:
    # Process ids look like long decimal numbers now and then: those stay text.
    if isinstance(value, int | float):
        return float(value)
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def _sort_key(name: str) -> Callable[[Mapping[str, Any]], tuple[int, float, str]]:
    def key(row: Mapping[str, Any]) -> tuple[int, float, str]:
        value = _field(row, name)
        number = _number(value)
        return (1, 0.0, str(value)) if number is None else (0, number, "")

    return key
