"""Addresses of pages that a portal shows to people: a document, and a process.

Source: https://apidocs.bitrix24.com/api-reference/crm/data-types.html, and what a portal's own pages link to.
"""

from __future__ import annotations

from urllib.parse import quote

_NAMED = {1: "lead", 2: "deal", 3: "contact", 4: "company"}


def crm_item_url(portal_url: str, entity_type_id: int, item_id: int) -> str:
    """Give the address of an item of the CRM.

    :param portal_url: with scheme and without a trailing slash.
    :param entity_type_id: ``entityTypeId`` of ``crm.item.get``.
    """
    if name := _NAMED.get(entity_type_id):
        return f"{portal_url}/crm/{name}/details/{item_id}/"
    return f"{portal_url}/crm/type/{entity_type_id}/details/{item_id}/"


def process_url(portal_url: str, workflow_id: str) -> str:
    """Give the address where a portal shows a process.

    :param portal_url: with scheme and without a trailing slash.
    """
    return f"{portal_url}/company/personal/bizproc/{quote(workflow_id, safe='.')}/"
