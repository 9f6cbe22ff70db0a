"""The fields of every kind of record, as the `fields` methods tell them.

Documented on https://apidocs.bitrix24.com/api-reference/crm/universal/object-fields.html,
https://apidocs.bitrix24.com/api-reference/tasks/fields.html and
https://apidocs.bitrix24.com/api-reference/user/user-fields.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.records import field_lists
from airflow_provider_b24.sandbox.records.fields import ANY, Field, FieldType

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUS_TYPES = {
    "HONORIFIC": "HONORIFIC",
    "SOURCE_ID": "SOURCE",
    "STATUS_ID": "STATUS",
    "COMPANY_TYPE": "COMPANY_TYPE",
    "INDUSTRY": "INDUSTRY",
    "EMPLOYEES": "EMPLOYEES",
    "STAGE_ID": "STAGE",
    "TYPE_ID": "TYPE",
}
# The entity type of what a field binds to.
_PARENTS = {"crm_lead": 1, "crm_company": 4, "crm_quote": 7}
# What `crm.item.*` calls otherwise than by the name of the older methods.
_ITEM_NAMES = {
    "STATUS_ID": "stageId",
    "STATUS_SEMANTIC_ID": "stageSemanticId",
    "DATE_CREATE": "createdTime",
    "DATE_MODIFY": "updatedTime",
    "CREATED_BY_ID": "createdBy",
    "MODIFY_BY_ID": "updatedBy",
    "MOVED_BY_ID": "movedBy",
    "COMPANY_TYPE": "typeId",
}
_MONEY = {"OPPORTUNITY": 0.0, "CURRENCY_ID": "USD", "IS_MANUAL_OPPORTUNITY": "N"}
_PEOPLE = {"ASSIGNED_BY_ID": 1, "CREATED_BY_ID": 1, "MODIFY_BY_ID": 1, "LAST_ACTIVITY_BY": 1, "OPENED": "Y"}
_CONTACTS = {"HAS_PHONE": "N", "HAS_EMAIL": "N", "HAS_IMOL": "N"}


@dataclass(frozen=True, slots=True)
class Schema:
    """One kind of record.

    :param kind: such as `lead`, `item:147`, `task` or `productrow`.
    :param fields: by name in the rows.
    :param entity_type_id: what `crm.item.*` calls the type; 0 outside the CRM.
    :param stage: the field that says where a record stands, empty where there is none.
    :param created: the fields that hold when a record was created and last changed: both are set at once.
    :param title: what a record without a title is called, before its number.
    """

    kind: str
    fields: Mapping[str, Field]
    entity_type_id: int = 0
    stage: str = ""
    created: tuple[str, ...] = ()
    title: str = ""
    by_name: Mapping[str, Field] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = {}
        for known in self.fields.values():
            names[_plain(known.name)] = names[_plain(known.item_name)] = known
        object.__setattr__(self, "by_name", names)

    def find(self, name: str) -> Field | None:
        """Return a declared field by any of its names, without regard to case and underscores."""
        return self.by_name.get(_plain(name))


def own_field(name: str) -> Field:
    """Return a field that the portal's users have made: `UF_CRM_1` or `ufCrm_1`; any value fits."""
    upper = name if name.isupper() else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
    return Field(upper, ANY, item_name(upper), dynamic=True)


def item_name(name: str) -> str:
    """Return `stageId` for `STAGE_ID`, and `ufCrm_1` for `UF_CRM_1`, as `crm.item.*` writes names."""
    if name in _ITEM_NAMES:
        return _ITEM_NAMES[name]
    if name.startswith("UF_CRM_"):
        return "ufCrm_" + name.removeprefix("UF_CRM_").lower()
    first, *rest = name.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


def schema_of(kind: str) -> Schema:
    """Return the schema of a kind.

    :raises ValueError: when there is no such kind.
    """
    number = kind.removeprefix("item:")
    if number != kind and number.isdecimal() and int(number) > 4:
        return _item_schema(int(number))
    if kind not in _KINDS:
        raise ValueError(f"No records of kind {kind!r}: choose {', '.join(_KINDS)} or item:<entity type id>")
    return _fixed_schema(kind)


@cache
def _fixed_schema(kind: str) -> Schema:
    text, entity_type_id, stage, created, title, defaults = _KINDS[kind]
    return Schema(kind, _read(kind, text, defaults), entity_type_id, stage, created, title)


