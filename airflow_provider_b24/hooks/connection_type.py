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
    # The port is not hidden: for one that is empty the Test button of Airflow 3.3 sends 0, and is refused.
    "hidden-fields": ["schema"],
    "relabeling": {"host": "Portal", "login": "Webhook user id", "password": "Webhook code"},
    "placeholders": {
        "host": "example.bitrix24.com, or the whole webhook URL",
        "login": "incoming webhook only, e.g. 1",
        "password": "incoming webhook only",
        "port": "443, or the portal's own: the Test button needs it",
    },
}
"""What becomes of the fields that every connection has."""

CONN_FIELDS: dict[str, dict[str, Any]] = {
    "client_id": _text(
        "Client id", "For an OAuth application, which robots need. Empty with an incoming webhook."
    ),
    "client_secret": _secret(
        "Client secret", "For an OAuth application; sent to the authorization server alone."
    ),
    "application_token": _secret(
        "Application token",
        "Proves that a robot call comes from this portal. Comes by itself when the application is installed.",
    ),
    "member_id": _text(
        "Member id",
        "The portal's own id; robot calls of other portals are refused. Comes by itself, as above.",
    ),
    "access_token": _secret(
        "Access token",
        "For an OAuth application: the first one. Comes by itself, as above; newer ones win over it.",
    ),
    "refresh_token": _secret(
        "Refresh token",
        "For an OAuth application: the first one. Comes by itself, as above; newer ones win over it.",
    ),
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
    "oauth_server": _text(
        "Authorization server",
        "For an OAuth application: oauth.bitrix.info or oauth.bitrix24.tech. Comes by itself.",
    ),
    "trusted_hosts": _text(
        "Trusted hosts",
        "Comma-separated hosts that the portal may move to, besides other Bitrix24 cloud addresses.",
    ),
    "verify": _text(
        "Certificates",
        "true, false, or the path of a file or folder of the certificate authorities to trust.",
    ),
}
"""The fields of its own, which the connection keeps in its extra; first what a new connection needs."""
