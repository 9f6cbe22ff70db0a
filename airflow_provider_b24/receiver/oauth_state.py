"""The ``state`` that a sign-in takes to the portal and back: whose it is, for which connection, until when."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from airflow_provider_b24.receiver.answers import RefusedError

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection

STATE_SECONDS = 600


def make_state(connection: PortalConnection, user_id: str) -> str:
    """Sign a state for one user and one connection."""
    return _serializer(connection).dumps([connection.conn_id, user_id])


def check_state(connection: PortalConnection, user_id: str, state: str) -> None:
    """Check that a sign-in that ends here was begun here, lately, by the same user for the same connection.

    :raises RefusedError: 403 when it was not, 410 when it has taken too long.
    """
    try:
        begun = _serializer(connection).loads(state, max_age=STATE_SECONDS)
    except SignatureExpired:
        raise RefusedError(
            410, "expired", f"The sign-in took longer than {STATE_SECONDS // 60} minutes. Begin again."
        ) from None
    except BadSignature:
        raise RefusedError(403, "forged", "This sign-in was not begun here. Begin again.") from None
    if begun != [connection.conn_id, user_id]:
        raise RefusedError(
            403, "forged", "This sign-in was begun by another user or for another connection. Begin again."
        )


def _serializer(connection: PortalConnection) -> URLSafeTimedSerializer:
    from airflow.configuration import conf

    # Of two secrets: those who administer the portal know the application's, too.
    own = conf.get("api", "secret_key", fallback="") or ""
    key = hmac.digest(own.encode(), connection.signing_key("oauth state"), hashlib.sha256)
    return URLSafeTimedSerializer(key, salt="airflow_provider_b24.oauth_state")
