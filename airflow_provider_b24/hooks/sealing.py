"""Event tokens in the conf of DAG runs are sealed.

Everybody who may see a DAG run may read its conf, and Airflow writes it into its log when a worker dies. Who has an
event token can answer the process, so it is encrypted there with a key derived from the secret of the connection.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection

_SEALED = "sealed:"
_PURPOSE = "event token"


class SealedTokenError(ValueError):
    """A sealed event token cannot be read. The text says why, and what to do."""


def seal(event_token: str, connection: PortalConnection) -> str:
    """Encrypt an event token with a key of the connection.

    :return: ``sealed:``, the encrypted token, and the connection's id, which says whose key opens it.
    """
    from cryptography.fernet import Fernet

    encrypted = Fernet(_key(connection)).encrypt(event_token.encode()).decode()
    return f"{_SEALED}{encrypted}:{connection.conn_id}"


def unseal(text: str) -> str:
    """Read a sealed event token, and keep it out of the task's log; a plain one is given back as it is.

    :param text: what stands in the conf.
    :raises SealedTokenError: when the connection's secret is another one now.
    :raises AirflowNotFoundException: when the connection is gone.
    :raises ConnectionConfigError: when the connection cannot be used.
    """
    from airflow.sdk.log import mask_secret

    token = _opened(text) if text.startswith(_SEALED) else text
    mask_secret(token)
    return token


def _opened(text: str) -> str:
    from cryptography.fernet import Fernet, InvalidToken

    from airflow_provider_b24.hooks.connection import PortalConnection

    encrypted, _, conn_id = text.removeprefix(_SEALED).partition(":")
    connection = PortalConnection.load(conn_id)
    try:
        return Fernet(_key(connection)).decrypt(encrypted.encode()).decode()
    except InvalidToken:
        raise SealedTokenError(
            f"The event token of this run cannot be read: the secret of the Airflow connection {conn_id!r} (webhook "
            "code or client secret) was changed after the call came. The dispatcher can still answer the process: "
            "`airflow-b24 calls answer`."
        ) from None


def _key(connection: PortalConnection) -> bytes:
    return base64.urlsafe_b64encode(connection.signing_key(_PURPOSE))
