"""What Airflow's *Test* button tests: which tokens it may use, and which it must leave alone.

The button tests a copy of the connection under a made-up name. A refresh token is good for one refresh:
a pair that was granted to the copy would be kept under that name, and the connection itself would be cut off.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from airflow_provider_b24.exceptions import Bitrix24Error, ConnectionConfigError
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.tokens import VariableTokenStore
from airflow_provider_b24.rest.credentials import OAuthApp, Tokens

if TYPE_CHECKING:
    from airflow_provider_b24.rest.tokens import TokenStore


def connection_to_test(connection: PortalConnection) -> tuple[PortalConnection, TokenStore | None]:
    """Find out under which name the tokens of a connection are kept.

    :param connection: what is to be tested, perhaps a copy.
    :return: the connection under the name of the saved one that is the same application in the same portal, and the
        tokens of that; where nothing is saved, the connection itself, with tokens that will not be renewed.
    """
    if not isinstance(connection.credentials, OAuthApp):
        return connection, None
    if VariableTokenStore(connection).read() is None:
        saved = _saved_as(connection)
        if not saved:
            return connection, _UnsavedTokens(connection.tokens)
        connection = dataclasses.replace(connection, conn_id=saved)
    return connection, VariableTokenStore(connection)


def advice_on(error: Bitrix24Error) -> str:
    """Say what someone can do who tested a connection that is not saved."""
    if error.code != "no_refresh_token":
        return ""
    return (
        " The test of a connection that is not saved renews no tokens, because the new ones would be lost: save it, "
        "and test it again."
    )


class _UnsavedTokens:
    """The access token of a connection that was not saved, without what would renew it."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    def load(self) -> Tokens | None:
        return dataclasses.replace(self._tokens, refresh_token="") if self._tokens else None

    def store(self, tokens: Tokens) -> None:
        raise RuntimeError("there is nothing to renew these tokens with")


def _saved_as(connection: PortalConnection) -> str | None:
    """Find the connection in the database that has the same application; one with rotated tokens comes first."""
    from airflow_provider_b24._airflow.connections import saved_connections

    found: list[str] = []
    for one in saved_connections():
        try:
            other = PortalConnection.from_airflow(one)
        except ConnectionConfigError:
            continue
        if _application(other) == _application(connection):
            found.append(other.conn_id)
    rotated = (
        conn_id
        for conn_id in found
        if VariableTokenStore(dataclasses.replace(connection, conn_id=conn_id)).read()
    )
    return next(rotated, found[0] if found else None)


def _application(connection: PortalConnection) -> tuple[str, str] | None:
    credentials = connection.credentials
    return (connection.portal_url, credentials.client_id) if isinstance(credentials, OAuthApp) else None
