"""The robots that Airflow has parsed, beside what the portal has registered."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_b24.testing.sandbox_connection import oauth_connection


@pytest.fixture
def application(connection: Any, bitrix: Any) -> None:
    """Make the connection one of an application, which may register robots."""
    connection(**oauth_connection(bitrix))


def registered(bitrix: Any) -> list[str]:
    """The codes of the robots that the portal has."""
    return [robot.code for robot in bitrix.robots]


def apply(browser: Any) -> Any:
    token = browser.token("plan?conn=bitrix24_default")
    return browser.post("plan", data={"conn": "bitrix24_default", "token": token})


class TestRobots:
    def test_there_are_none(self, olga, airflow_session):
        assert "Airflow has parsed no robot" in olga.get("robots").text

    def test_they_are_shown_with_their_calls(self, olga, called, work):
        called.set_run("failed")
        work.turn()
        page = olga.get("robots").text
        assert "Score the lead" in page
        assert "takes calls" in page
        assert 'since=24h">1</a>' in page
        assert '<span class="error">1</span>' in page

    def test_one_that_takes_no_calls_says_why(self, olga, robot, airflow_session):
        from airflow.models.dag import DagModel

        airflow_session.get(DagModel, "score_lead").is_stale = True
        airflow_session.commit()
        assert "the DAG is no longer in Airflow&#39;s DAG folder" in olga.get("robots").text

    def test_those_of_other_dags_are_not_shown(self, olga, robot, auth_manager, monkeypatch):
        monkeypatch.setattr(auth_manager, "is_authorized_dag", lambda **_: False)
        assert "Score the lead" not in olga.get("robots").text

    def test_a_viewer_has_no_plan(self, vera, robot):
        page = vera.get("robots").text
        assert "Score the lead" in page
        assert "plan?conn" not in page
        assert vera.get("plan?conn=bitrix24_default").status_code == 403
        assert vera.post("plan", data={"conn": "bitrix24_default"}).status_code == 403


class TestPlan:
    def test_shows_what_is_missing_and_applies_it(self, olga, robot, application, bitrix, audit):
        page = olga.get("plan?conn=bitrix24_default").text
        assert "missing" in page
        assert "PROPERTIES.model" in page
        assert registered(bitrix) == []
        assert "score_lead: done" in apply(olga).text
        assert registered(bitrix) == ["score_lead"]
        assert "Apply: 0" in olga.get("plan?conn=bitrix24_default").text
        assert [(entry.event, entry.owner) for entry in audit()] == [("bitrix24_robots_applied", "olga")]

    def test_shows_a_change_field_by_field(self, olga, robot, application, publish_dag, make_robot, bitrix):
        apply(olga)
        publish_dag(make_robot(description="Looks at the lead", on_failure={"score": -1.0}))
        page = olga.get("plan?conn=bitrix24_default").text
        assert "changed" in page
        assert "DESCRIPTION" in page
        assert "Looks at the lead" in page

    def test_deletes_nothing(self, olga, robot, application, bitrix, airflow_session):
        from airflow.models.dag import DagModel

        apply(olga)
        airflow_session.get(DagModel, "score_lead").is_stale = True
        airflow_session.commit()
        assert "registered, and no DAG here has it" in olga.get("plan?conn=bitrix24_default").text
        apply(olga)
        assert registered(bitrix) == ["score_lead"]

    def test_of_a_webhook_says_what_to_do(self, olga, robot):
        assert "incoming webhook" in olga.get("plan?conn=bitrix24_default").text

    def test_without_the_connection_shows_no_secret(self, olga, robot):
        page = olga.get("plan?conn=nowhere")
        assert (page.status_code, "The connection cannot be used" in page.text) == (200, True)

    def test_forged_is_not_applied(self, olga, robot, application, bitrix, audit):
        assert olga.post("plan", data={"conn": "bitrix24_default"}).status_code == 403
        assert (registered(bitrix), audit()) == ([], [])
