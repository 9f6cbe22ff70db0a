"""What the specifications have, and the portal does not need to: each with the reason. The facts leave it out."""

from __future__ import annotations

from typing import NamedTuple


class Accident(NamedTuple):
    """A parameter, or a field of an answer, that is not counted.

    :param methods: whose it is.
    :param name: of the parameter, or the path of the field.
    :param reason: why it is none of the portal's business.
    """

    methods: tuple[str, ...]
    name: str
    reason: str


ACCIDENTS = (
    Accident(
        ("crm.item.import", "crm.item.batchImport"),
        "useOriginalUfNames",
        "Fields of one's own are taken by either name, and the answer has none of them.",
    ),
    Accident(
        ("tasks.task.list",),
        "tasks[].lengthDeadline",
        "It stands in one example; no page says what it is, nor how it is asked for.",
    ),
)


def counts(method: str, name: str) -> bool:
    """Return whether a parameter or a field of a method is counted."""
    return not any(method in accident.methods and name == accident.name for accident in ACCIDENTS)
