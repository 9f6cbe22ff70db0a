"""What belongs to records of the CRM, to tasks and to people, where an example names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .named import Params, add_record, found_by, named, number_of, run

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import SandboxPortal

# What the number of a call is, by the beginning of its method.
_MEANT = (
    ("crm.item.payment.product.", "payment_product"),
    ("crm.item.payment.delivery.", "payment_delivery"),
    ("crm.item.payment.", "payment"),
    ("crm.item.delivery.", "delivery"),
    ("crm.item.productrow.", "product_row"),
)
# What is sold, in the order in which it is made: its kind, the parameter that names it, its fields.
_SOLD: tuple[tuple[str, str, Params], ...] = (
    ("product_row", "ROWID", {"price": 9, "quantity": 99}),
    ("delivery", "DELIVERYID", {}),
    ("payment", "PAYMENTID", {"paid": "Y", "datePaid": "2026-01-31T00:00:00+00:00", "empPaidId": 1}),
    ("payment_product", "", {"quantity": 2}),
    ("payment_delivery", "", {}),
)
# The fields that say what they belong to: the kind by the name.
_OF_DEAL = {"ownerId": "deal"}
_BELONGS = {
    "payment_product": {"paymentId": "payment", "rowId": "product_row"},
    "payment_delivery": {"paymentId": "payment", "deliveryId": "delivery"},
}
_OFTEN = {
    "MODE": "multiple",
    "MULTIPLE_TYPE": "month",
    "MULTIPLE_INTERVAL": 1,
    "OFFSET_BEGINDATE_TYPE": "day",
    "OFFSET_BEGINDATE_VALUE": 1,
    "OFFSET_CLOSEDATE_TYPE": "month",
    "OFFSET_CLOSEDATE_VALUE": 2,
}
_LIMITED = {"START_DATE": "2099-01-31", "CATEGORY_ID": "0", "IS_LIMIT": "D", "LIMIT_DATE": "2099-12-31"}


def sold(portal: SandboxPortal, method: str, upper: Params) -> Params:
    """Make a deal with a product and a delivery, and a payment for both."""
    names = dict(named(upper))
    meant = next(kind for family, kind in _MEANT if method.startswith(family))
    numbers = {"deal": number_of(names, "ENTITYID") or number_of(names, "OWNERID") or 1}
    add_record(portal, "deal", {"ID": numbers["deal"]})
    for kind, name, fields in _SOLD:
        record = {**fields, **(found_by(upper) if kind == meant else {})}
        number = number_of(upper) or int(record.pop("id", 0)) if kind == meant else number_of(names, name)
        record |= {field: numbers[of] for field, of in _BELONGS.get(kind, _OF_DEAL).items()}
        if kind not in _BELONGS:
            record["ownerType"] = "D"
        add_record(portal, kind, record | ({"ID": number} if number else {}))
        numbers[kind] = number or max(portal.records(kind))
    return {}


def recurring(portal: SandboxPortal, method: str, upper: Params) -> Params:
    """Make a deal that is made again, once so far; and the one that shall become such."""
    deal = number_of(dict(named(upper)), "DEAL_ID") or 1
    add_record(portal, "deal", {"ID": deal})
    if not method.endswith(".fields"):
        made = run(
            portal, "crm.deal.recurring.add", {"fields": {"DEAL_ID": deal, "PARAMS": _OFTEN, **_LIMITED}}
        )
        run(portal, "crm.deal.recurring.expose", {"id": made})
        if number_of(upper):
            # Only settings that are left of a deal may be deleted.
            left = {"DEAL_ID": 999_999} if method.endswith(".delete") else {}
            row = portal.records("recurring").row(made)
            add_record(portal, "recurring", {**row, **left, "ID": number_of(upper)})
    return {}


def trigger(portal: SandboxPortal, method: str, upper: Params) -> Params:
    """Register a trigger."""
    if not method.endswith(".add"):
        run(portal, "crm.automation.trigger.add", {"CODE": upper.get("CODE", "code"), "NAME": "text"})
    return {}


def bound(portal: SandboxPortal, method: str, upper: Params) -> Params:
    """Bind a record to another."""
    _, kind, other, *_ = method.split(".")
    key = f"{other.upper()}_ID"
    if number_of(upper):
        add_record(portal, kind, {"ID": number_of(upper)})
        if method != f"crm.{kind}.{other}.add":
            fields = {key: number_of(dict(named(upper)), key) or 1}
            run(portal, f"crm.{kind}.{other}.add", {"id": number_of(upper), "fields": fields})
    return {}


def with_products(portal: SandboxPortal, method: str, upper: Params) -> Params:
    """Make a record with a product."""
    kind, number = method.split(".")[1], number_of(upper)
    add_record(portal, kind, {"ID": number})
    run(portal, f"crm.{kind}.productrows.set", {"id": number, "rows": [{"PRODUCT_NAME": "text", "PRICE": 9}]})
    return {}


def of_task(portal: SandboxPortal, method: str, upper: Params) -> Params:
    """Give a task a comment, which is its result, and the portal a file."""
    names = dict(named({**upper, "FILTER": found_by(upper)}))
    task = number_of(names, "TASKID") or 1
    add_record(portal, "task", {"ID": task, "TITLE": "text"})
    comment = number_of(names, "COMMENTID") or number_of(names, "MESSAGEID")
    written = portal.store.create("task_message", {"TASK_ID": task, "TEXT": "text"}, 1, number=comment)
    if not method.endswith((".addfromcomment", ".addfromchatmessage")):
        result = {"TASK_ID": task, "TEXT": "text", "MESSAGE_ID": written}
        portal.store.create("task_result", result, 1, number=number_of(upper))
    file = portal.add_file("text.txt", b"text")
    named_files = {"FILEID": {"fileId": file}, "FILEIDS": {"fileIds": [file]}}
    return next((files for name, files in named_files.items() if name in upper), {})


def notified(portal: SandboxPortal, method: str, upper: Params) -> Params:
    """Tell the caller what may be read, found, answered and confirmed."""
    first = next(iter(upper.get("IDS", ())), 0)
    number = number_of(upper) or number_of(upper, "NOTIFY_ID") or number_of(upper, "LAST_ID") - 1
    module, _, event = str(upper.get("SEARCH_TYPE", "rest|rest_notify")).partition("|")
    record: dict[str, Any] = {
        "ID": number if number > 0 else first or 1,
        "USER_ID": 1,
        "AUTHOR_ID": 1,
        "MESSAGE": upper.get("SEARCH_TEXT", "text"),
        "TAG": upper.get("GROUP_TAG", ""),
        "NOTIFY_MODULE": module,
        "NOTIFY_EVENT": event,
        "CAN_ANSWER": "Y",
    }
    if "NOTIFY_VALUE" in upper:
        record |= {"NOTIFY_TYPE": 1, "NOTIFY_BUTTONS": [{"VALUE": upper["NOTIFY_VALUE"], "TITLE": "text"}]}
    if "SEARCH_DATE" in upper:
        record["DATE_CREATE"] = upper["SEARCH_DATE"]
    add_record(portal, "notification", record)
    portal.store.put(
        "user",
        1,
        {"LAST_ACTIVITY_DATE": "2026-01-31T00:00:00+00:00", "WORK_PHONE": "1", "UF_PHONE_INNER": "2"},
    )
    return {}
