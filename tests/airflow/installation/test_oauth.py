"""An Airflow user connects an application from Airflow: to the portal and back."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.testclient import TestClient

from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import InstallationStore
from airflow_provider_b24.sandbox import AnswerStatus, SandboxPortal

CONN_ID = "crm"


@pytest.fixture
def sign_in(auth_manager: Any, served: str) -> Iterator[Callable[..., httpx.Client]]:
    """Give a browser in which somebody is signed in."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    browsers = []

    def sign_in(name: str | None = "olga", role: str = "OP", seconds: int = 60) -> httpx.Client:
        browser = httpx.Client(base_url=served, timeout=20)
        browsers.append(browser)
        if name is not None:
            user = SimpleAuthManagerUser(username=name, role=role)
            browser.cookies.set("_token", auth_manager.generate_jwt(user, expiration_time_in_seconds=seconds))
        return browser

    yield sign_in
    for browser in browsers:
        browser.close()


def back_from_the_portal(bitrix: SandboxPortal, browser: httpx.Client, conn_id: str = CONN_ID) -> str:
    """Begin a sign-in, let the application in at the portal, and give the address that the portal sends people to."""
    bitrix.application.redirect_uri = str(browser.base_url.join(f"/{conn_id}/oauth/callback"))
    begun = confirm(browser, conn_id)
    assert begun.status_code == 303, begun.text
    return browser.get(begun.headers["location"]).headers["location"]


def confirm(browser: httpx.Client, conn_id: str = CONN_ID) -> httpx.Response:
    """Do what the page asks for that a sign-in begins with."""
    return browser.post(f"/{conn_id}/oauth/start", data={"confirmation": confirmation_in(browser, conn_id)})


def confirmation_in(browser: httpx.Client, conn_id: str = CONN_ID) -> str:
    page = browser.get(f"/{conn_id}/oauth/start")
    assert page.status_code == 200, page.text
    return page.text.partition('name="confirmation" value="')[2].partition('"')[0]


