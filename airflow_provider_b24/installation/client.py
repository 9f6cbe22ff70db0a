"""A client with short time-outs: a person, or Bitrix24's queue server, is waiting while it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.rest import Bitrix24Client, TokenStore

_TIMEOUT = 10.0
_DEADLINE = 20.0


def short_timeout_client(
    connection: PortalConnection, token_store: TokenStore, *, attempts: int = 2
) -> Bitrix24Client:
    """Make a client of the connection's portal, with other tokens than the stored ones if need be.

    :param attempts: how often a call is sent at most when the portal fails.
    """
    from airflow_provider_b24.hooks.limits import configured_limit
    from airflow_provider_b24.rest import Bitrix24Client, Patience

    return Bitrix24Client(
        connection.credentials,
        token_store=token_store,
        tariff=connection.tariff,
        trusted_hosts=connection.trusted_hosts,
        verify=connection.authorities(),
        shared_limit=configured_limit(),
        patience=Patience(timeout=min(connection.timeout, _TIMEOUT), deadline=_DEADLINE, attempts=attempts),
    )
