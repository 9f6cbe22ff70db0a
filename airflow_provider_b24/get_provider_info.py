"""What Airflow discovers: the connection type and its form, and where everything lives."""

from __future__ import annotations

from typing import Any

_INTEGRATION = "Bitrix24"


def _secret(label: str, description: str) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": ["string", "null"], "format": "password"},
    }


def _text(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"]}}


_CONNECTION_TYPE: dict[str, Any] = {
    "connection-type": "bitrix24",
    "hook-class-name": "airflow_provider_b24.hooks.bitrix24.Bitrix24Hook",
    "hook-name": "Bitrix24",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "port"],
        "relabeling": {"host": "Portal", "login": "Webhook user id", "password": "Webhook code"},
        "placeholders": {
            "host": "example.bitrix24.com, or the whole webhook URL",
            "login": "incoming webhook only, e.g. 1",
            "password": "incoming webhook only",
        },
    },
    "conn-fields": {
        "application_token": _secret(
            "Application token", "Proves to the receiver that a robot call comes from this portal."
        ),
        "member_id": _text("Member id", "The portal's own id; robot calls of other portals are refused."),
        "client_id": _text(
            "Client id", "OAuth application only: its presence makes this an OAuth connection."
        ),
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
    },
}


def get_provider_info() -> dict[str, Any]:
    """Describe this provider by Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-b24",
        "name": _INTEGRATION,
        "description": "Robots and workflow actions of Bitrix24 start DAG runs; DAGs answer business processes.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://apidocs.bitrix24.com/",
                "tags": ["service"],
            }
        ],
        "connection-types": [_CONNECTION_TYPE],
        "hooks": [_modules("hooks.bitrix24")],
        "operators": [_modules("operators.bizproc", "operators.rest")],
        "sensors": [_modules("sensors.external_result", "sensors.rest", "sensors.bizproc")],
        "triggers": [_modules("triggers.external_result", "triggers.rest", "triggers.bizproc")],
        "notifications": ["airflow_provider_b24.notifications.bizproc.BizprocEventSendNotifier"],
        "extra-links": [
            "airflow_provider_b24.operators.links.CallLink",
            "airflow_provider_b24.operators.links.PortalLink",
        ],
        "db-managers": ["airflow_provider_b24.calls.database.CallsDBManager"],
        "plugins": [{"name": "bitrix24", "plugin-class": "airflow_provider_b24.plugin.Bitrix24Plugin"}],
        "config": {
            "bitrix24": {
                "description": "How Bitrix24 and external workers reach this Airflow.",
                "options": {
                    "receiver_url": {
                        "description": (
                            "Public address of the receiver, where it differs from [api] base_url "
                            "with /bitrix24 behind it: for example behind a reverse proxy that publishes "
                            "nothing else of Airflow."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "https://hooks.example.com/bitrix24",
                        "default": None,
                    },
                    "spool_folder": {
                        "description": (
                            "Where the receiver keeps robot calls while Airflow's database does not take them: a "
                            "folder on a disk that outlives the API server. Empty means bitrix24_spool in "
                            "AIRFLOW_HOME."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/var/lib/airflow/bitrix24_spool",
                        "default": None,
                    },
                    "dispatcher": {
                        "description": (
                            "Where runs are started for calls, and answers are sent: api_server, or command for "
                            "processes of their own (airflow-b24 dispatcher)."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "command",
                        "default": "api_server",
                    },
                    "keep_calls_days": {
                        "description": "How many days a call is on record after it has come, once it is over.",
                        "version_added": "0.2.0",
                        "type": "integer",
                        "example": "365",
                        "default": "90",
                    },
                    "hold_calls_hours": {
                        "description": (
                            "How many hours a call waits for its DAG, when the DAG is not parsed yet, broken or gone. "
                            "Then its process is answered with the on_failure values."
                        ),
                        "version_added": "0.2.0",
                        "type": "integer",
                        "example": "24",
                        "default": "72",
                    },
                },
            }
        },
    }


def _modules(*names: str) -> dict[str, Any]:
    return {
        "integration-name": _INTEGRATION,
        "python-modules": [f"airflow_provider_b24.{name}" for name in names],
    }
