"""The one store behind all methods that read or write records, and behind the documents of processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.records import products
from airflow_provider_b24.sandbox.records.belongings import delete_belongings
from airflow_provider_b24.sandbox.records.bindings import (
    Binding,
    added,
    bindings_of,
    read_bindings,
    relation_of,
    values_of,
    without,
)
from airflow_provider_b24.sandbox.records.directories import directories, semantics, stages_of
from airflow_provider_b24.sandbox.records.schemas import schema_of
from airflow_provider_b24.sandbox.records.table import Table
from airflow_provider_b24.sandbox.timing import iso_date

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.clock import Clock
    from airflow_provider_b24.sandbox.records.fields import Field

Verb = Literal["add", "update", "delete"]

_NEVER_MISSING = (
    "lead",
    "deal",
    "contact",
    "company",
    "task",
    "user",
    "department",
    "notification",
    "productrow",
    "payment",
    "paymentproduct",
    "paymentdelivery",
    "delivery",
    "recurring",
    "card",
    "status",
    "userfield",
)
_LASTING = frozenset({"user", "department", "status", "userfield", "card"})
_BY_TYPE = {1: "lead", 2: "deal", 3: "contact", 4: "company"}
_DOCUMENT = re.compile(r"(LEAD|DEAL|CONTACT|COMPANY|SMART_INVOICE|DYNAMIC_[1-9][0-9]{0,9})_([1-9][0-9]{0,9})")
_NO_SMART_PROCESS = frozenset(f"DYNAMIC_{number}" for number in _BY_TYPE)
_CONTACT_FIELDS = {"PHONE": "HAS_PHONE", "EMAIL": "HAS_EMAIL", "WEB": "", "IM": "", "LINK": ""}


@dataclass(frozen=True, slots=True)
class Change:
    """What has happened to a record.

    :param stage: where it stands, empty for records that stand nowhere.
    :param moved: whether it has come there just now: created there, or moved.
    """

    kind: str
    number: int
    verb: Verb
    stage: str
    moved: bool
    user_id: int


class Store:
    """All records of a portal.

    :param clock: what creation and change are dated by.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tables = {kind: Table(schema_of(kind)) for kind in _NEVER_MISSING}
        self._contacts = 0
        self.seed("status", directories())
        #: Called after every change that a caller or a process makes; not after records are seeded.
        self.listeners: list[Callable[[Change], None]] = []

    def table(self, kind: str) -> Table:
        """Return the records of one kind; smart processes come into being when they are asked for here.

        :raises ValueError: when there is no such kind.
        """
        if kind not in self._tables:
            self._tables[kind] = Table(schema_of(kind))
            if kind.startswith("item:"):
                self.seed("status", stages_of(int(kind.removeprefix("item:"))))
        return self._tables[kind]

    def staged(self) -> list[str]:
        """Return the kinds of records that move from stage to stage."""
        return [kind for kind, table in self._tables.items() if table.schema.stage]

    def forget(self) -> None:
        """Forget all records but people, directories, and the fields and cards that users have made."""
        for kind, table in self._tables.items():
            if kind not in _LASTING:
                table.clear()

    def of_type(self, entity_type_id: int) -> Table | None:
        """Return the records of a CRM type, `None` for a smart process that the portal does not have."""
        return self._tables.get(_BY_TYPE.get(entity_type_id, f"item:{entity_type_id}"))

    def kinds(self) -> list[str]:
        """Return the kinds of records there are."""
        return list(self._tables)

    def seed(self, kind: str, records: int | Iterable[Mapping[str, Any]]) -> list[int]:
        """Store records without telling anyone; return their numbers.

        :param records: the records, or how many to make up. What is no field of the kind becomes one.
        :raises ValueError: for a value that does not fit, or a number that is taken.
        """
        table = self.table(kind)
        if isinstance(records, int):
            name = "TITLE" if "TITLE" in table.schema.fields else "NAME"
            first = table.next_number
            records = [{name: f"{kind} {first + index}"} for index in range(records)]
        now = iso_date(self._clock.now())
        times = dict.fromkeys(table.schema.created, now)
        numbers = []
        for record in records:
            try:
                values = self._read(table, record, everything=True)
            except RestError as error:
                raise ValueError(error.description) from None
            number = values.pop("ID", None)
            chosen = table.next_number if number is None else number
            numbers.append(table.add({**times, **_titled(table, chosen), **values}, chosen))
            self._answer_bindings(table, chosen, ())
        if kind == products.KIND:
            for owner in {(row.get("OWNER_TYPE"), row.get("OWNER_ID")) for row in map(table.row, numbers)}:
                self._sum_up(*owner)
        return numbers

    def create(
        self, kind: str, given: Mapping[str, Any], user_id: int, *, strict: bool = False, number: int = 0
    ) -> int:
        """Store a record for a caller and return its number.

        :param strict: refuse values that do not fit; else they count as nothing, as the older methods have it.
        :raises RestError: for such a value.
        """
        table = self.table(kind)
        values = self._read(table, given, strict=strict)
        schema = table.schema
        chosen = number or table.next_number
        values = {
            **dict.fromkeys(schema.created, iso_date(self._clock.now())),
            **_titled(table, chosen),
            **_users(table, user_id, new=True),
            **values,
        }
        table.add(values, chosen)
        self._answer_bindings(table, chosen, ())
        self._tell(table, chosen, "add", user_id, moved=bool(schema.stage))
        return chosen

    def check(self, kind: str, given: Mapping[str, Any]) -> None:
        """Write nothing, and refuse values that do not fit.

        :raises RestError: for such a value.
        """
        self._read(self.table(kind), given, strict=True)

    def change(
        self, kind: str, number: int, given: Mapping[str, Any], user_id: int, *, strict: bool = False
    ) -> None:
        """Change a record for a caller.

        :raises KeyError: when there is no such record.
        :raises RestError: for a value that does not fit, if `strict`.
        """
        table = self.table(kind)
        before = table.row(number)
        values = self._read(table, given, strict=strict, before=before)
        self._write(table, number, values, user_id)

    def put(self, kind: str, number: int, given: Mapping[str, Any]) -> None:
        """Set fields of a record without telling anyone; make the record if there is none.

        :raises ValueError: for a value that does not fit.
        """
        table = self.table(kind)
        if number not in table:
            self.seed(kind, [{**given, "ID": number}])
        elif given:
            try:
                values = self._read(table, given, everything=True, before=table.row(number))
            except RestError as error:
                raise ValueError(error.description) from None
            values.pop("ID", None)
            self._update(table, number, values)

    def value(self, kind: str, number: int, name: str) -> Any:
        """Return one field of a record, `None` where there is no such field.

        :raises KeyError: when there is no such record.
        """
        table = self.table(kind)
        field = table.field_named(name)
        return None if field is None else table.row(number).get(field.name, field.default)

    def set_field(self, kind: str, number: int, name: str, value: Any, user_id: int) -> None:
        """Change one field for a process, which may make fields.

        :raises KeyError: when there is no such record.
        """
        table = self.table(kind)
        values = self._read(table, {name: value}, everything=True, before=table.row(number))
        values.pop("ID", None)
        self._write(table, number, values, user_id)

    def bind(self, kind: str, number: int, bindings: tuple[Binding, ...], user_id: int) -> None:
        """Bind a record to these contacts or companies for a caller.

        :raises KeyError: when there is no such record.
        :raises ValueError: when records of this kind are bound to nothing.
        """
        table = self.table(kind)
        self._write(table, number, _bound(table, bindings), user_id)

    def sum_up(self, kind: str, number: int, user_id: int) -> None:
        """Change a record for a caller who has changed its products; its sum is theirs unless it was set by hand.

        :raises KeyError: when there is no such record.
        """
        table = self.table(kind)
        by_hand = self.value(kind, number, "IS_MANUAL_OPPORTUNITY") == "Y"
        self._write(table, number, {} if by_hand else self._totals(table, number), user_id)

    def remove(self, kind: str, number: int, user_id: int) -> None:
        """Delete a record for a caller.

        :raises KeyError: when there is no such record.
        """
        table = self.table(kind)
        stage = _stage(table, number)
        table.delete(number)
        self._unbind(kind, number)
        delete_belongings(self._tables, kind, number)
        for listener in self.listeners:
            listener(Change(kind, number, "delete", stage, moved=False, user_id=user_id))

    def document(self, document_id: tuple[str, str, str]) -> tuple[str, int] | None:
        """Return kind and number of a process's document, `None` for what is no record of the CRM."""
        match = _DOCUMENT.fullmatch(document_id[2]) if document_id[0] == "crm" else None
        if match is None or match[1] in _NO_SMART_PROCESS:
            return None
        name = match[1].lower().replace("dynamic_", "item:")
        return ("item:31" if name == "smart_invoice" else name), int(match[2])

    def _write(self, table: Table, number: int, values: dict[str, Any], user_id: int) -> None:
        schema = table.schema
        now = iso_date(self._clock.now())
        before = _stage(table, number)
        values = {**_users(table, user_id, new=False), **values}
        if len(schema.created) > 1:
            values[schema.created[1]] = now
        if {"OPPORTUNITY", "IS_MANUAL_OPPORTUNITY"} & values.keys() and self._has_products(table, number):
            by_hand = values.get("IS_MANUAL_OPPORTUNITY", table.row(number).get("IS_MANUAL_OPPORTUNITY"))
            values |= {} if by_hand == "Y" else self._totals(table, number)
        moved = bool(schema.stage) and values.get(schema.stage, before) != before
        if moved:
            moves = {
                "MOVED_TIME": now,
                "MOVED_BY_ID": user_id,
                "MOVED_BY": user_id,
                "PREVIOUS_STAGE_ID": before,
            }
            values |= {name: value for name, value in moves.items() if name in schema.fields}
        self._update(table, number, values)
        self._tell(table, number, "update", user_id, moved=moved)

    def _has_products(self, table: Table, number: int) -> bool:
        return bool(products.rows_of(self._tables[products.KIND], table.schema.kind, number))

    def _totals(self, table: Table, number: int) -> dict[str, float]:
        told = products.totals(self._tables[products.KIND], table.schema.kind, number)
        return {name: value for name, value in told.items() if name in table.schema.fields}

    def _sum_up(self, code: object, number: object) -> None:
        """Set the sum of a record whose products were seeded."""
        table = self._tables.get(products.owner_kind(str(code)) or "")
        if (
            table is not None
            and isinstance(number, int)
            and number in table
            and table.row(number).get("IS_MANUAL_OPPORTUNITY") != "Y"
        ):
            table.update(number, self._totals(table, number))

    def _update(self, table: Table, number: int, values: Mapping[str, Any]) -> None:
        relation = relation_of(table.schema.kind)
        before = bindings_of(relation, table.row(number)) if relation else ()
        table.update(number, values)
        self._answer_bindings(table, number, before)

    def _answer_bindings(self, table: Table, number: int, before: tuple[Binding, ...]) -> None:
        """Bring the other side's fields into line with the bindings of a record.

        :param before: what it was bound to.
        """
        relation = relation_of(table.schema.kind)
        if relation is None or not relation.mutual:
            return
        other = self._tables[relation.to]
        was = {binding.number for binding in before}
        now = {binding.number for binding in bindings_of(relation, table.row(number))}
        back = relation_of(relation.to)
        for there in was ^ now:
            if back is not None and there in other:
                theirs = bindings_of(back, other.row(there))
                if any(binding.number == number for binding in theirs) is not (there in now):
                    change = added if there in now else without
                    other.update(there, _bound(other, change(theirs, number)))

    def _unbind(self, kind: str, number: int) -> None:
        """Let no record be bound to one that is gone."""
        for owner, table in self._tables.items():
            relation = relation_of(owner)
            if relation is None or relation.to != kind:
                continue
            for there in table.holding(relation.key):
                bindings = bindings_of(relation, table.row(there))
                if any(binding.number == number for binding in bindings):
                    table.update(there, _bound(table, without(bindings, number)))

    def _tell(self, table: Table, number: int, verb: Verb, user_id: int, *, moved: bool) -> None:
        change = Change(table.schema.kind, number, verb, _stage(table, number), moved=moved, user_id=user_id)
        for listener in self.listeners:
            listener(change)

    def _read(
        self,
        table: Table,
        given: Mapping[str, Any],
        *,
        strict: bool = False,
        everything: bool = False,
        before: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Read what someone wants to write, as rows hold it.

        :param everything: whether read-only fields may be written, and unknown ones be made.
        :param before: the row as it is, if there is one.
        """
        values: dict[str, Any] = {}
        for name, value in given.items():
            field = table.field_named(name)
            if field is None:
                if name == "fm" and "PHONE" in table.schema.fields:
                    for kind, entries in _by_kind(value).items():
                        values |= self._contact_values(kind, entries, before)
                    continue
                if not everything and not name.upper().startswith("UF"):
                    # As portals do: what they do not know, they ignore.
                    continue
                field = table.declare(name)
            if not everything and (field.read_only or (field.immutable and before is not None)):
                continue
            if field.type.name == "crm_multifield":
                values |= self._contact_values(field.name, value, before)
            else:
                values[field.name] = _fitting(field, value, strict=strict or everything)
        if table.schema.kind == products.KIND:
            values |= products.completed(values, before)
        relation = relation_of(table.schema.kind)
        bindings = read_bindings(relation, values, before) if relation else None
        if bindings is not None:
            values |= _bound(table, bindings)
        return values | _derived(table, values)

    def _contact_values(self, kind: str, given: object, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return a field of phone numbers, addresses and so on, and whether there are any."""
        kept = {str(entry["ID"]): entry for entry in (before or {}).get(kind) or ()}
        entries = given.values() if isinstance(given, Mapping) else given if isinstance(given, list) else ()
        for entry in entries:
            if not isinstance(entry, Mapping):
                continue
            said = {str(name).upper().replace("_", ""): value for name, value in entry.items()}
            number = str(said.get("ID") or "")
            if said.get("DELETE") == "Y" or (number in kept and said.get("VALUE") == ""):
                kept.pop(number, None)
                continue
            if number not in kept:
                if not said.get("VALUE"):
                    continue
                self._contacts += 1
                number = str(self._contacts)
            old = kept.get(number, {})
            kept[number] = {
                "ID": number,
                "VALUE_TYPE": str(said.get("VALUETYPE") or old.get("VALUE_TYPE") or "WORK"),
                "VALUE": str(said.get("VALUE") or old.get("VALUE") or ""),
                "TYPE_ID": kind,
            }
        values: dict[str, Any] = {kind: list(kept.values())}
        if _CONTACT_FIELDS[kind]:
            values[_CONTACT_FIELDS[kind]] = "Y" if kept else "N"
        return values


def _fitting(field: Field, value: object, *, strict: bool) -> Any:
    try:
        return field.type.store(value)
    except TypeError as problem:
        if strict:
            text = f"Expected iterable value for multiple field, but got {problem} instead"
            raise RestError(400, "100", text) from None
    except ValueError:
        if strict:
            text = f'Invalid value for field "{field.item_name}"'
            raise RestError(400, "CRM_FIELD_ERROR_VALUE_NOT_VALID", text) from None
    return [] if field.type.multiple else field.default


def _bound(table: Table, bindings: tuple[Binding, ...]) -> dict[str, Any]:
    """Return bindings as the rows of a table have them."""
    relation = relation_of(table.schema.kind)
    if relation is None:
        raise ValueError(f"Records of kind {table.schema.kind} are bound to nothing")
    one = table.schema.fields.get(relation.one)
    return values_of(relation, bindings, one.default if one else None)


def _by_kind(given: object) -> dict[str, list[Any]]:
    entries = given.values() if isinstance(given, Mapping) else given if isinstance(given, list) else ()
    found: dict[str, list[Any]] = {}
    for entry in entries:
        kind = str(entry.get("typeId") or entry.get("TYPE_ID")) if isinstance(entry, Mapping) else ""
        if kind in _CONTACT_FIELDS:
            found.setdefault(kind, []).append(entry)
    return found


def _derived(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    schema = table.schema
    stage = values.get(schema.stage) if schema.stage else None
    if not stage:
        return {}
    meaning = semantics(str(stage))
    told = {"STATUS_SEMANTIC_ID": meaning, "STAGE_SEMANTIC_ID": meaning, "CLOSED": "NY"[meaning != "P"]}
    return {name: value for name, value in told.items() if name in schema.fields}


def _users(table: Table, user_id: int, *, new: bool) -> dict[str, Any]:
    """Return who has made or changed a record, where that is not the default."""
    names = ["MODIFY_BY_ID", "UPDATED_BY", "LAST_ACTIVITY_BY", "CHANGED_BY"]
    if new:
        names += [
            "CREATED_BY_ID",
            "CREATED_BY",
            "MOVED_BY_ID",
            "MOVED_BY",
            "ASSIGNED_BY_ID",
            "RESPONSIBLE_ID",
        ]
    fields = table.schema.fields
    return {
        name: user_id for name in names if name in fields and (not new or fields[name].default != user_id)
    }


def _titled(table: Table, number: int) -> dict[str, Any]:
    return {"TITLE": f"{table.schema.title}{number}"} if table.schema.title else {}


def _stage(table: Table, number: int) -> str:
    stage = table.schema.stage
    if not stage:
        return ""
    return str(table.row(number).get(stage, table.schema.fields[stage].default) or "")
