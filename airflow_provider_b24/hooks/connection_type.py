"""The form of a connection of type ``bitrix24``: the one source for all versions of Airflow.

``_airflow/form_fields.py`` makes each version's form of it.
"""

from __future__ import annotations

from typing import Any

CONN_TYPE = "bitrix24"
HOOK_NAME = "Bitrix24"


def _secret(label: str, description: str) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": ["string", "null"], "format": "password"},
    }


def _text(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"]}}


FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["schema", "port"],
    "relabeling": {"host": "Portal", "login": "Webhook user id", "password": "Webhook code"},
    "placeholders": {
        "host": "example.bitrix24.com, or the whole webhook URL",
        "login": "incoming webhook only, e.g. 1",
        "password": "incoming webhook only",
    },
}
"""What becomes of the fields that every connection has."""

CONN_FIELDS: dict[str, dict[str, Any]] = {
    "application_token": _secret(
        "Application token", "Proves to the receiver that a robot call comes from this portal."
    ),
    "member_id": _text("Member id", "The portal's own id; robot calls of other portals are refused."),
    "client_id": _text("Client id", "OAuth application only: its presence makes this an OAuth connection."),
    "client_secret": _secret(
        "Client secret", "OAuth application only; sent to the authorization server alone."
    ),
    "access_token": _secret(
        "Access token", "OAuth application only: the first one; rotated ones win over it."
    ),
    "refresh_token": _secret(
        "Refresh token", "OAuth application only: the first one; rotated ones win over it."
    ),
    "oauth_server": _text("Authorization server", "OAuth application only; empty means Bitrix24's own."),
    "tariff": {
        "label": "Tariff",
        "description": "Which request limits the portal has.",
        "schema": {"type": ["string", "null"], "enum": ["standard", "enterprise"], "default": "standard"},
    },
    "timeout": {
        "label": "Timeout",
        "description": "Seconds to wait for an answer of the portal.",
        "schema": {"type": ["number", "null"], "default": 30},
    },
    "trusted_hosts": _text(
        "Trusted hosts",
        "Comma-separated hosts that the portal may move to, besides other Bitrix24 cloud addresses.",
    ),
    "verify": _text(
        "Certificates",
        "true, false, or the path of a file or folder of the certificate authorities to trust.",
    ),
}
"""The fields of its own, which the connection keeps in its extra."""
