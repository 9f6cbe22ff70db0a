"""Records of one kind: added, changed, found, and read in pages of 50, however many there are."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_b24.sandbox.records.fields import ANY, Field, FieldType, Value, as_text
from airflow_provider_b24.sandbox.records.filters import (
    Condition,
    Family,
    FieldNamed,
    Sorting,
    Test,
    read_filter,
    read_order,
)
from airflow_provider_b24.sandbox.records.schemas import Schema, own_field
from airflow_provider_b24.sandbox.records.texts import Texts

PAGE = 50
# Who reads a list page by page asks the same question again and again.
_REMEMBERED = 16


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    :param rows: the records of this page.
    :param total: how many there are in all, `None` when nobody counted.
    :param next: offset of the following page, `None` on the last one.
    """

    rows: list[dict[str, Any]]
    total: int | None
    next: int | None


class Table:
    """Records of one kind.

    A row holds what differs from its field's default. Rows that are handed out are not to be changed.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.own_fields: dict[str, Field] = {}
        self._rows: dict[int, dict[str, Any]] = {}
        self._ids: list[int] = []
        self._last = 0
        #: How often records were added, changed or deleted.
        self.changes = 0
        # Numbers by value, of the fields that someone has asked for.
        self._indexes: dict[str, dict[Value, list[int]]] = {}
        self._found: OrderedDict[str, Sequence[int]] = OrderedDict()
        # The values of fields in which someone has looked for a part, until something changes.
        self._texts: dict[str, Texts] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, number: object) -> bool:
        return number in self._rows

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids)

    @property
    def next_number(self) -> int:
        """The number that the next record gets."""
        return self._last + 1

    @property
    def fields(self) -> list[Field]:
        """All fields, those that users have made last."""
        return [*self.schema.fields.values(), *self.own_fields.values()]

    def field_named(self, name: str) -> Field | None:
        """Return a field by any of its names."""
        return self.schema.find(name) or self.own_fields.get(own_field(name).name)

    def declare(self, name: str) -> Field:
        """Return a field, and make it if there is none."""
        known = self.field_named(name)
        if known is None:
            known = own_field(name)
            self.own_fields[known.name] = known
        return known

    def own(self, field: Field) -> None:
        """Take a field that the portal's users have made; it replaces one of the same name."""
        self.own_fields[field.name] = field
        self._indexes.pop(field.name, None)
        self._found.clear()
        self._texts.clear()

    def disown(self, name: str) -> None:
        """Forget such a field, with its values."""
        self.own_fields.pop(name, None)
        self._indexes.pop(name, None)
        for row in self._rows.values():
            row.pop(name, None)
        self._found.clear()
        self._texts.clear()

    def row(self, number: int) -> Mapping[str, Any]:
        """Return a row.

        :raises KeyError: when there is none.
        """
        return self._rows[number]

    def holding(self, key: str) -> list[int]:
        """Return the numbers of the rows that hold something under this key, in no particular order."""
        return [number for number, row in self._rows.items() if key in row]

    def get(self, number: int) -> dict[str, Any] | None:
        """Return all fields of a record by their names in the rows, `None` when there is no such record."""
        row = self._rows.get(number)
        if row is None:
            return None
        return {field.name: row.get(field.name, field.default) for field in self.fields}

    def rows(self) -> list[dict[str, Any]]:
        """Return all fields of all records, in the order of their numbers."""
        return [
            {field.name: row.get(field.name, field.default) for field in self.fields}
            for row in map(self.row, self)
        ]

    def add(self, values: Mapping[str, Any], number: int | None = None) -> int:
        """Store a record and return its number.

        :param values: by names in the rows; they are kept as they are.
        :param number: its number, the next one by default.
        :raises ValueError: when there is a record with this number.
        """
        chosen = self._last + 1 if number is None else number
        if chosen in self._rows or chosen < 1:
            raise ValueError(f"There can be no new {self.schema.kind} with number {chosen}")
        self._rows[chosen] = {"ID": chosen, **values}
        if chosen > self._last:
            self._ids.append(chosen)
            self._last = chosen
        else:
            bisect.insort(self._ids, chosen)
        self._index(chosen, self._indexes)
        self._changed()
        return chosen

    def update(self, number: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """Change some fields of a record and return what those were that are another now.

        :raises KeyError: when there is none.
        """
        row = self._rows[number]
        before = {name: row.get(name, self._default(name)) for name in values}
        indexed = [name for name in self._indexes if name in values]
        self._index(number, indexed, forget=True)
        row.update(values)
        self._index(number, indexed)
        self._changed()
        return {name: value for name, value in before.items() if value != values[name]}

    def delete(self, number: int) -> None:
        """Forget a record; its number is not given again.

        :raises KeyError: when there is none.
        """
        self._index(number, self._indexes, forget=True)
        del self._rows[number]
        self._ids.pop(bisect.bisect_left(self._ids, number))
        self._changed()

    def clear(self) -> None:
        """Forget all records; their numbers are not given again."""
        self._rows.clear()
        self._ids.clear()
        self._indexes.clear()
        self._changed()

    def page(
        self,
        family: Family,
        *,
        filter_by: object = None,
        order: object = None,
        start: int = 0,
        default_order: Mapping[str, str] | None = None,
        fields: FieldNamed | None = None,
    ) -> tuple[list[Mapping[str, Any]], int | None, int | None]:
        """Return the rows of one page, how many there are in all, and where the next page starts.

        :param start: offset of the page; -1 means the first page without counting.
        :param fields: what filter and order may name, all fields by default.
        :raises RestError: for a filter or an order that the family of methods does not have.
        """
        named = fields or self.field_named
        conditions = read_filter(filter_by, family, named)
        sorting = read_order(order, family, named) or read_order(default_order, family, self.field_named)
        span, tests = self._candidates(conditions)
        by_number = len(sorting) == 1 and sorting[0].field.name == "ID"
        if by_number or not sorting:
            if by_number and sorting[0].descending:
                span = span[::-1]
            if not tests:
                return self._cut(span, start)
            if start < 0:
                return self._first(span, tests), None, None
        key = repr((family.code, filter_by, order, default_order))
        found = self._found.get(key)
        if found is None:
            found = self._select(span, tests, sorting)
            self._found[key] = found
            if len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        return self._cut(found, start)

    def all(self, family: Family, *, filter_by: object = None, order: object = None) -> Sequence[int]:
        """Return the numbers of all records that pass a filter, in order.

        :raises RestError: for a filter or an order that the family of methods does not have.
        """
        span, tests = self._candidates(read_filter(filter_by, family, self.field_named))
        return self._select(span, tests, read_order(order, family, self.field_named))

    def _changed(self) -> None:
        self.changes += 1
        self._found.clear()
        self._texts.clear()

    def _candidates(self, conditions: Iterable[Condition]) -> tuple[Sequence[int], list[Test]]:
        """Return the numbers that conditions on numbers and equality leave, and what else is to be tested."""
        low, high = 0, len(self._ids)
        only: list[int] | None = None
        tests = []
        for condition in conditions:
            numbers = [wanted for wanted in condition.wanted if isinstance(wanted, float)]
            by_number = condition.field == "ID" and len(numbers) == len(condition.wanted)
            if condition.sign in ("", "=", "@") and (by_number or self._can_be_indexed(condition.field)):
                found = (
                    sorted({int(number) for number in numbers if number in self._rows})
                    if by_number
                    else self._equal(condition.field, condition.wanted)
                )
                only = found if only is None else sorted(set(only).intersection(found))
            elif self._can_be_searched(condition):
                found = self._having(condition.field, str(condition.wanted[0]))
                only = found if only is None else sorted(set(only).intersection(found))
            elif by_number and condition.sign in (">", ">=") and len(numbers) == 1:
                cut = bisect.bisect_right if condition.sign == ">" else bisect.bisect_left
                low = max(low, cut(self._ids, numbers[0]))
            elif by_number and condition.sign in ("<", "<=") and len(numbers) == 1:
                cut = bisect.bisect_left if condition.sign == "<" else bisect.bisect_right
                high = min(high, cut(self._ids, numbers[0]))
            else:
                tests.append(condition.test)
        if only is None:
            return _Span(self._ids, range(low, max(low, high))), tests
        if low >= high:
            return [], tests
        first, last = self._ids[low], self._ids[high - 1]
        return only[bisect.bisect_left(only, first) : bisect.bisect_right(only, last)], tests

    def _can_be_indexed(self, name: str) -> bool:
        return bool(name) and not self._field(name).type.multiple and self._field(name).type.name != "any"

    def _can_be_searched(self, condition: Condition) -> bool:
        if condition.sign != "%" or len(condition.wanted) != 1 or not condition.field:
            return False
        part, of_type = str(condition.wanted[0]), self._field(condition.field).type
        # What nobody has declared may hold a list.
        return bool(part) and "\0" not in part and not of_type.multiple and of_type.name != "any"

    def _having(self, name: str, part: str) -> list[int]:
        """Return the numbers of the records whose field has this part."""
        if name not in self._texts:
            default = self._field(name).default
            values = (as_text(row.get(name, default)) for row in map(self.row, self._ids))
            self._texts[name] = Texts(self._ids, values)
        return self._texts[name].having(part)

    def _field(self, name: str) -> Field:
        return self.schema.fields.get(name) or self.own_fields[name]

    def _default(self, name: str) -> Any:
        field = self.schema.fields.get(name) or self.own_fields.get(name)
        return None if field is None else field.default

    def _equal(self, name: str, wanted: Iterable[Value]) -> list[int]:
        """Return the numbers of the records whose field is one of these."""
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = {}
            for number in self._ids:
                index.setdefault(self._key(name, self._rows[number]), []).append(number)
        buckets = [index.get(key, []) for key in dict.fromkeys(wanted)]
        return buckets[0] if len(buckets) == 1 else sorted(number for bucket in buckets for number in bucket)

    def _key(self, name: str, row: Mapping[str, Any]) -> Value:
        field = self._field(name)
        return field.type.key(row.get(name, field.default))

    def _index(self, number: int, names: Iterable[str], *, forget: bool = False) -> None:
        """Enter a record into the indexes of these fields, or take it out."""
        row = self._rows[number]
        for name in names:
            bucket = self._indexes[name].setdefault(self._key(name, row), [])
            if forget:
                bucket.pop(bisect.bisect_left(bucket, number))
            else:
                bisect.insort(bucket, number)

    def _first(self, span: Iterable[int], tests: Sequence[Test]) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        for number in span:
            row = self._rows[number]
            if all(test(row) for test in tests):
                rows.append(row)
                if len(rows) == PAGE:
                    break
        return rows

    def _select(
        self, span: Iterable[int], tests: Sequence[Test], sorting: Sequence[Sorting]
    ) -> Sequence[int]:
        rows = self._rows
        found = list(span)
        for test in tests:
            found = [number for number in found if test(rows[number])]
        for by in reversed(sorting):
            if by.field.name != "ID" or len(sorting) > 1 or by.descending:
                found.sort(key=lambda number, key=by.key: key(rows[number]), reverse=by.descending)  # type: ignore[misc]
        return found

    def _cut(
        self, numbers: Sequence[int], start: int
    ) -> tuple[list[Mapping[str, Any]], int | None, int | None]:
        first = max(start, 0)
        rows: list[Mapping[str, Any]] = [self._rows[number] for number in numbers[first : first + PAGE]]
        if start < 0:
            return rows, None, None
        more = first + PAGE
        return rows, len(numbers), more if more < len(numbers) else None


class _Span(Sequence[int]):
    """A part of the numbers, up or down, without a copy of them."""

    def __init__(self, ids: list[int], positions: range) -> None:
        self._ids = ids
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: Any) -> Any:
        chosen = self._positions[index]
        return _Span(self._ids, chosen) if isinstance(index, slice) else self._ids[chosen]

    def __iter__(self) -> Iterator[int]:
        return map(self._ids.__getitem__, self._positions)


def columns(**types: str) -> FieldNamed:
    """Return the fields of a list that is no table: name and type, `any` for whatever it is.

    Their names are not case-sensitive.
    """
    fields = {name: Field(name, FieldType(kind) if kind != "any" else ANY) for name, kind in types.items()}
    return lambda name: fields.get(name.upper())


def find(
    rows: Iterable[Mapping[str, Any]], filter_by: object, order: object, family: Family, fields: FieldNamed
) -> list[Mapping[str, Any]]:
    """Return the rows that pass the filter, in order.

    :raises RestError: for a filter or an order that the family of methods does not have.
    """
    tests = [condition.test for condition in read_filter(filter_by, family, fields)]
    found = [row for row in rows if all(test(row) for test in tests)]
    for by in reversed(read_order(order, family, fields)):
        found.sort(key=by.key, reverse=by.descending)
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
