"""What `crm.item.*` answers beside a record's own fields: addresses by their kind, and what is disabled or empty.

Documented on https://apidocs.bitrix24.com/api-reference/crm/universal/object-fields.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATES = ("dateCreateShort", "dateModifyShort")
_LEAD = (*_DATES, "isConvert", "productId", "shortName", "login", "skype", "icq")
_DEAL = (
    *_DATES,
    "begindateShort",
    "closedateShort",
    "eventDate",
    "eventDateShort",
    "eventId",
    "eventDescription",
    "hasProducts",
    "isLose",
    "isWon",
    "isWork",
    "lostAmount",
    "orderStage",
    "productId",
    "receivedAmount",
    "webformId",
)
_DYNAMIC = ("opportunityAccount", "taxValueAccount", "accountCurrencyId")
# Most of it is called disabled: portals have the names, and no values.
_ALIKE: Mapping[str, Mapping[str, Any]] = {
    "lead": {**dict.fromkeys(_LEAD), "webformId": 0},
    "deal": dict.fromkeys(_DEAL),
    "contact": {**dict.fromkeys(("shortName", "login")), "categoryId": 0, "webformId": 0},
    "company": {"categoryId": 0, "webformId": 0},
}
_BY_KIND = (
    ("phoneMobile", "PHONE", "MOBILE"),
    ("phoneWork", "PHONE", "WORK"),
    ("phoneMailing", "PHONE", "MAILING"),
    ("emailHome", "EMAIL", "HOME"),
    ("emailWork", "EMAIL", "WORK"),
    ("emailMailing", "EMAIL", "MAILING"),
    ("imol", "IM", "IMOL"),
    ("email", "EMAIL", ""),
    ("phone", "PHONE", ""),
)
_SEARCHED = ("ID", "TITLE", "LAST_NAME", "NAME", "SECOND_NAME", "COMPANY_TITLE", "COMMENTS")


def extras(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record of this kind has beside its fields."""
    known = _ALIKE.get(kind)
    if known is None:
        return dict.fromkeys(_DYNAMIC)
    found = {**known, "searchContent": " ".join(str(row[name]) for name in _SEARCHED if row.get(name))}
    return found if kind == "deal" else found | _addresses(row)


def _addresses(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the first address of each kind, an empty text where there is none."""
    return {
        name: next(
            (str(entry["VALUE"]) for entry in row.get(field) or () if kind in ("", entry["VALUE_TYPE"])),
            "",
        )
        for name, field, kind in _BY_KIND
    }
