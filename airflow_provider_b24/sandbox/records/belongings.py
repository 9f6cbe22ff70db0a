"""What goes with a record when it is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.products import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_b24.sandbox.records.table import Table

# Kinds whose records name their owner by `OWNER_TYPE` and `OWNER_ID`.
_OF_ANY_OWNER = ("productrow", "payment", "delivery")
# By the kind of the owner: what belongs to it, and the field that names it.
_OF_ONE_KIND = {
    "deal": (("recurring", "DEAL_ID"),),
    "payment": (("paymentproduct", "PAYMENT_ID"), ("paymentdelivery", "PAYMENT_ID")),
    "productrow": (("paymentproduct", "ROW_ID"),),
    "delivery": (("paymentdelivery", "DELIVERY_ID"),),
}


def delete_belongings(tables: Mapping[str, Table], kind: str, number: int) -> None:
    """Delete what belongs to a record, and what belongs to that."""
    for belonging, there in list(_belongings(tables, kind, number)):
        tables[belonging].delete(there)
        delete_belongings(tables, belonging, there)


def _belongings(tables: Mapping[str, Table], kind: str, number: int) -> Iterator[tuple[str, int]]:
    for belonging in _OF_ANY_OWNER:
        for there in rows_of(tables[belonging], kind, number):
            yield belonging, there
    for belonging, field in _OF_ONE_KIND.get(kind, ()):
        for there in tables[belonging].all(filters.CRM, filter_by={f"={field}": number}):
            yield belonging, there
