"""Whether Airflow's metadata database is there, and how its absence shows."""

from __future__ import annotations


class DatabaseHangsError(Exception):
    """The database has not answered for so long that nobody waits any longer."""


def is_away(error: BaseException) -> bool:
    """Tell whether an error means that the database did not answer, or could not just now.

    What failed this way may have been done all the same, and may be tried again.
    """
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    if isinstance(error, (DatabaseHangsError, OperationalError, InterfaceError, PoolTimeoutError)):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated
