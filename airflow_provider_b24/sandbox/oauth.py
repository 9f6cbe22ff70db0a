"""The authorization server: codes and refresh tokens in, pairs of tokens out.

Documented on https://apidocs.bitrix24.com/settings/oauth/index.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from airflow_provider_b24.sandbox.errors import RestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_b24.sandbox.callers import Application, TokenPair
    from airflow_provider_b24.sandbox.core import PortalCore


#: Where the authorization server is on the internet.
AUTHORIZATION_HOSTS = frozenset({"oauth.bitrix.info", "oauth.bitrix24.tech"})


def token(portal: PortalCore, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request for tokens.

    :param parameters: `grant_type`, `client_id`, `client_secret`, and `code` or `refresh_token`.
    :raises RestError: with the codes of the authorization server.
    """
    application = portal.callers.applications.get(str(parameters.get("client_id", "")))
    grant_type = parameters.get("grant_type")
    if grant_type not in ("authorization_code", "refresh_token"):
        raise RestError(400, "invalid_request", "Invalid grant_type")
    if application is None:
        # What official SDKs expect, and their tests see: an error with the status of success.
        raise RestError(200, "wrong_client", "")
    if parameters.get("client_secret") != application.client_secret:
        raise RestError(400, "invalid_client", "Invalid client data")
    if not application.installed:
        raise RestError(401, "NOT_INSTALLED", "Application not installed")
    if not application.paid:
        raise RestError(402, "PAYMENT_REQUIRED", "Payment required")
    name = "code" if grant_type == "authorization_code" else "refresh_token"
    value = parameters.get(name)
    if not isinstance(value, str) or not value:
        raise RestError(400, "invalid_request", f'No "{name}" parameter found')
    tokens = portal.callers.tokens
    exchange = tokens.redeem if name == "code" else tokens.refresh
    pair = exchange(application, value)
    application.keep(pair)
    return describe(portal, application, pair)


def describe(portal: PortalCore, application: Application, pair: TokenPair) -> dict[str, Any]:
    """Return the authorization server's description of a new pair."""
    return {
        "access_token": pair.access_token,
        "client_endpoint": f"{portal.url}/rest/",
        "domain": portal.host,
        "expires": int(pair.expires),
        "expires_in": int(portal.callers.tokens.lifetime),
        "member_id": portal.member_id,
        "refresh_token": pair.refresh_token,
        "scope": ",".join(application.scope),
        "server_endpoint": f"{portal.url}/rest/",
        "status": "L",
        "user_id": pair.user_id,
    }


def authorize(portal: PortalCore, parameters: Mapping[str, Any]) -> str:
    """Return where the portal sends the user who lets an application in: user 1, without asking.

    :raises RestError: for an unknown application, or one without a return address.
    """
    application = portal.callers.applications.get(str(parameters.get("client_id", "")))
    if application is None or not application.installed:
        raise RestError(400, "invalid_client", "Application not installed")
    if not application.redirect_uri:
        raise RestError(400, "invalid_request", "The application has no redirect_uri")
    answer = {
        "code": portal.callers.tokens.create_code(application, 1),
        "state": str(parameters.get("state", "")),
        "domain": portal.host,
        "member_id": portal.member_id,
        "scope": ",".join(application.scope),
        "server_domain": portal.host,
    }
    separator = "&" if "?" in application.redirect_uri else "?"
    return f"{application.redirect_uri}{separator}{urlencode(answer)}"
