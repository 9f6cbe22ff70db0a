"""Airflow's connections: those in its metadata database, and whether there is one at all.

=======  ====================================================================================================
3.0 on   Airflow's public interface gives one connection by its id, and says that there is none also when a place
         where it looks is away. ``airflow.configuration.ensure_secrets_loaded`` gives these places.
=======  ====================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.models.connection import Connection


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
