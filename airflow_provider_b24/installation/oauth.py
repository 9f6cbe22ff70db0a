"""The OAuth sign-in at the portal: where it begins, and what proves that it was begun here, by whom, for what.

Two signed texts: the ``state``, which goes to the portal and comes back, and the one in the page that asks a user to
confirm. Both are bound to the user and the connection, are good for a few minutes, and are of no use for each other.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from airflow_provider_b24.installation.refusals import require_application
from airflow_provider_b24.receiver.answers import RefusedError

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection

SECONDS = 600
#: Begins the state of a sign-in that was begun in a terminal, which alone can finish it.
TERMINAL_STATE = "terminal."

Purpose = Literal["confirmation", "state"]


def authorize_url(connection: PortalConnection, state: str) -> str:
    """Give the address where a user of the portal lets the application in.

    :param state: what comes back with the code.
    :raises InstallationRefusedError: for an incoming webhook.

    Source: https://apidocs.bitrix24.com/settings/oauth/index.html
    """
    query = {"client_id": require_application(connection).client_id, "state": state}
    return f"{connection.portal_url}/oauth/authorize/?{urlencode(query)}"


def sign(purpose: Purpose, connection: PortalConnection, user_id: str) -> str:
    """Make a text that proves that this user has begun something here for this connection.

    :param purpose: what it is good for, and nothing else.
    """
    return _serializer(purpose, connection).dumps([connection.conn_id, user_id])


def check(purpose: Purpose, connection: PortalConnection, user_id: str, signed: str) -> None:
    """Check that what comes in was begun here, lately, by the same user for the same connection.

    :raises RefusedError: 403 when it was not, 410 when it has taken too long.
    """
    try:
        begun = _serializer(purpose, connection).loads(signed, max_age=SECONDS)
    except SignatureExpired:
        raise RefusedError(
            410, "expired", f"The sign-in took longer than {SECONDS // 60} minutes. Begin again."
        ) from None
    except BadSignature:
        raise RefusedError(403, "forged", "This sign-in was not begun here. Begin again.") from None
    if begun != [connection.conn_id, user_id]:
        raise RefusedError(
            403, "forged", "This sign-in was begun by another user or for another connection. Begin again."
        )


def _serializer(purpose: Purpose, connection: PortalConnection) -> URLSafeTimedSerializer:
    from airflow.configuration import conf

    # Of two secrets: those who administer the portal know the application's, too.
    own = conf.get("api", "secret_key", fallback="") or ""
    key = hmac.digest(own.encode(), connection.signing_key(f"oauth {purpose}"), hashlib.sha256)
    return URLSafeTimedSerializer(key, salt=f"airflow_provider_b24.oauth.{purpose}")
