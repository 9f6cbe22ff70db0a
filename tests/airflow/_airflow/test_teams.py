"""Airflow with several teams: what belongs to one is found beside the database, where nobody says which team asks."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

import pytest
from airflow.models.variable import Variable

from airflow_provider_b24._airflow.variables import delete_variable, read_variable, update_variable
from airflow_provider_b24.hooks.connection import PortalConnection

KEY = "bitrix24_tokens_crm"

pytestmark = pytest.mark.skipif(
    "team_name" not in signature(Variable.set).parameters,
    reason="Variables know their teams since Airflow 3.2",
)


@pytest.fixture
def team(airflow_session: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from airflow.models.connection import Connection
    from airflow.models.team import Team
    from sqlalchemy import delete

    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    airflow_session.add(Team(name="sales"))
    airflow_session.commit()
    yield "sales"
    airflow_session.rollback()
    for model in (Connection, Variable, Team):
        airflow_session.execute(delete(model))
    airflow_session.commit()


def test_a_variable_that_a_task_of_a_team_has_written_is_read_changed_and_deleted(team: str) -> None:
    Variable.set(KEY, "tokens", team_name=team)

    assert read_variable(KEY) == "tokens"
    update_variable(KEY, lambda present: f"newer than {present}", "")
    assert Variable.get(KEY, team_name=team) == "newer than tokens"
    delete_variable(KEY)
    assert read_variable(KEY) is None


@pytest.mark.parametrize("owner", [None, "sales"])
def test_a_connection_is_found_whichever_team_owns_it(
    team: str, owner: str | None, airflow_session: Any
) -> None:
    from airflow.models.connection import Connection

    connection = Connection(
        conn_id="crm", conn_type="bitrix24", host="example.bitrix24.com", login="1", password="secret"
    )
    connection.team_name = owner
    airflow_session.add(connection)
    airflow_session.commit()

    assert PortalConnection.load("crm").portal_url == "https://example.bitrix24.com"
