"""The one Variable that earlier versions kept everything in: read once, and moved into the two of today.

Tokens and the slow facts of an installation shared ``bitrix24_oauth_<conn_id>``. Processes of an earlier version must
not run beside those of this one: they would go on with tokens that are spent.
"""

from __future__ import annotations

import json
import logging
from typing import NamedTuple

from airflow_provider_b24._airflow.variables import delete_variable, read_variable, update_variable

log = logging.getLogger(__name__)

_TOKENS = ("access_token", "refresh_token", "expires", "member_id", "user_id", "scope", "client_id", "seed")
_INSTALLATION = (
    "client_id", "seed", "application_token", "member_id", "installed_at", "event_time", "uninstalled_at",
    "challenge", "challenge_until", "reached_at",
)  # fmt: skip


class OldRecord(NamedTuple):
    """What is to be kept in the one Variable and in the other, as JSON; ``None`` when there is nothing to move."""

    tokens: str | None = None
    installation: str | None = None


def tokens_key(conn_id: str) -> str:
    """Name the Variable that a connection's rotating tokens are kept in."""
    return f"bitrix24_tokens_{conn_id}"


def installation_key(conn_id: str) -> str:
    """Name the Variable that the facts of a connection's installation are kept in."""
    return f"bitrix24_installation_{conn_id}"


def move_old_record(conn_id: str) -> OldRecord:
    """Move what an earlier version has kept, if there is any; it never replaces what is in the new places.

    Where this process may not write or delete, another one will do it.

    :return: what is in the new places now, where it came from the old one.
    """
    old_key = f"bitrix24_oauth_{conn_id}"
    raw = read_variable(old_key)
    if not raw:
        return OldRecord()
    try:
        data = json.loads(raw)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        log.error("The Airflow Variable %s cannot be used. Connect the application again.", old_key)
        return OldRecord()
    tokens, installation = _part(data, _TOKENS), _part(data, _INSTALLATION)
    try:
        tokens = _put(tokens_key(conn_id), tokens, conn_id)
        installation = _put(installation_key(conn_id), installation, conn_id)
        delete_variable(old_key)
    except Exception as error:
        log.warning("The Airflow Variable %s was not moved yet (%s).", old_key, type(error).__name__)
    return OldRecord(tokens, installation)


def _put(key: str, part: str, conn_id: str) -> str:
    """Write a part where nothing is yet, and give what is there then."""
    there = part

    def change(present: str | None) -> str | None:
        nonlocal there
        if present:
            there = present
            return None
        return part

    update_variable(key, change, f"Of the connection {conn_id}, kept by airflow-provider-b24.")
    return there


def _part(data: dict[str, object], names: tuple[str, ...]) -> str:
    return json.dumps({name: data[name] for name in names if data.get(name) is not None})
