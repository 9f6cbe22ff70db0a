"""Airflow's connections: those in its metadata database, and whether there is one at all.

=======  ====================================================================================================
3.2 on   With ``[core] multi_team`` a connection may belong to a team. Beside the database no task says which team
         asks, and ``BaseHook.get_connection`` finds no team's.
=======  ====================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.connection import Connection


def find_connection(conn_id: str) -> Any:
    """Look a connection up wherever Airflow keeps it; beside the database also that of a team.

    Who asks there acts for whoever owns the connection: the receiver authenticates a call by the connection itself, and
    the dispatcher answers with the one by which the call came.

    :raises AirflowNotFoundException: when there is no such connection.
    """
    from airflow.providers.common.compat.sdk import BaseHook, conf

    from airflow_provider_b24._airflow.variables import is_supervised

    if not is_supervised() and conf.getboolean("core", "multi_team", fallback=False):
        from airflow.models.connection import Connection

        if (team := Connection.get_team_name(conn_id)) is not None:
            return Connection.get_connection_from_secrets(conn_id, team_name=team)
    return BaseHook.get_connection(conn_id)


def in_words(error: Exception) -> str:
    """Say what went wrong; of a connection that does not exist also how to make it.

    :param error: what looking for the connection, or working with it, has raised.
    """
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    if not isinstance(error, AirflowNotFoundException):
        return str(error)
    return (
        f"{str(error).rstrip('.')}. Make it in Airflow: Admin, Connections, type Bitrix24; or, if it is in the "
        "environment (AIRFLOW_CONN_…), set it in this terminal, too. docs/connection.md shows every way."
    )


def saved_connections(conn_type: str = "bitrix24") -> Iterator[Connection]:
    """Give the connections of one type, as long as they are looked at one by one.

    Connections in the environment or in a secrets backend are not among them: those cannot be listed.

    :param conn_type: the type.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    from airflow.models.connection import Connection
    from sqlalchemy import select

    from airflow_provider_b24._airflow.database import reading

    with reading() as session:
        yield from session.scalars(select(Connection).where(Connection.conn_type == conn_type))


def portal_conn_ids() -> list[str]:
    """Name the connections to portals that are in the database.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    return [connection.conn_id for connection in saved_connections()]


def is_anywhere(conn_id: str) -> bool:
    """Ask all places where Airflow looks for connections, and hide none of their failures.

    :raises Exception: of whatever kind, when one of them cannot say.
    """
    from airflow.configuration import ensure_secrets_loaded

    return any(backend.get_connection(conn_id=conn_id) is not None for backend in ensure_secrets_loaded())
