"""What is known about REST methods: the one table that repeating, reading lists, errors and limits ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal


class Effect(Enum):
    """What it does to call a method twice."""

    READS = "reads"
    """Nothing: it changes nothing."""
    SETS = "sets"
    """The same as once."""
    ENDS = "ends"
    """The same as once, but the second call may be told that there is nothing left to end."""
    CREATES = "creates"
    """Two of something. Methods that nobody knows are taken for such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFacts:
    """What is known about a method, or about a group of them.

    :param effect: what it does to call it twice; ``None`` goes by the last word of its name.
    :param takes_event_token: whether it speaks to a process that waits; its refusals are about that process.
    :param id_field: by which name a list method filters and orders by id.
    :param read_by: ``id``: pages chained by their last id, which needs ``order`` and ``>ID`` in ``filter``; ``offset``:
        pages by ``start``. A list method that turns out not to order and filter by id is read by offset, too.
    :param order: the ``order`` that keeps pages by offset apart, where the method has no stable order by itself.
    :param reports_operating: whether the operating time that it reports is its own.
    """

    effect: Effect | None = None
    takes_event_token: bool = False
    id_field: str = "ID"
    read_by: Literal["id", "offset"] = "id"
    order: Mapping[str, str] = field(default_factory=dict)
    reports_operating: bool = True

    def effect_if(self, repeatable: bool | None) -> Effect:
        """Tell what it does to make a call twice.

        :param repeatable: what the caller says about the call, ``None`` for nothing.
        """
        effect = self.effect or Effect.CREATES
        if repeatable is None or repeatable is (effect is not Effect.CREATES):
            return effect
        return Effect.SETS if repeatable else Effect.CREATES


_READ = MethodFacts(effect=Effect.READS)
_BY_SMALL_ID = MethodFacts(id_field="id")
_BY_OFFSET = MethodFacts(read_by="offset")
_BY_OFFSET_AND_ID = MethodFacts(read_by="offset", order={"ID": "ASC"})

METHODS: Mapping[str, MethodFacts] = {
    # Their names do not say what they do.
    "profile": _READ,
    "scope": _READ,
    "methods": _READ,
    "events": _READ,
    "user.admin": _READ,
    # `get` by its name, but each call hands out the next portion.
    "event.offline.get": MethodFacts(effect=Effect.CREATES, read_by="offset"),
    # What is billed for a batch, to whom, and what its numbers mean is told in three ways.
    "batch": MethodFacts(effect=Effect.CREATES, reports_operating=False),
    # A step takes one answer: the next is ignored, or refused because nobody waits.
    "bizproc.event.send": MethodFacts(effect=Effect.ENDS, takes_event_token=True),
    "bizproc.activity.log": MethodFacts(effect=Effect.CREATES, takes_event_token=True),
    # A second time they are refused, or say the same.
    "bizproc.task.complete": MethodFacts(effect=Effect.SETS),
    "bizproc.task.delegate": MethodFacts(effect=Effect.SETS),
    # Lists
    "bizproc.": _BY_OFFSET,
    "bizproc.workflow.instances": _BY_OFFSET_AND_ID,
    "bizproc.workflow.template.list": _BY_OFFSET_AND_ID,
    "bizproc.task.list": _BY_OFFSET_AND_ID,
    "catalog.product.list": _BY_SMALL_ID,
    "catalog.section.list": _BY_SMALL_ID,
    "crm.automatedsolution.list": _BY_SMALL_ID,
    "crm.category.list": _BY_SMALL_ID,
    "crm.item.list": _BY_SMALL_ID,
    "crm.type.list": _BY_SMALL_ID,
    "humanresources.": _BY_OFFSET,
    "mail.": _BY_OFFSET,
    "department.get": _BY_OFFSET,
    "event.": _BY_OFFSET,
    "placement.": _BY_OFFSET,
    "sale.basketitem.list": _BY_SMALL_ID,
    "sale.order.list": _BY_SMALL_ID,
    "task.elapseditem.": _BY_OFFSET,
    "user.get": _BY_OFFSET,
    "user.search": _BY_OFFSET,
}
"""Methods, and groups of them (their names end in a dot), that are not what their last word says."""

_EFFECTS = dict.fromkeys(
    (
        "list", "getlist", "get", "gettypes", "types", "fields", "getfields", "getfieldslist", "search", "count",
        "instances", "current", "info", "time", "history", "counters", "getavailable", "tail",
    ),
    Effect.READS,
) | dict.fromkeys(("update", "set", "bind", "clear"), Effect.SETS) | dict.fromkeys(
    ("delete", "terminate", "kill", "unbind"), Effect.ENDS
)  # fmt: skip


def facts_of(method: str, more: Mapping[str, MethodFacts] | None = None) -> MethodFacts:
    """Look a method up.

    :param method: its name, in any case.
    :param more: what a caller knows, in front of :data:`METHODS` and like it.
    :return: its facts, the effect decided.
    """
    name = method.lower()
    group = name
    facts = None
    while facts is None and group:
        facts = (more or {}).get(group) or METHODS.get(group)
        group = group[: group.rstrip(".").rfind(".") + 1]
    facts = facts or MethodFacts()
    if facts.effect is not None:
        return facts
    return replace(facts, effect=_EFFECTS.get(name.rpartition(".")[2], Effect.CREATES))
