"""The directories of the CRM a portal begins with: stages, sources, kinds of contacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_WON = frozenset({"WON", "SUCCESS", "CONVERTED"})
_LOST = frozenset({"LOSE", "APOLOGY", "FAIL", "JUNK"})
_DIRECTORIES = {
    "STATUS": "NEW IN_PROCESS PROCESSED CONVERTED JUNK",
    "DEAL_STAGE": "NEW PREPARATION PREPAYMENT_INVOICE EXECUTING FINAL_INVOICE WON LOSE APOLOGY",
    "SOURCE": "CALL EMAIL WEB ADVERTISING PARTNER RECOMMENDATION TRADE_SHOW WEBFORM CALLBACK OTHER",
    "DEAL_TYPE": "SALE COMPLEX GOODS SERVICES SERVICE",
    "CONTACT_TYPE": "CLIENT SUPPLIER PARTNER OTHER",
    "COMPANY_TYPE": "CUSTOMER SUPPLIER COMPETITOR PARTNER OTHER",
    "INDUSTRY": "IT TELECOM MANUFACTURING BANKING CONSULTING FINANCE OTHER",
    "EMPLOYEES": "EMPLOYEES_1 EMPLOYEES_2 EMPLOYEES_3 EMPLOYEES_4",
    "HONORIFIC": "HNR_EN_1 HNR_EN_2 HNR_EN_3",
}


def semantics(stage: str) -> str:
    """Return what a stage means: `S` success, `F` failure, `P` in progress."""
    name = stage.rpartition(":")[2]
    return "S" if name in _WON else "F" if name in _LOST else "P"


def stage_directory(kind: str) -> str:
    """Return the directory that has the stages of a kind of records: `DEAL_STAGE` for `deal`."""
    if kind.startswith("item:"):
        return f"DYNAMIC_{kind.removeprefix('item:')}_STAGE_1"
    return "STATUS" if kind == "lead" else f"{kind.upper()}_STAGE"


def directories() -> Iterator[dict[str, Any]]:
    """Return the entries of all directories."""
    for entity_id, names in _DIRECTORIES.items():
        yield from _entries(entity_id, names.split())


def stages_of(entity_type_id: int) -> Iterator[dict[str, Any]]:
    """Return the stages of a smart process."""
    names = [f"DT{entity_type_id}_1:{name}" for name in ("NEW", "PREPARATION", "CLIENT", "SUCCESS", "FAIL")]
    for entry in _entries(f"DYNAMIC_{entity_type_id}_STAGE_1", names):
        yield entry | {"CATEGORY_ID": 1}


def _entries(entity_id: str, names: list[str]) -> Iterator[dict[str, Any]]:
    staged = entity_id == "STATUS" or "STAGE" in entity_id
    for index, name in enumerate(names, 1):
        title = name.rpartition(":")[2].replace("_", " ").capitalize()
        entry = {
            "ENTITY_ID": entity_id,
            "STATUS_ID": name,
            "NAME": title,
            "NAME_INIT": title,
            "SORT": index * 10,
        }
        if staged:
            # Only what ends a record has a meaning of its own, and may not be deleted.
            ends = semantics(name) if semantics(name) != "P" else None
            entry |= {"SEMANTICS": ends, "SYSTEM": "Y" if ends or index == 1 else "N", "COLOR": "#39A8EF"}
        yield entry
