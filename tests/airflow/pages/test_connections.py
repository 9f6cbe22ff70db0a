"""Each connection to a portal: what is known of it without asking, and what ``doctor`` finds when somebody asks."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest

from airflow_provider_b24._airflow.database import writing
from airflow_provider_b24.calls.table import refusal_table
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import InstallationStore
from airflow_provider_b24.testing.sandbox_connection import oauth_connection

CONN_ID = "bitrix24_default"


def examine(browser: Any, conn_id: str = CONN_ID) -> Any:
    return browser.post("connections", data={"conn": conn_id, "token": browser.token("connections")})


@pytest.fixture
def application(connection: Any, bitrix: Any) -> None:
    """Make the connection one of an application that Ann, an administrator, has connected."""
    import dataclasses

    connection(**oauth_connection(bitrix))
    InstallationStore(PortalConnection.load(CONN_ID)).update(
        lambda before: dataclasses.replace(
            before,
            seed="",
            user_id="14",
            user_name="Ann Example",
            administrator=True,
            installed_at=dt.datetime.now(dt.UTC).timestamp() - 3600,
        )
    )


@pytest.fixture
def secrets(bitrix: Any) -> set[str]:
    """What no page may show."""
    application = bitrix.application
    return {
        bitrix.webhook.code,
        application.client_secret,
        application.application_token,
        application.access_token,
        application.refresh_token,
    }


class TestList:
    def test_there_are_none(self, olga, airflow_session):
        assert "There is no connection of type Bitrix24" in olga.get("connections").text

    def test_a_webhook_says_whose_it_is(self, olga, robot, bitrix, secrets):
        page = olga.get("connections").text
        assert bitrix.url in page
        assert "incoming webhook" in page
        assert f"user {bitrix.webhook.user_id}, who has made the webhook" in page
        assert not [secret for secret in secrets if secret in page]

    def test_an_application_says_who_connected_it(self, olga, application, secrets):
        page = olga.get("connections").text
        assert "Ann Example (user 14), an administrator then" in page
        assert "1 h" in page
        assert not [secret for secret in secrets if secret in page]

    def test_asks_no_portal(self, olga, application, bitrix):
        olga.get("connections")
        assert bitrix.requests == []

    def test_tells_of_its_calls(self, olga, called):
        page = olga.get("connections").text
        assert f"calls?conn={CONN_ID}" in page
        assert "1 call</a>" not in page
        called.change(answering="failure-answered", attempts=3)
        assert "1 call</a>" in olga.get("connections").text

    def test_counts_refused_posts_since_the_first_one(self, olga, robot):
        now = dt.datetime.now(dt.UTC)
        refused = {"conn_id": CONN_ID, "last_at": now, "message": "The application token is another one."}
        with writing() as session:
            session.execute(
                refusal_table.insert(),
                [
                    refused | {"error": "forbidden", "number": 1000, "first_at": now - dt.timedelta(days=60)},
                    refused | {"error": "malformed", "number": 1, "first_at": now},
                ],
            )
        assert re.search(
            rf"1,001 since <time[^>]*>{now - dt.timedelta(days=60):%Y-%m-%d}", olga.get("connections").text
        )

    def test_calls_of_dags_that_may_not_be_seen_do_not_count(self, olga, called, auth_manager, monkeypatch):
        called.change(answering="failure-answered", attempts=3)
        monkeypatch.setattr(auth_manager, "is_authorized_dag", lambda **_: False)
        page = olga.get("connections").text
        assert "none among the newest" in page
        assert "1 call</a>" not in page

    def test_tells_how_much_of_the_request_limit_is_used(self, olga, robot, monkeypatch, tmp_path):
        monkeypatch.setenv("AIRFLOW__BITRIX24__SHARED_LIMITS", str(tmp_path))
        examine(olga)
        page = olga.get("connections").text
        assert "of 50 places used now" in page
        monkeypatch.setenv("AIRFLOW__BITRIX24__SHARED_LIMITS", "process")
        assert "how many are used is not shared here" in olga.get("connections").text

    def test_one_that_cannot_be_used_says_why_and_spoils_no_other(self, olga, robot, connection):
        connection("broken", host="", login=None, password="not-to-be-shown")
        page = olga.get("connections").text
        assert "it has no host" in page
        assert "not-to-be-shown" not in page
        assert "incoming webhook" in page

    def test_one_that_only_a_robot_names_is_shown(self, olga, publish_dag, make_robot):
        publish_dag(make_robot(conn_id="elsewhere"))
        page = olga.get("connections").text
        assert "elsewhere" in page
        assert "Airflow finds no such connection" in page


class TestDoctor:
    def test_says_what_it_finds_and_is_on_record(self, olga, robot, bitrix, audit, secrets):
        page = examine(olga).text
        assert "Permitted: " in page
        assert "Operating time: at most" in page
        assert "<b>To register robots, add a local application" in page
        assert bitrix.requests != []
        assert not [secret for secret in secrets if secret in page]
        [entry] = audit()
        assert (entry.event, entry.owner, CONN_ID in entry.extra) == (
            "bitrix24_connection_examined",
            "olga",
            True,
        )

    def test_compares_the_robots_that_airflow_has_parsed(self, olga, robot, application, monkeypatch):
        from airflow_provider_b24.robots import dags_folder

        monkeypatch.setattr(dags_folder, "read_dag_files", lambda _: pytest.fail("DAG files are read"))
        assert "1 not registered" in examine(olga).text

    def test_of_a_portal_that_does_not_answer(self, olga, robot, connection):
        connection(host="http://127.0.0.1:9")
        assert "does not answer as a portal does" in examine(olga).text

    def test_of_a_connection_that_cannot_be_found(self, olga, robot):
        page = examine(olga, "nowhere")
        assert (page.status_code, "docs/installation.md" in page.text) == (200, True)


class TestRights:
    def test_a_viewer_sees_no_connection(self, vera, robot, bitrix):
        page = vera.get("connections")
        assert page.status_code == 200
        assert bitrix.url not in page.text

    def test_who_may_see_but_not_edit_runs_no_doctor(
        self, olga, robot, bitrix, auth_manager, audit, monkeypatch
    ):
        token = olga.token("connections")
        monkeypatch.setattr(auth_manager, "is_authorized_connection", lambda *, method, **_: method == "GET")
        page = olga.get("connections").text
        assert bitrix.url in page
        assert "Run doctor" not in page
        assert olga.post("connections", data={"conn": CONN_ID, "token": token}).status_code == 403
        assert (bitrix.requests, audit()) == ([], [])

    @pytest.mark.parametrize("token", ["", "nonsense"])
    def test_a_forged_form_runs_no_doctor(self, olga, robot, bitrix, audit, token):
        assert olga.post("connections", data={"conn": CONN_ID, "token": token}).status_code == 403
        assert (bitrix.requests, audit()) == ([], [])
