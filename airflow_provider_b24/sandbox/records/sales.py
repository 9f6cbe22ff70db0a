"""The fields of what belongs to records of the CRM: products, payments, deliveries, templates of deals, cards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PRODUCT_ROW = """
integer r: ID
integer i q: OWNER_ID
string i q: OWNER_TYPE
integer q: PRODUCT_ID
string: PRODUCT_NAME
double: PRICE
double r: PRICE_ACCOUNT PRICE_EXCLUSIVE PRICE_NETTO PRICE_BRUTTO
double: QUANTITY
integer: DISCOUNT_TYPE_ID
double: DISCOUNT_RATE DISCOUNT_SUM TAX_RATE
char: TAX_INCLUDED CUSTOMIZED
integer: MEASURE_CODE
string: MEASURE_NAME
integer: SORT
string: XML_ID
integer r: TYPE STORE_ID
"""
_PAYMENT = """
integer r: ID
integer i q: OWNER_ID
string i q: OWNER_TYPE
string: ACCOUNT_NUMBER
char: PAID
datetime: DATE_PAID
integer: EMP_PAID_ID PAY_SYSTEM_ID
double: SUM
string: CURRENCY PAY_SYSTEM_NAME
"""
_PAYMENT_PRODUCT = """
integer r: ID
integer i q: PAYMENT_ID
double: QUANTITY
integer q: ROW_ID
"""
_PAYMENT_DELIVERY = """
integer r: ID
integer i q: PAYMENT_ID
double: QUANTITY
integer q: DELIVERY_ID
"""
_DELIVERY = """
integer r: ID
integer i q: OWNER_ID
string i q: OWNER_TYPE
string: ACCOUNT_NUMBER
char: DEDUCTED
datetime: DATE_DEDUCTED
integer: DELIVERY_ID
double: PRICE_DELIVERY
string: CURRENCY DELIVERY_NAME
"""
_RECURRING = """
integer r: ID
integer i q: DEAL_ID
integer r: BASED_ID
string: ACTIVE
datetime r: NEXT_EXECUTION LAST_EXECUTION
integer r: COUNTER_REPEAT
date: START_DATE
string: CATEGORY_ID IS_LIMIT
integer: LIMIT_REPEAT
date: LIMIT_DATE
any: PARAMS
"""
_CARD = """
integer r: ID
string: KIND SCOPE
integer: USER_ID VARIANT
any: SECTIONS
"""

_PRICES = (
    "PRICE",
    "PRICE_ACCOUNT",
    "PRICE_EXCLUSIVE",
    "PRICE_NETTO",
    "PRICE_BRUTTO",
    "DISCOUNT_RATE",
    "DISCOUNT_SUM",
)
#: By kind, what :mod:`~airflow_provider_b24.sandbox.records.schemas` makes schemas of.
KINDS: dict[str, tuple[str, int, str, tuple[str, ...], str, Mapping[str, Any]]] = {
    "product_row": (
        _PRODUCT_ROW,
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
            **dict.fromkeys(_PRICES, 0.0),
        },
    ),
    "payment": (
        _PAYMENT,
        0,
        "",
        (),
        "",
        {"PAID": "N", "PAY_SYSTEM_ID": 1, "PAY_SYSTEM_NAME": "Cash", "SUM": 0.0, "CURRENCY": "USD"},
    ),
    "payment_product": (_PAYMENT_PRODUCT, 0, "", (), "", {"QUANTITY": 1.0}),
    "payment_delivery": (_PAYMENT_DELIVERY, 0, "", (), "", {"QUANTITY": 1.0}),
    "delivery": (
        _DELIVERY,
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
    "recurring": (_RECURRING, 0, "", (), "", {}),
    "card": (_CARD, 0, "", (), "", {}),
}
