"""The part of the session that is about what belongs to records of the CRM: contacts, products, cards, payments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import SandboxPortal

Calls = Iterator[tuple[str, dict[str, Any]]]


def calls(portal: SandboxPortal) -> Calls:
    """Return the calls: method and parameters."""
    yield from _bindings(portal)


def _bindings(portal: SandboxPortal) -> Calls:
    for kind, other in (
        ("lead", "CONTACT"),
        ("deal", "CONTACT"),
        ("company", "CONTACT"),
        ("contact", "COMPANY"),
    ):
        number = portal.add_records(kind, 1)[0]
        methods, where = f"crm.{kind}.{other.lower()}", {"id": number}
        fields = {f"{other}_ID": 7, "SORT": 10, "IS_PRIMARY": "Y"}
        yield f"{methods}.fields", {}
        yield f"{methods}.add", {**where, "fields": fields}
        yield f"{methods}.items.get", where
        yield f"{methods}.delete", {**where, "fields": fields}
        yield f"{methods}.items.set", {**where, "items": [fields]}
        yield f"{methods}.items.delete", where
