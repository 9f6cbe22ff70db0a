"""Where rotating OAuth tokens live: an Airflow Variable for each connection.

Neither a task nor a trigger can change a connection, and a refresh token is good for one refresh: the pair that
was granted last must be kept somewhere that all of them can write to.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from airflow_provider_b24.hooks.installations import InstallationStore, seed_of

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.rest.credentials import Tokens


class VariableTokenStore:
    """Keeps a connection's tokens with the rest of its installation, in the Variable ``bitrix24_oauth_<conn_id>``.

    The stored pair wins over the connection's, unless somebody has put another refresh token into the connection
    since: then that one is newer.

    :param connection: the connection whose tokens these are.
    """

    def __init__(self, connection: PortalConnection) -> None:
        self._own = connection.tokens
        self._installations = InstallationStore(connection)
        self.key = self._installations.key

    def load(self) -> Tokens | None:
        """Read the pair that is good now, ``None`` when the application was never connected, or is uninstalled."""
        installation = self._installations.read()
        return _masked(self._own) if installation is None else _masked(installation.tokens_beside(self._own))

    def store(self, tokens: Tokens) -> None:
        """Keep a newly granted pair; it replaces the one before."""
        installation = self._installations.begin()
        self._installations.write(
            dataclasses.replace(
                installation,
                tokens=tokens,
                seed=seed_of(self._own),
                member_id=tokens.member_id or installation.member_id,
            )
        )


def _masked(tokens: Tokens | None) -> Tokens | None:
    """Keep both tokens out of every task log, whoever prints them."""
    from airflow.sdk.log import mask_secret

    if tokens is not None:
        mask_secret(tokens.access_token)
        mask_secret(tokens.refresh_token)
    return tokens


class AsyncVariableTokenStore:
    """The same store for an event loop, which it never blocks.

    :param connection: the connection whose tokens these are.
    """

    def __init__(self, connection: PortalConnection) -> None:
        self._store = VariableTokenStore(connection)
        self.key = self._store.key

    async def load(self) -> Tokens | None:
        """Read the pair that is good now."""
        from asgiref.sync import sync_to_async

        return await sync_to_async(self._store.load)()

    async def store(self, tokens: Tokens) -> None:
        """Keep a newly granted pair."""
        from asgiref.sync import sync_to_async

        await sync_to_async(self._store.store)(tokens)
