"""Sessions of the provider's own in Airflow's database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_b24._airflow.database import reading, writing


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.engine.Engine]:
    """A SQLite database in the place of Airflow's, with one connection in its pool."""
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'airflow.db'}",
        future=True,
        poolclass=sa.pool.QueuePool,
        pool_size=1,
        max_overflow=0,
    )
    monkeypatch.setattr("airflow.settings.engine", engine)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE kept (number INTEGER)"))
    yield engine
    engine.dispose()


def insert(session: sa.orm.Session, number: int) -> None:
    session.execute(sa.text("INSERT INTO kept VALUES (:number)"), {"number": number})


def kept(engine: sa.engine.Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.text("SELECT number FROM kept")))


def test_what_is_written_is_committed_unless_the_block_fails(engine: sa.engine.Engine) -> None:
    with writing() as session:
        insert(session, 1)
    with pytest.raises(sa.exc.StatementError), writing() as session:
        session.execute(sa.text("INSERT INTO kept VALUES (2), (:missing)"))
    with reading() as session:
        insert(session, 3)

    assert kept(engine) == [1]


@pytest.mark.parametrize("fails", [False, True])
def test_a_connection_goes_back_as_patient_as_it_was(engine: sa.engine.Engine, fails: bool) -> None:
    def patience(connection: sa.engine.Connection | sa.orm.Session) -> int:
        return int(connection.execute(sa.text("PRAGMA busy_timeout")).scalar_one())

    with engine.connect() as connection:
        before = patience(connection)
    try:
        with writing() as session:
            during = patience(session)
            insert(session, 1 // (not fails))
    except ZeroDivisionError:
        assert fails

    with engine.connect() as connection:
        assert patience(connection) == before < during
