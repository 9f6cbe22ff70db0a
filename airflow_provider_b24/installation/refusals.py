"""What every way to install, connect or uninstall an application checks, and how it says no."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from airflow_provider_b24.exceptions import InstallationRefusedError
from airflow_provider_b24.rest.credentials import OAuthApp, portal_host

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.hooks.installations import Installation


def refusal(connection: PortalConnection, code: str, reason: str) -> InstallationRefusedError:
    """Name the connection and the portal in a refusal."""
    portal = portal_host(connection.portal_url)
    return InstallationRefusedError(
        code, f"The Airflow connection {connection.conn_id!r} to {portal}: {reason}", portal=portal
    )


def same(claimed: str, expected: str) -> bool:
    """Compare secrets without telling by the time it takes how far they agree."""
    return hmac.compare_digest(claimed.encode(), expected.encode())


def require_application(connection: PortalConnection) -> OAuthApp:
    """Refuse a connection that is no application.

    :raises InstallationRefusedError: for an incoming webhook.
    """
    if not isinstance(connection.credentials, OAuthApp):
        raise refusal(
            connection,
            "not_an_application",
            "It is an incoming webhook, which is not installed. Give client_id and client_secret of an application.",
        )
    return connection.credentials


def require_portal(connection: PortalConnection, known: Installation | None, member_id: str) -> None:
    """Refuse another portal than the one that the connection or its installation knows.

    :raises InstallationRefusedError: when it is another one.
    """
    expected = connection.member_id or (known.member_id if known else None)
    if expected is not None and not same(member_id, expected):
        raise refusal(
            connection,
            "other_portal",
            "It belongs to another portal (member_id) already. Use a connection for each portal; to move this one, "
            f"delete the Airflow Variables bitrix24_installation_{connection.conn_id} and "
            f"bitrix24_tokens_{connection.conn_id}, and the member_id in its extra first.",
        )


def require_application_token(
    connection: PortalConnection, application_token: str, expected: str | None
) -> None:
    """Refuse another application token than the expected one, if one is expected.

    :raises InstallationRefusedError: when it is another one.
    """
    if expected is not None and not same(application_token, expected):
        raise refusal(
            connection,
            "wrong_application_token",
            "The application_token is not the known one. If the application was installed anew, remove the old one "
            "from the connection's extra.",
        )
