"""What tables of our own in Airflow's database need of Airflow: their manager, and its type for instants.

=======  ====================================================================================================
3.0      ``downgrade(to_version, from_version)``; managers are named in ``[database] external_db_managers`` only
3.1      ``downgrade(to_revision, from_revision)``
3.0-3.1  an upgrade runs the migrations also where there are tables without a version, and fails; later it does as here
3.2      the provider key ``db-managers``; ``use_migration_files`` when tables are made
3.4      asks ``get_required_table_names()``
=======  ====================================================================================================

``UtcDateTime`` is the same in all. Migrations do not use it: what they make must not change with Airflow.
The names of 3.0 may go when the provider needs 3.1, the upgrade when it needs 3.2.
"""

from __future__ import annotations

from typing import Any

from airflow.utils.db_manager import BaseDBManager
from airflow.utils.sqlalchemy import UtcDateTime

from airflow_provider_b24._airflow.versions import airflow_version

__all__ = ["TablesManager", "UtcDateTime"]


class TablesManager(BaseDBManager):
    """Makes, upgrades and drops tables of ours, whichever version of Airflow asks."""

    supports_table_dropping = True

    def upgradedb(self, to_revision: str | None = None, *others: Any, **named: Any) -> None:
        """Upgrade the tables; make them, or what is missing, where they have no version.

        :param to_revision: to which revision, by the migrations; the newest by default.
        """
        only_shown = any(others) or any(named.values())
        if (
            airflow_version() < (3, 2)
            and to_revision is None
            and not only_shown
            and not self.get_current_revision()
        ):
            self.create_db_from_orm()
        else:
            super().upgradedb(to_revision, *others, **named)  # type: ignore[no-untyped-call]

    def downgrade(self, *revisions: Any, show_sql_only: bool = False, **named: Any) -> None:
        """Downgrade the tables.

        :param revisions: to which revision, and from which; called ``to_version`` before Airflow 3.1.
        :param show_sql_only: print the statements instead.
        """
        from alembic import command

        to = revisions[0] if revisions else named.get("to_revision", named.get("to_version"))
        command.downgrade(self.get_alembic_config(), revision=str(to), sql=show_sql_only)

    @classmethod
    def get_required_table_names(cls) -> set[str]:
        """Name the tables that must be there."""
        return {*cls.metadata.tables, cls.version_table_name}
