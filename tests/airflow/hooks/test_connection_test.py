"""Airflow's Test button tries a copy of a connection, and leaves the connection as good as it was."""

from __future__ import annotations

import json

import pytest
from airflow.api_fastapi import app as api_server
from starlette.testclient import TestClient

from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

CONN_ID = "crm"


@pytest.fixture
def press(metadata_database, api_server_secrets, no_auth_manager, bitrix, monkeypatch):
    """Press the button in a form that holds this connection, and give what Airflow shows."""
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    browser = TestClient(api_server.create_app(apps="core"), base_url="http://testserver")
    browser.headers["Authorization"] = f"Bearer {browser.get('/auth/token').json()['access_token']}"

    def press(conn_id=CONN_ID, host=None, **extra):
        given = {
            "client_id": bitrix.application.client_id,
            "client_secret": bitrix.application.client_secret,
            "oauth_server": bitrix.url,
        } | extra
        form = {"connection_id": conn_id, "conn_type": "bitrix24", "host": host or bitrix.url}
        answer = browser.post("/api/v2/connections/test", json=form | {"extra": json.dumps(given)})
        assert answer.status_code == 200, answer.text
        return answer.json()["status"], answer.json()["message"]

    return press


def tokens_of(bitrix):
    pair = bitrix.application.issue_tokens()
    return {"access_token": pair.access_token, "refresh_token": pair.refresh_token}


def works(conn_id=CONN_ID):
    with Bitrix24Hook(conn_id) as hook:
        return bool(hook.call("app.info"))


def test_an_application_that_works_is_named(bitrix, connect, press):
    connect(**(tokens := tokens_of(bitrix)))
    status, message = press(**tokens)
    assert (status, bitrix.application.client_id in message) == (True, True)


def test_tokens_that_have_expired_are_renewed_for_the_connection_and_not_for_its_copy(
    bitrix, connect, press, stored_tokens
):
    connect(**(tokens := tokens_of(bitrix)))
    bitrix.clock.advance(7200)
    assert press(**tokens)[0] is True
    assert stored_tokens().refresh_token != tokens["refresh_token"]
    assert works()
    bitrix.clock.advance(7200)
    assert press(**tokens)[0] is True
    assert works()


def test_an_application_whose_tokens_came_with_the_installation_is_tested_with_them(
    bitrix, connect, press, served, stored
):
    connect()
    bitrix.send_install_event(f"{served}/{CONN_ID}/events").wait()
    bitrix.clock.advance(7200)
    assert press()[0] is True
    assert works()


def test_of_several_connections_the_one_with_rotated_tokens_is_meant(bitrix, connect, press, airflow_session):
    from airflow.models.connection import Connection

    connect(**(tokens := tokens_of(bitrix)))
    original = airflow_session.query(Connection).filter_by(conn_id=CONN_ID).one()
    airflow_session.add(
        Connection(conn_id="a_twin", conn_type="bitrix24", host=original.host, extra=original.extra)
    )
    airflow_session.commit()
    bitrix.clock.advance(7200)
    assert works()
    assert press(**tokens)[0] is True
    assert works()


def test_tokens_of_a_connection_that_is_not_saved_are_tried_and_not_renewed(
    bitrix, connect, press, airflow_session
):
    from airflow.models.variable import Variable

    connect(client_id="another.application")
    tokens = tokens_of(bitrix)
    assert press("unsaved", **tokens)[0] is True
    bitrix.clock.advance(7200)
    status, message = press("unsaved", **tokens)
    assert status is False
    assert "save it" in message
    assert tokens["refresh_token"] not in message
    assert airflow_session.query(Variable).all() == []
    connect(**tokens)
    assert works(), "the refresh token was not spent"


def test_an_application_that_was_never_connected_says_so(bitrix, connect, press):
    connect()
    status, message = press()
    assert (status, "No tokens are stored" in message) == (False, True)


def test_a_webhook_that_works_names_its_user(bitrix, connect, press):
    connect()
    status, message = press("hook", host=bitrix.webhook.url, client_id="", client_secret="", oauth_server="")
    assert (status, "as user 1 (Ada" in message) == (True, True), message


def test_the_hook_itself_says_what_is_wrong_and_raises_nothing(bitrix, connect, database_away):
    connect(**tokens_of(bitrix))
    assert Bitrix24Hook("nobody").test_connection() == (False, "The conn_id `nobody` isn't defined")
    with database_away():
        status, message = Bitrix24Hook(CONN_ID).test_connection()
    assert status is False
    assert "SELECT" not in message