class TestSignIn:
    def test_leads_to_the_portal_and_back(
        self, bitrix, connect, sign_in, stored, stored_tokens, nothing_leaks
    ):
        connect()
        browser = sign_in()
        begun = confirm(browser)
        target = urlsplit(begun.headers["location"])
        assert f"{target.scheme}://{target.netloc}{target.path}" == f"{bitrix.url}/oauth/authorize/"
        query = parse_qs(target.query)
        assert set(query) == {"client_id", "state"}
        assert query["client_id"] == [bitrix.application.client_id]
        answer = browser.get(back_from_the_portal(bitrix, browser))
        assert answer.status_code == 200
        assert "Ada Admin" in answer.text
        assert stored_tokens().access_token == bitrix.application.access_token
        assert stored().member_id == bitrix.member_id
        assert answer.headers["content-security-policy"].endswith("frame-ancestors 'none'")
        assert answer.headers["referrer-policy"] == "no-referrer"
        nothing_leaks(answer.text, begun.headers["location"])

    def test_brings_the_application_token_by_a_test_event(self, bitrix, connect, sign_in, stored):
        connect()
        browser = sign_in()
        browser.get(back_from_the_portal(bitrix, browser))
        bitrix.wait_until(lambda: [one.status for one in bitrix.event_calls] == [200])
        assert stored().application_token == bitrix.application.application_token
        # Known now: the next sign-in has nothing to ask for.
        browser.get(back_from_the_portal(bitrix, browser))
        assert len(bitrix.event_calls) == 1

    def test_ends_at_the_one_address_of_the_application_card_as_well(
        self, bitrix, connect, sign_in, stored_tokens
    ):
        connect()
        browser = sign_in()
        address = back_from_the_portal(bitrix, browser).replace("/oauth/callback", "/install")
        assert browser.get(address).status_code == 200
        assert stored_tokens() is not None

    def test_of_somebody_who_is_not_signed_in_leads_to_airflows_sign_in_page(self, connect, sign_in, served):
        connect()
        begun = sign_in(None).get(f"/{CONN_ID}/oauth/start")
        assert begun.status_code == 302
        target = urlsplit(begun.headers["location"])
        assert target.path == "/auth/login"
        assert parse_qs(target.query) == {"next": [f"{served}/{CONN_ID}/oauth/start"]}

    @pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
    def test_with_a_forged_cookie_leads_there_too(self, connect, sign_in, token):
        connect()
        browser = sign_in(None)
        browser.cookies.set("_token", token)
        assert "/auth/login" in browser.get(f"/{CONN_ID}/oauth/start").headers["location"]

    def test_is_for_those_who_may_edit_connections(self, bitrix, connect, sign_in, stored):
        connect()
        viewer = sign_in("vera", "VIEWER")
        assert viewer.get(f"/{CONN_ID}/oauth/start").status_code == 403
        assert viewer.get("/nobody/oauth/start").status_code == 403
        address = back_from_the_portal(bitrix, sign_in())
        assert viewer.get(address).status_code == 403
        assert stored() is None

    def test_begun_by_another_user_is_refused(self, bitrix, connect, sign_in, stored, tokens_asked):
        connect()
        address = back_from_the_portal(bitrix, sign_in("olga"))
        refused = sign_in("otto").get(address)
        assert refused.status_code == 403
        assert "another user" in refused.text
        assert stored() is None
        assert tokens_asked() == 0

    def test_that_ends_in_a_browser_without_sign_in_is_refused(
        self, bitrix, connect, sign_in, stored, tokens_asked
    ):
        connect()
        refused = sign_in(None).get(back_from_the_portal(bitrix, sign_in()))
        assert refused.status_code == 401
        assert stored() is None
        assert tokens_asked() == 0

    def test_for_another_connection_is_refused(
        self, bitrix, connect, sign_in, stored, airflow_session, tokens_asked
    ):
        from airflow.models.connection import Connection

        connect()
        extra = PortalConnection.load(CONN_ID).credentials
        airflow_session.add(
            Connection(
                conn_id="crm2",
                conn_type="bitrix24",
                host=bitrix.url,
                extra=json.dumps({"client_id": extra.client_id, "client_secret": extra.client_secret}),
            )
        )
        airflow_session.commit()
        browser = sign_in()
        address = back_from_the_portal(bitrix, browser)
        assert browser.get(address.replace("/crm/", "/crm2/")).status_code == 403
        assert tokens_asked() == 0

    def test_with_a_forged_state_is_refused(self, bitrix, connect, sign_in, stored, tokens_asked):
        connect()
        browser = sign_in()
        address = httpx.URL(back_from_the_portal(bitrix, browser))
        state = address.params["state"]
        for forged in ("nonsense", state[:-2] + "xx", state + "x"):
            refused = browser.get(address.copy_set_param("state", forged))
            assert refused.status_code == 403, forged
            assert forged not in refused.text
        for missing in ("code", "state"):
            assert browser.get(address.copy_remove_param(missing)).status_code == 400
        assert stored() is None
        assert tokens_asked() == 0

    def test_that_takes_too_long_is_refused(self, bitrix, connect, sign_in, stored, monkeypatch):
        connect()
        browser = sign_in(seconds=3600)
        address = back_from_the_portal(bitrix, browser)
        now = time.time
        monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now() + 601)
        refused = browser.get(address)
        assert refused.status_code == 410
        assert stored() is None

    def test_with_a_code_of_another_application_is_refused(self, bitrix, connect, sign_in, stored):
        connect()
        browser = sign_in()
        address = httpx.URL(back_from_the_portal(bitrix, browser))
        foreign = bitrix.callers.tokens.create_code(bitrix.create_application(), 1)
        assert browser.get(address.copy_set_param("code", foreign)).status_code == 403
        assert stored() is None

    def test_with_a_spent_code_is_refused(self, bitrix, connect, sign_in):
        connect()
        browser = sign_in()
        address = back_from_the_portal(bitrix, browser)
        assert browser.get(address).status_code == 200
        assert browser.get(address).status_code == 403

    def test_to_another_portal_is_refused(self, bitrix, connect, sign_in, stored):
        connect(member_id="the-connections-own")
        browser = sign_in()
        assert browser.get(back_from_the_portal(bitrix, browser)).status_code == 409
        assert stored() is None

    def test_of_an_employee_says_what_will_not_work(self, bitrix, connect, sign_in, stored):
        connect()
        browser = sign_in()
        address = httpx.URL(back_from_the_portal(bitrix, browser))
        code = bitrix.callers.tokens.create_code(bitrix.application, 2)
        answer = browser.get(address.copy_set_param("code", code))
        assert answer.status_code == 200
        assert "no administrator" in answer.text

    @pytest.mark.parametrize("known", [True, False])
    def test_of_an_employee_does_not_replace_an_administrators_tokens(
        self, bitrix, connect, sign_in, stored, stored_tokens, known
    ):
        """Whether it is known whose they are, or the portal must say it."""
        connect()
        browser = sign_in()
        browser.get(back_from_the_portal(bitrix, browser))
        bitrix.wait_until(lambda: [one.status for one in bitrix.event_calls] == [200])
        if not known:
            InstallationStore(PortalConnection.load(CONN_ID)).update(
                lambda before: dataclasses.replace(before, administrator=None)
            )
        before, tokens = stored(), stored_tokens()
        address = httpx.URL(back_from_the_portal(bitrix, browser))
        code = bitrix.callers.tokens.create_code(bitrix.application, 2)
        refused = browser.get(address.copy_set_param("code", code))
        assert refused.status_code == 403
        assert "--replace-administrator" in refused.text
        assert (stored(), stored_tokens()) == (before, tokens)

    def test_of_an_employee_replaces_tokens_that_are_dead_and_nobody_knows_whose(
        self, bitrix, connect, sign_in, stored
    ):
        connect(access_token="spent", refresh_token="spent-too")
        browser = sign_in()
        address = httpx.URL(back_from_the_portal(bitrix, browser))
        code = bitrix.callers.tokens.create_code(bitrix.application, 2)
        assert browser.get(address.copy_set_param("code", code)).status_code == 200
        assert stored().administrator is False

    def test_of_an_employee_replaces_an_employees(self, bitrix, connect, sign_in, stored):
        connect()
        browser = sign_in()
        for _ in range(2):
            address = httpx.URL(back_from_the_portal(bitrix, browser))
            code = bitrix.callers.tokens.create_code(bitrix.application, 2)
            assert browser.get(address.copy_set_param("code", code)).status_code == 200
        assert stored().user_name == "Emil Employee"

    def test_says_what_the_portal_did_not_let_it_do(self, bitrix, connect, sign_in, stored):
        connect()
        browser = sign_in()
        address = back_from_the_portal(bitrix, browser)
        bitrix.faults.add(AnswerStatus(403, "ACCESS_DENIED"), method="event.bind", times=2)
        answer = browser.get(address)
        assert answer.status_code == 200
        assert "Robot calls will be refused until an application_token is known" in answer.text

    def test_begun_in_a_terminal_is_sent_back_to_it(self, bitrix, connect, sign_in, served, tokens_asked):
        connect()
        answer = sign_in(None).get(
            f"/{CONN_ID}/install", params={"code": "the-code", "state": "terminal.abc"}
        )
        assert answer.status_code == 200
        assert "paste it into the terminal" in answer.text
        assert "the-code" not in answer.text
        assert tokens_asked() == 0

    def test_of_a_webhook_or_of_nothing_is_refused(self, bitrix, connect, sign_in):
        connect(host=bitrix.webhook.url, client_id=None)
        assert sign_in().get(f"/{CONN_ID}/oauth/start").status_code == 409
        assert sign_in().get("/nobody/oauth/start").status_code == 404

    def test_does_not_end_by_post(self, connect, sign_in):
        connect()
        assert sign_in().post(f"/{CONN_ID}/oauth/callback").status_code == 405


