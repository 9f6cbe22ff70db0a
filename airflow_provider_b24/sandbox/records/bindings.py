"""Which contacts or companies a record is bound to: their order, and which of them is the primary one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_STEP = 10


class Binding(NamedTuple):
    """One contact or company that a record is bound to."""

    number: int
    sort: int
    primary: bool


class Relation(NamedTuple):
    """What the records of one kind are bound to.

    :param to: the kind on the other side, `contact` or `company`.
    :param many: the field with the numbers of all.
    :param one: the field with the number of the primary one, empty where there is none.
    :param mutual: whether the other side has a field for it, too.
    """

    to: str
    many: str
    one: str = ""
    mutual: bool = False

    @property
    def key(self) -> str:
        """Where rows have the bindings, beside their fields."""
        return f"{self.to.upper()}_BINDINGS"


_TO_CONTACTS = Relation("contact", "CONTACT_IDS", "CONTACT_ID")
_RELATIONS = {
    "lead": _TO_CONTACTS,
    "deal": _TO_CONTACTS,
    "contact": Relation("company", "COMPANY_IDS", "COMPANY_ID", mutual=True),
    "company": Relation("contact", "CONTACT_ID", mutual=True),
}


def relation_of(kind: str) -> Relation | None:
    """Return what records of a kind are bound to, `None` for those that are bound to nothing."""
    return _TO_CONTACTS if kind.startswith("item:") else _RELATIONS.get(kind)


def bindings_of(relation: Relation, row: Mapping[str, Any] | None) -> tuple[Binding, ...]:
    """Return the bindings of a record, in their order."""
    return tuple((row or {}).get(relation.key) or ())


def in_order(bindings: Iterable[Binding]) -> tuple[Binding, ...]:
    """Return bindings by their sort index, each once, exactly one of them the primary one: else the first given."""
    each: dict[int, Binding] = {}
    for binding in bindings:
        each.setdefault(binding.number, binding)
    given = list(each.values())
    first = next((binding for binding in given if binding.primary), given[0] if given else None)
    marked = (binding._replace(primary=binding is first) for binding in given)
    return tuple(sorted(marked, key=lambda binding: binding.sort))


def added(
    bindings: tuple[Binding, ...], number: int, sort: int | None = None, *, primary: bool = False
) -> tuple[Binding, ...]:
    """Return bindings with one more, at the end unless `sort` says otherwise.

    :param bindings: in their order, without this one.
    """
    if bindings and sort is None and not primary:
        # A company may have thousands of contacts: their order is not made anew for one more.
        return (*bindings, Binding(number, bindings[-1].sort + _STEP, primary=False))
    new = Binding(number, next_sort(bindings) if sort is None else sort, primary)
    return in_order([new, *bindings] if primary else [*bindings, new])


def without(bindings: tuple[Binding, ...], number: int) -> tuple[Binding, ...]:
    """Return bindings without one; if it was the primary one, the first of the others is."""
    return in_order(binding for binding in bindings if binding.number != number)


def next_sort(bindings: Iterable[Binding]) -> int:
    """Return the sort index of what comes after these."""
    return max((binding.sort for binding in bindings), default=0) + _STEP


def values_of(relation: Relation, bindings: tuple[Binding, ...], nobody: Any) -> dict[str, Any]:
    """Return bindings as a row has them.

    :param nobody: what the field of the primary one has when there is none.
    """
    values: dict[str, Any] = {
        relation.many: [binding.number for binding in bindings],
        relation.key: list(bindings),
    }
    if relation.one:
        values[relation.one] = next((b.number for b in bindings if b.primary), nobody)
    return values


def read_bindings(
    relation: Relation, values: Mapping[str, Any], before: Mapping[str, Any] | None
) -> tuple[Binding, ...] | None:
    """Return the bindings that follow from fields that someone writes, `None` if these say nothing of them.

    :param values: the fields, ready for the row.
    :param before: the row as it is, if there is one.
    """
    old = bindings_of(relation, before)
    one = values.get(relation.one) if relation.one else None
    if relation.many in values:
        chosen = one or next((binding.number for binding in old if binding.primary), None)
        return in_order(
            Binding(number, index * _STEP, number == chosen)
            for index, number in enumerate(values[relation.many], 1)
            if number
        )
    if not relation.one or relation.one not in values:
        return None
    if not one:
        return ()
    if any(binding.number == one for binding in old):
        return tuple(binding._replace(primary=binding.number == one) for binding in old)
    # As with portals: who writes the one field of older days means this one and no other.
    return (Binding(one, _STEP, primary=True),)
