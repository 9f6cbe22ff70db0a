"""Bindings in the rows of both sides: a contact's companies are the companies that have this contact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.records.bindings import (
    Binding,
    added,
    bindings_of,
    relation_of,
    values_of,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_b24.sandbox.records.table import Table


def bound(table: Table, bindings: tuple[Binding, ...]) -> dict[str, Any]:
    """Return bindings as the rows of a table have them.

    :raises ValueError: when its records are bound to nothing.
    """
    relation = relation_of(table.schema.kind)
    if relation is None:
        raise ValueError(f"Records of kind {table.schema.kind} are bound to nothing")
    one = table.schema.fields.get(relation.one)
    return values_of(relation, bindings, one.default if one else None)


def answer(tables: Mapping[str, Table], table: Table, number: int, before: tuple[Binding, ...]) -> None:
    """Bring the other side into line with the bindings of a record.

    :param before: what the record was bound to.
    """
    relation = relation_of(table.schema.kind)
    back = relation_of(relation.to) if relation else None
    if relation is None or back is None or not relation.mutual:
        return
    other = tables[relation.to]
    was = {binding.number for binding in before}
    now = {binding.number for binding in bindings_of(relation, table.row(number))}
    for there in was ^ now:
        if there in other:
            theirs = bindings_of(back, other.row(there))
            if any(binding.number == number for binding in theirs) is not (there in now):
                change = added if there in now else without
                other.update(there, bound(other, change(theirs, number)))


def unbind(tables: Mapping[str, Table], kind: str, number: int) -> None:
    """Let no record be bound to one that is gone."""
    for owner, table in tables.items():
        relation = relation_of(owner)
        if relation is None or relation.to != kind:
            continue
        for there in table.holding(relation.key):
            bindings = bindings_of(relation, table.row(there))
            if any(binding.number == number for binding in bindings):
                table.update(there, bound(table, without(bindings, number)))