class TestConfirmation:
    """One click on a foreign link must connect nothing."""

    def test_tells_who_connects_what(self, bitrix, connect, sign_in):
        connect()
        page = sign_in().get(f"/{CONN_ID}/oauth/start")
        assert page.status_code == 200
        for told in ("signed in to Airflow as olga", f"connection {CONN_ID} ", bitrix.host):
            assert told in page.text
        assert page.headers["content-security-policy"].endswith("frame-ancestors 'none'")
        assert page.headers["cache-control"] == "no-store"
        assert "<script" not in page.text

    @pytest.mark.parametrize("forged", ["", "nonsense", "a.b.c"])
    def test_that_is_forged_is_refused(self, bitrix, connect, sign_in, forged):
        connect()
        refused = sign_in().post(f"/{CONN_ID}/oauth/start", data={"confirmation": forged})
        assert refused.status_code == 403
        assert "location" not in refused.headers
        assert sign_in().post(f"/{CONN_ID}/oauth/start").status_code == 403

    def test_of_another_user_is_refused(self, connect, sign_in):
        connect()
        confirmation = confirmation_in(sign_in("otto"))
        refused = sign_in("olga").post(f"/{CONN_ID}/oauth/start", data={"confirmation": confirmation})
        assert refused.status_code == 403

    def test_for_another_connection_is_refused(self, bitrix, connect, sign_in, airflow_session):
        from airflow.models.connection import Connection

        connect()
        original = airflow_session.query(Connection).filter_by(conn_id=CONN_ID).one()
        airflow_session.add(
            Connection(conn_id="crm2", conn_type="bitrix24", host=original.host, extra=original.extra)
        )
        airflow_session.commit()
        browser = sign_in()
        confirmation = confirmation_in(browser)
        assert browser.post("/crm2/oauth/start", data={"confirmation": confirmation}).status_code == 403

    def test_is_no_state_and_a_state_is_no_confirmation(self, bitrix, connect, sign_in, tokens_asked):
        connect()
        browser = sign_in()
        address = httpx.URL(back_from_the_portal(bitrix, browser))
        state = address.params["state"]
        assert browser.post(f"/{CONN_ID}/oauth/start", data={"confirmation": state}).status_code == 403
        assert browser.get(address.copy_set_param("state", confirmation_in(browser))).status_code == 403
        assert tokens_asked() == 0

    def test_that_takes_too_long_is_refused(self, connect, sign_in, monkeypatch):
        connect()
        browser = sign_in(seconds=3600)
        confirmation = confirmation_in(browser)
        now = time.time
        monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now() + 601)
        refused = browser.post(f"/{CONN_ID}/oauth/start", data={"confirmation": confirmation})
        assert refused.status_code == 410

    def test_is_for_those_who_are_signed_in_and_may_edit_connections(self, connect, sign_in):
        connect()
        confirmation = confirmation_in(sign_in())
        form = {"confirmation": confirmation}
        assert sign_in(None).post(f"/{CONN_ID}/oauth/start", data=form).status_code == 401
        assert sign_in("vera", "VIEWER").post(f"/{CONN_ID}/oauth/start", data=form).status_code == 403


