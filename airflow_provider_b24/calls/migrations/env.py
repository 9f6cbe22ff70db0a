"""What Alembic runs: migrations with a version table of their own, in Airflow's database."""

from __future__ import annotations

from alembic import context

from airflow_provider_b24._airflow.database import engine
from airflow_provider_b24.calls.table import VERSION_TABLE, metadata


def _is_ours(_object: object, name: str | None, kind: str, *_: object) -> bool:
    return kind != "table" or name in metadata.tables


def _offline() -> None:
    context.configure(
        url=context.config.get_main_option("sqlalchemy.url"),
        target_metadata=metadata,
        literal_binds=True,
        version_table=VERSION_TABLE,
    )
    with context.begin_transaction():
        context.run_migrations()


def _online() -> None:
    with engine().connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            version_table=VERSION_TABLE,
            include_object=_is_ours,
            render_as_batch=connection.dialect.name == "sqlite",
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    _offline()
else:
    _online()
