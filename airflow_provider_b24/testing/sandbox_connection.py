"""How an Airflow connection to a sandbox portal looks. Its credentials open nothing else, so they may be shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import Application, SandboxPortal


def oauth_connection(portal: SandboxPortal, application: Application | None = None) -> dict[str, Any]:
    """Describe a connection as an application of the portal: it may do everything, registering robots included.

    :param application: the portal's first one by default.
    :returns: fields of an Airflow connection, `extra` as a mapping.
    """
    chosen = application or portal.application
    extra = {
        "client_id": chosen.client_id,
        "client_secret": chosen.client_secret,
        "access_token": chosen.access_token,
        "refresh_token": chosen.refresh_token,
        "oauth_server": portal.url,
        "application_token": chosen.application_token,
        "member_id": portal.member_id,
        "tariff": portal.tariff,
    }
    return {"conn_type": "bitrix24", "host": portal.url, "extra": extra}


def webhook_connection(portal: SandboxPortal) -> dict[str, Any]:
    """Describe a connection by the portal's incoming webhook, which also lets the portal's robots call.

    :returns: fields of an Airflow connection, `extra` as a mapping.
    """
    extra = {
        "application_token": portal.application.application_token,
        "member_id": portal.member_id,
        "tariff": portal.tariff,
    }
    return {
        "conn_type": "bitrix24",
        "host": portal.url,
        "login": str(portal.webhook.user_id),
        "password": portal.webhook.code,
        "extra": extra,
    }


def as_environment(connection: dict[str, Any], conn_id: str = "bitrix24_default") -> dict[str, str]:
    """Put a connection where Airflow looks first.

    :returns: the environment variable, `AIRFLOW_CONN_BITRIX24_DEFAULT`.
    """
    return {f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(connection)}