def test_a_user_of_the_whole_api_server_is_recognized(bitrix, connect, auth_manager, monkeypatch):
    """As it is mounted: behind Airflow's own middlewares, with its sign-in page beside it."""
    from airflow.api_fastapi.app import create_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    connect()
    api_server = TestClient(create_app(apps="core"), base_url="http://testserver", follow_redirects=False)
    begun = api_server.get(f"/bitrix24/{CONN_ID}/oauth/start")
    login = api_server.get(begun.headers["location"])
    assert login.status_code == 200
    user = SimpleAuthManagerUser(username="olga", role="OP")
    api_server.cookies.set("_token", auth_manager.generate_jwt(user, expiration_time_in_seconds=60))
    page = api_server.get(f"/bitrix24/{CONN_ID}/oauth/start")
    confirmation = page.text.partition('name="confirmation" value="')[2].partition('"')[0]
    begun = api_server.post(f"/bitrix24/{CONN_ID}/oauth/start", data={"confirmation": confirmation})
    assert begun.headers["location"].startswith(f"{bitrix.url}/oauth/authorize/?client_id=")
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    code = bitrix.callers.tokens.create_code(bitrix.application, 1)
    answer = api_server.get(f"/bitrix24/{CONN_ID}/oauth/callback", params={"code": code, "state": state})
    assert answer.status_code == 200
    assert "x-frame-options" not in answer.headers
