"""Variables beside a real metadata database: nothing that is written at the same time gets lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_b24._airflow.variables import delete_variable, read_variable, update_variable

KEY = "bitrix24_installation_crm"


pytestmark = pytest.mark.parametrize(
    "metadata_database", ["sqlite", "postgresql"], indirect=True, scope="module"
)


@pytest.fixture(autouse=True)
def _nothing_stored(metadata_database):
    delete_variable(KEY)
    yield
    delete_variable(KEY)


def add_one(present: str | None) -> str:
    return str(int(present or 0) + 1)


def test_a_value_is_written_encrypted_read_and_deleted(airflow_session):
    from airflow.models.variable import Variable

    assert read_variable(KEY) is None
    update_variable(KEY, lambda present: "a secret" if present is None else "wrong", "what it is")
    assert read_variable(KEY) == "a secret"
    row = airflow_session.query(Variable).filter_by(key=KEY).one()
    assert (row.is_encrypted, row.description) == (True, "what it is")
    assert "secret" not in row._val
    delete_variable(KEY)
    delete_variable(KEY)
    assert read_variable(KEY) is None


def test_changes_at_the_same_time_all_count():
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: update_variable(KEY, add_one, ""), range(80)))
    assert read_variable(KEY) == "80"


def test_nothing_is_written_where_the_change_gives_nothing_or_fails():
    def fail(present: str | None) -> str:
        raise ValueError(present)

    update_variable(KEY, lambda _: "first", "")
    update_variable(KEY, lambda _: None, "")
    with pytest.raises(ValueError, match="first"):
        update_variable(KEY, fail, "")
    assert read_variable(KEY) == "first"
    update_variable(KEY, lambda present: f"{present}, second", "")
    assert read_variable(KEY) == "first, second"


def test_what_a_caller_has_begun_is_not_committed():
    """Airflow's own session is shared by all code of a thread."""
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    update_variable(KEY, lambda _: "stored", "")
    with create_session() as session:
        session.query(Variable).filter_by(key="nobodys").all()
        update_variable(KEY, lambda _: "stored again", "")
        session.add(Variable(key="begun", val="x"))
        session.flush()
        session.rollback()
    assert read_variable("begun") is None
    assert read_variable(KEY) == "stored again"
