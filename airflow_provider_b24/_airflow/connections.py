"""The connections in Airflow's metadata database. The same in 3.0 to 3.4."""

from __future__ import annotations

CONN_TYPE = "bitrix24"


def portal_conn_ids() -> list[str]:
    """Name the connections to portals that are in the database; others may be in the environment or elsewhere.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    from airflow.models.connection import Connection
    from sqlalchemy import select

    from airflow_provider_b24._airflow.database import reading

    with reading() as session:
        return list(session.scalars(select(Connection.conn_id).where(Connection.conn_type == CONN_TYPE)))
