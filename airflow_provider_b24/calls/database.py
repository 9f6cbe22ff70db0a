"""Making and upgrading the provider's tables: with ``airflow db migrate``, or by the API server at its start.

Airflow finds :class:`CallsDBManager` by the provider key ``db-managers`` (3.2 and later), or by
``[database] external_db_managers``. Where neither made the tables, an API server or a dispatcher makes them itself,
once, however many start.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_b24._airflow.database import migrating
from airflow_provider_b24._airflow.own_tables import TablesManager
from airflow_provider_b24.calls.table import VERSION_TABLE, metadata

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent / "migrations"
_TRIES = 60
_PAUSE = 1.0


class CallsDBManager(TablesManager):
    """Makes, upgrades and drops the tables ``bitrix24_call`` and ``bitrix24_refusal``."""

    metadata = metadata
    version_table_name = VERSION_TABLE
    migration_dir = str(_FOLDER)
    alembic_file = str(_FOLDER / "alembic.ini")


def is_current(session: Session) -> bool:
    """Tell whether the tables are there and as new as this package.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    return bool(CallsDBManager(session).check_migration())


def make_tables(tries: int = _TRIES) -> None:
    """Make or upgrade the tables where that was not done before; several may try at the same time.

    :param tries: how often, a second apart: another process may be at it.
    :raises sqlalchemy.exc.SQLAlchemyError: when it does not work; says what to do in the log.
    """
    from sqlalchemy.exc import SQLAlchemyError

    for left in reversed(range(tries)):
        try:
            with migrating() as session:
                if is_current(session):
                    return
                log.info("Making or upgrading the tables of airflow-provider-b24 in Airflow's database.")
                CallsDBManager(session).upgradedb()
                return
        except SQLAlchemyError as error:
            if not left:
                log.error(
                    "The tables of airflow-provider-b24 cannot be made (%s). Calls are kept in the spool folder "
                    "meanwhile. Run `airflow db migrate` as a user who may create tables.",
                    type(error).__name__,
                )
                raise
            time.sleep(_PAUSE)
