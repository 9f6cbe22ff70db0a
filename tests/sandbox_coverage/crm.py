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
    yield from _product_rows(portal)
    yield from _cards()
    yield from _triggers(portal)
    yield from _recurring(portal)
    yield from _payments(portal)


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


def _product_rows(portal: SandboxPortal) -> Calls:
    deal = portal.add_records("deal", 1)[0]
    owner = {"ownerId": deal, "ownerType": "D"}
    yield "crm.item.productrow.fields", {}
    yield "crm.item.productrow.add", {"fields": {**owner, "price": 1}}
    row = {"id": len(portal.records("productrow"))}
    yield "crm.item.productrow.get", row
    yield "crm.item.productrow.update", {**row, "fields": {"price": 2}}
    found = {"=ownerId": deal, "=ownerType": "D"}
    yield "crm.item.productrow.list", {"filter": found, "order": {"id": "asc"}, "start": 0}
    yield "crm.item.productrow.delete", row
    yield "crm.item.productrow.set", {**owner, "productRows": [{"price": 1}]}
    for kind in ("lead", "deal"):
        where = {"id": portal.add_records(kind, 1)[0]}
        yield f"crm.{kind}.productrows.set", {**where, "rows": [{"PRICE": 1}]}
        yield f"crm.{kind}.productrows.get", where


def _cards() -> Calls:
    names = ("main", "additional", "products", "recurring")
    elements = [{"name": "TITLE", "options": {"defaultCountry": "DE"}}]
    sections = [{"name": name, "title": name, "type": "section", "elements": elements} for name in names]
    whose = {"scope": "P", "userId": 1, "extras": {}}
    for kind, where in (
        ("item", {"entityTypeId": 2}),
        *((kind, {}) for kind in ("lead", "deal", "contact", "company")),
    ):
        methods = f"crm.{kind}.details.configuration"
        yield f"{methods}.set", {**where, **whose, "data": sections}
        yield f"{methods}.get", {**where, **whose}
        yield f"{methods}.reset", {**where, **whose}
        yield f"{methods}.forceCommonScopeForAll", {**where, "extras": {}}


def _triggers(portal: SandboxPortal) -> Calls:
    code = {"CODE": "paid"}
    yield "crm.automation.trigger.add", {**code, "NAME": "Paid"}
    yield "crm.automation.trigger.list", {}
    owner = {"OWNER_TYPE_ID": 2, "OWNER_ID": portal.add_records("deal", 1)[0]}
    yield "crm.automation.trigger.execute", {**code, **owner}
    yield "crm.automation.trigger.delete", code


def _recurring(portal: SandboxPortal) -> Calls:
    yield "crm.deal.recurring.fields", {}
    yield "crm.deal.recurring.add", {"fields": {"DEAL_ID": portal.add_records("deal", 1)[0]}}
    where = {"id": len(portal.records("recurring"))}
    yield "crm.deal.recurring.get", where
    yield "crm.deal.recurring.list", {"order": {"ID": "ASC"}, "filter": {"ACTIVE": "Y"}, "start": 0}
    yield "crm.deal.recurring.update", {**where, "fields": {"ACTIVE": "N"}}
    yield "crm.deal.recurring.expose", where
    left = portal.add_records("recurring", [{"DEAL_ID": 999, "PARAMS": {}}])[0]
    yield "crm.deal.recurring.delete", {"id": left}


def _payments(portal: SandboxPortal) -> Calls:
    deal = portal.add_records("deal", 1)[0]
    owner = {"ownerType": "D", "ownerId": deal}
    row = portal.add_records("productrow", [{**owner, "price": 5, "quantity": 4}])[0]
    delivery, other = portal.add_records("delivery", [owner, owner])
    found = {"filter": {}, "order": {"id": "asc"}}
    record = {"entityId": deal, "entityTypeId": 2}
    yield "crm.item.productrow.getAvailableForPayment", owner
    yield "crm.item.payment.add", record
    payment = {"id": len(portal.records("payment"))}
    yield "crm.item.payment.get", payment
    yield "crm.item.payment.list", {**record, **found}
    of_payment = {"paymentId": payment["id"]}
    yield "crm.item.payment.product.add", {**of_payment, "rowId": row, "quantity": 2}
    yield "crm.item.payment.product.list", {**of_payment, **found}
    yield "crm.item.payment.product.setQuantity", {"id": 1, "quantity": 3}
    yield "crm.item.payment.product.delete", {"id": 1}
    yield "crm.item.payment.delivery.add", {**of_payment, "deliveryId": delivery}
    yield "crm.item.payment.delivery.list", {**of_payment, **found}
    yield "crm.item.payment.delivery.setDelivery", {"id": 1, "deliveryId": other}
    yield "crm.item.payment.delivery.delete", {"id": 1}
    yield "crm.item.payment.update", {**payment, "fields": {"paySystemId": 2}}
    yield "crm.item.payment.pay", payment
    yield "crm.item.payment.unpay", payment
    yield "crm.item.payment.delete", payment
    yield "crm.item.delivery.get", {"id": delivery}
    yield "crm.item.delivery.list", {**record, **found}