@cache
def _item_schema(number: int) -> Schema:
    defaults = {
        **_MONEY,
        "STAGE_ID": f"DT{number}_1:NEW",
        "CATEGORY_ID": 1,
        "OPENED": "Y",
        "TAX_VALUE": 0.0,
        **dict.fromkeys(("ASSIGNED_BY_ID", "CREATED_BY", "UPDATED_BY", "MOVED_BY", "LAST_ACTIVITY_BY"), 1),
        "COMPANY_ID": 0,
        "CONTACT_ID": 0,
        "MYCOMPANY_ID": 0,
    }
    times = ("CREATED_TIME", "UPDATED_TIME", "MOVED_TIME", "LAST_ACTIVITY_TIME")
    return Schema(
        f"item:{number}",
        _read(f"dynamic_{number}", field_lists.ITEM, defaults),
        number,
        "STAGE_ID",
        times,
        "Item #",
    )


_OLD_TIMES = ("DATE_CREATE", "DATE_MODIFY", "LAST_ACTIVITY_TIME")
_KINDS: dict[str, tuple[str, int, str, tuple[str, ...], str, Mapping[str, Any]]] = {
    "lead": (
        field_lists.LEAD,
        1,
        "STATUS_ID",
        (*_OLD_TIMES, "MOVED_TIME"),
        "Lead #",
        {
            **_MONEY,
            **_PEOPLE,
            **_CONTACTS,
            "MOVED_BY_ID": 1,
            "STATUS_ID": "NEW",
            "STATUS_SEMANTIC_ID": "P",
            "IS_RETURN_CUSTOMER": "N",
        },
    ),
    "deal": (
        field_lists.DEAL,
        2,
        "STAGE_ID",
        (*_OLD_TIMES, "MOVED_TIME"),
        "Deal #",
        {
            **_MONEY,
            **_PEOPLE,
            "MOVED_BY_ID": 1,
            "STAGE_ID": "NEW",
            "STAGE_SEMANTIC_ID": "P",
            "CATEGORY_ID": 0,
            "TYPE_ID": "SALE",
            "TAX_VALUE": 0.0,
            **dict.fromkeys(
                ("CLOSED", "IS_NEW", "IS_RECURRING", "IS_RETURN_CUSTOMER", "IS_REPEATED_APPROACH"), "N"
            ),
        },
    ),
    "contact": (
        field_lists.CONTACT,
        3,
        "",
        _OLD_TIMES,
        "",
        {**_PEOPLE, **_CONTACTS, "EXPORT": "Y", "TYPE_ID": "CLIENT"},
    ),
    "company": (
        field_lists.COMPANY,
        4,
        "",
        _OLD_TIMES,
        "Company #",
        {
            **_PEOPLE,
            **_CONTACTS,
            "COMPANY_TYPE": "CUSTOMER",
            "REVENUE": 0.0,
            "CURRENCY_ID": "USD",
            "IS_MY_COMPANY": "N",
        },
    ),
    "task": (
        field_lists.TASK,
        0,
        "",
        ("CREATED_DATE", "CHANGED_DATE", "STATUS_CHANGED_DATE", "ACTIVITY_DATE"),
        "Task #",
        {
            "STATUS": "2",
            "PRIORITY": "1",
            "DURATION_TYPE": "days",
            "DESCRIPTION": "",
            "DESCRIPTION_IN_BBCODE": "Y",
            "SITE_ID": "s1",
            **dict.fromkeys(("CREATED_BY", "RESPONSIBLE_ID", "CHANGED_BY"), 1),
            **dict.fromkeys(("GROUP_ID", "STAGE_ID", "TIME_ESTIMATE", "NEW_COMMENTS_COUNT"), 0),
            **dict.fromkeys(
                (
                    "MULTITASK",
                    "NOT_VIEWED",
                    "REPLICATE",
                    "ADD_IN_REPORT",
                    "ALLOW_CHANGE_DEADLINE",
                    "ALLOW_TIME_TRACKING",
                    "TASK_CONTROL",
                    "MATCH_WORK_TIME",
                    "FAVORITE",
                    "IS_MUTED",
                    "IS_PINNED",
                    "IS_PINNED_IN_GROUP",
                    "SUBORDINATE",
                ),
                "N",
            ),
        },
    ),
    "user": (
        field_lists.USER,
        0,
        "",
        ("DATE_REGISTER", "TIMESTAMP_X"),
        "",
        {
            "ACTIVE": "Y",
            "IS_ONLINE": "N",
            "USER_TYPE": "employee",
            "UF_DEPARTMENT": [1],
            **dict.fromkeys(
                ("NAME", "LAST_NAME", "EMAIL", "TIME_ZONE", "PERSONAL_GENDER", "WORK_POSITION"), ""
            ),
        },
    ),
    "department": (field_lists.DEPARTMENT, 0, "", (), "", {"SORT": 500}),
    "notification": (field_lists.NOTIFICATION, 0, "", (), "", {}),
    "productrow": (
        field_lists.PRODUCT_ROW,
        0,
        "",
        (),
        "",
        {
            "PRODUCT_ID": 0,
            "PRODUCT_NAME": "",
            "QUANTITY": 1.0,
            "DISCOUNT_TYPE_ID": 2,
            "TAX_INCLUDED": "N",
            "CUSTOMIZED": "Y",
            "MEASURE_CODE": 0,
            "MEASURE_NAME": "",
            "SORT": 0,
            "XML_ID": "",
            "TYPE": 1,
            **dict.fromkeys(
                (
                    "PRICE",
                    "PRICE_ACCOUNT",
                    "PRICE_EXCLUSIVE",
                    "PRICE_NETTO",
                    "PRICE_BRUTTO",
                    "DISCOUNT_RATE",
                    "DISCOUNT_SUM",
                ),
                0.0,
            ),
        },
    ),
    "payment": (
        field_lists.PAYMENT,
        0,
        "",
        (),
        "",
        {"PAID": "N", "PAY_SYSTEM_ID": 1, "PAY_SYSTEM_NAME": "Cash", "SUM": 0.0, "CURRENCY": "USD"},
    ),
    "paymentproduct": (field_lists.PAYMENT_PRODUCT, 0, "", (), "", {"QUANTITY": 1.0}),
    "paymentdelivery": (field_lists.PAYMENT_DELIVERY, 0, "", (), "", {"QUANTITY": 1.0}),
    "delivery": (
        field_lists.DELIVERY,
        0,
        "",
        (),
        "",
        {
            "DEDUCTED": "N",
            "DELIVERY_ID": 1,
            "DELIVERY_NAME": "Courier",
            "PRICE_DELIVERY": 0.0,
            "CURRENCY": "USD",
        },
    ),
    "recurring": (field_lists.RECURRING, 0, "", (), "", {}),
    "card": (field_lists.CARD, 0, "", (), "", {}),
    "status": (field_lists.STATUS, 0, "", (), "", {"SORT": 10, "SYSTEM": "N"}),
    "userfield": (
        field_lists.USERFIELD,
        0,
        "",
        (),
        "",
        {
            "SORT": 100,
            "SHOW_IN_LIST": "Y",
            "EDIT_IN_LIST": "Y",
            **dict.fromkeys(("MULTIPLE", "MANDATORY", "SHOW_FILTER", "IS_SEARCHABLE"), "N"),
        },
    ),
}


def _read(kind: str, text: str, defaults: Mapping[str, Any]) -> dict[str, Field]:
    fields = {}
    for line in text.strip().splitlines():
        head, _, names = line.partition(":")
        type_name, *flags = head.split(" ")
        for name in names.split():
            fields[name] = Field(
                name,
                FieldType(type_name, multiple="m" in flags),
                item_name(name),
                default=defaults.get(name),
                read_only="r" in flags,
                immutable="i" in flags,
                required="q" in flags,
                deprecated="d" in flags,
                status_type=_status_type(kind, name) if type_name == "crm_status" else "",
                parent=0 if "m" in flags or name.startswith("MY") else _PARENTS.get(type_name, 0),
            )
    return fields


def _status_type(kind: str, name: str) -> str:
    known = _STATUS_TYPES.get(name, "")
    # Stages and types have their own directory for each kind of record.
    return f"{kind.upper()}_{known}" if name in ("STAGE_ID", "TYPE_ID") else known


def _plain(name: str) -> str:
    return name.replace("_", "").upper()
