"""An application is installed, connected and uninstalled: against a real metadata database and a portal over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.testclient import TestClient

from airflow_provider_b24.exceptions import AuthError
from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.sandbox import AnswerStatus, SandboxPortal

CONN_ID = "crm"


@pytest.fixture
def events(served: str) -> str:
    return f"{served}/{CONN_ID}/events"


@pytest.fixture
def install_page(served: str) -> str:
    return f"{served}/{CONN_ID}/install"


def tokens_asked(portal: SandboxPortal) -> int:
    return sum(request.method == "oauth.token" for request in portal.requests)


def install_form(portal: SandboxPortal, **changes: str | None) -> dict[str, str]:
    pair = portal.application.issue_tokens()
    form: dict[str, str | None] = {
        "event": "ONAPPINSTALL",
        "ts": str(int(time.time())),
        "auth[access_token]": pair.access_token,
        "auth[refresh_token]": pair.refresh_token,
        "auth[member_id]": portal.member_id,
        "auth[application_token]": portal.application.application_token,
        "auth[domain]": portal.host,
        "auth[client_endpoint]": f"{portal.url}/rest/",
    }
    return {name: value for name, value in (form | changes).items() if value is not None}


class TestInstallEvent:
    def test_brings_tokens_and_the_application_token(self, bitrix, connect, events, stored, nothing_leaks):
        connect()
        call = bitrix.send_install_event(events).wait()
        assert (call.status, call.answer) == (200, '{"installed":true}')
        installation = stored()
        assert installation.member_id == bitrix.member_id
        assert installation.application_token == bitrix.application.application_token
        assert installation.tokens.access_token == bitrix.application.access_token
        assert installation.tokens.refresh_token == bitrix.application.refresh_token
        assert installation.event_time == float(call.fields["ts"])
        with Bitrix24Hook(CONN_ID) as hook:
            assert hook.call("app.info")["CODE"] == bitrix.application.client_id
        nothing_leaks(call.answer)

    def test_makes_what_was_posted_worthless(self, bitrix, connect, events):
        connect()
        posted = bitrix.send_install_event(events).wait().fields["auth"]
        assert posted["refresh_token"] != bitrix.application.refresh_token
        assert bitrix.send_install_event(events).wait().status == 200
        form = install_form(bitrix) | {"auth[refresh_token]": posted["refresh_token"]}
        refused = httpx.post(events, data=form)
        assert (refused.status_code, refused.json()["error"]) == (403, "not_granted")

    def test_lets_robots_call(self, bitrix, connect, events, publish_dag, make_robot, runs, call_fields):
        connect()
        publish_dag(make_robot(conn_id=CONN_ID))
        route = events.replace("/events", "/robots/score_lead")
        genuine = call_fields | {
            "auth[application_token]": bitrix.application.application_token,
            "auth[member_id]": bitrix.member_id,
        }
        assert httpx.post(route, data=genuine).status_code == 403
        bitrix.send_install_event(events).wait()
        assert httpx.post(route, data=genuine).status_code == 202
        assert httpx.post(route, data=genuine | {"auth[member_id]": "other"}).status_code == 403
        assert len(runs()) == 1
        bitrix.send_uninstall_event(events).wait()
        assert httpx.post(route, data=genuine | {"event_token": "another|A|1.x"}).status_code == 403
        assert len(runs()) == 1

    def test_has_the_portal_tell_of_the_uninstallation(self, bitrix, connect, events):
        connect()
        bitrix.send_install_event(events).wait()
        bitrix.send_install_event(events).wait()
        bound = [(one.event, one.handler) for one in bitrix.events.bindings()]
        assert bound == [("ONAPPUNINSTALL", events)]

    def test_may_be_posted_to_the_one_address_of_the_application_card(
        self, bitrix, connect, install_page, stored
    ):
        connect()
        call = bitrix.send_install_event(install_page).wait()
        assert (call.status, call.answer) == (200, '{"installed":true}')
        assert stored().tokens is not None

    def test_of_an_update_is_an_installation(self, bitrix, connect, events, stored):
        connect()
        form = install_form(bitrix, event="ONAPPUPDATE", **{"auth[application_token]": "the-new-one"})
        assert httpx.post(events, data=form).status_code == 200
        assert stored().application_token == "the-new-one"

    def test_that_comes_late_with_an_expired_access_token_is_accepted(self, bitrix, connect, events, stored):
        connect()
        form = install_form(bitrix)
        bitrix.expire_access_tokens()
        assert httpx.post(events, data=form, timeout=20).status_code == 200
        assert stored().tokens.access_token == bitrix.application.access_token

    def test_replaces_the_tokens_in_the_connection(self, bitrix, connect, events, stored):
        pair = bitrix.application.issue_tokens()
        connect(access_token=pair.access_token, refresh_token=pair.refresh_token)
        bitrix.send_install_event(events).wait()
        tokens = stored().tokens_beside(PortalConnection.load(CONN_ID).tokens)
        assert tokens.access_token == bitrix.application.access_token


class TestForgedInstallEvent:
    """An attacker knows the address, and chooses the application token."""

    def refused(self, events: str, form: dict[str, str]) -> tuple[int, str]:
        answer = httpx.post(events, data=form, timeout=20)
        return answer.status_code, answer.json()["error"]

    def test_with_invented_tokens(self, bitrix, connect, events, stored):
        connect()
        invented = {"auth[access_token]": "a" * 32, "auth[refresh_token]": "r" * 32}
        assert self.refused(events, install_form(bitrix) | invented) == (403, "not_granted")
        assert stored() is None
        # Nobody can make this Airflow pester the authorization server.
        assert tokens_asked(bitrix) == 0

    def test_with_tokens_of_another_application_in_the_same_portal(
        self, bitrix, connect, events, stored, nothing_leaks
    ):
        connect()
        other = bitrix.create_application()
        form = install_form(bitrix) | {
            "auth[access_token]": other.access_token,
            "auth[refresh_token]": other.refresh_token,
            "auth[application_token]": "chosen-by-the-attacker",
        }
        assert self.refused(events, form) == (403, "not_granted")
        assert stored() is None
        nothing_leaks()

    def test_with_tokens_of_an_employee_of_the_same_portal(self, bitrix, connect, events, stored):
        connect()
        pair = bitrix.callers.tokens.issue(bitrix.application, 2)
        form = install_form(bitrix) | {
            "auth[access_token]": pair.access_token,
            "auth[refresh_token]": pair.refresh_token,
            "auth[application_token]": "chosen-by-the-attacker",
        }
        assert self.refused(events, form) == (403, "not_administrator")
        assert stored() is None

    def test_with_an_administrators_access_token_and_an_employees_refresh_token(
        self, bitrix, connect, events, stored
    ):
        connect()
        pair = bitrix.callers.tokens.issue(bitrix.application, 2)
        form = install_form(bitrix) | {"auth[refresh_token]": pair.refresh_token}
        assert self.refused(events, form) == (403, "not_administrator")
        assert stored() is None

    def test_with_genuine_tokens_of_the_same_application_in_another_portal(
        self, bitrix, connect, events, stored
    ):
        with SandboxPortal(limits=False) as other:
            # One application, one authorization server, two portals: its access token is good in the other only.
            twin = other.create_application(client_id=bitrix.application.client_id)
            connect(oauth_server=other.url, client_secret=twin.client_secret)
            pair = twin.issue_tokens()
            form = install_form(bitrix) | {
                "auth[refresh_token]": pair.refresh_token,
                "auth[member_id]": other.member_id,
            }
            assert self.refused(events, form) == (409, "other_portal")
            assert self.refused(events, form | {"auth[access_token]": pair.access_token}) == (
                403,
                "not_granted",
            )
            pair = twin.issue_tokens()
            form = install_form(bitrix) | {"auth[refresh_token]": pair.refresh_token}
            assert self.refused(events, form) == (409, "other_portal")
        assert stored() is None

    def test_after_an_installation_from_another_portal(self, bitrix, connect, events, stored):
        connect()
        bitrix.send_install_event(events).wait()
        before = stored()
        asked = len(bitrix.requests)
        form = install_form(bitrix) | {"auth[member_id]": "another-portal"}
        assert self.refused(events, form) == (409, "other_portal")
        bitrix.send_uninstall_event(events).wait()
        assert self.refused(events, form) == (409, "other_portal")
        assert len(bitrix.requests) == asked
        assert stored().tokens is None
        assert before.member_id == bitrix.member_id == stored().member_id

    def test_for_another_portal_than_the_connections(self, bitrix, connect, events, stored):
        connect(member_id="the-connections-own")
        assert self.refused(events, install_form(bitrix)) == (409, "other_portal")
        assert bitrix.requests == []

    def test_with_another_application_token_than_the_connections(self, bitrix, connect, events, stored):
        connect(application_token="the-connections-own")
        assert self.refused(events, install_form(bitrix)) == (403, "wrong_application_token")
        assert stored() is None
        assert bitrix.requests == []

    def test_never_sends_anything_where_it_says(self, bitrix, connect, events, stored):
        with SandboxPortal() as attacker:
            connect()
            form = install_form(bitrix) | {
                "auth[domain]": attacker.host,
                "auth[client_endpoint]": f"{attacker.url}/rest/",
                "auth[server_endpoint]": f"{attacker.url}/rest/",
            }
            assert httpx.post(events, data=form).status_code == 200
            assert attacker.requests == []

    def test_again_and_again(self, bitrix, connect, events):
        connect()
        invented = {"auth[access_token]": "a" * 32, "auth[refresh_token]": "r" * 32}
        form = install_form(bitrix) | invented
        answers = [self.refused(events, form) for _ in range(12)]
        assert answers[:10] == [(403, "not_granted")] * 10
        assert answers[10:] == [(429, "too_many")] * 2
        assert len(bitrix.requests) == 10


class TestRefusedEvent:
    @pytest.mark.parametrize(
        "missing", ["event", "access_token", "refresh_token", "member_id", "application_token"]
    )
    def test_with_a_field_missing(self, bitrix, connect, events, stored, missing):
        connect()
        name = missing if missing == "event" else f"auth[{missing}]"
        answer = httpx.post(events, data=install_form(bitrix, **{name: None}))
        assert answer.status_code == 400
        assert missing in answer.json()["message"]
        assert stored() is None

    @pytest.mark.parametrize(
        "changes",
        [
            {"auth[access_token]": "two words"},
            {"auth[refresh_token]": "r" * 513},
            {"auth[member_id][]": "a list"},
            {"ts": "yesterday"},
            {"event": "ONCRMLEADADD"},
            {"event": "ONAPPTEST"},
        ],
    )
    def test_that_makes_no_sense(self, bitrix, connect, events, changes):
        connect()
        assert httpx.post(events, data=install_form(bitrix) | changes).status_code == 400
        assert bitrix.requests == []

    def test_without_auth(self, connect, events):
        connect()
        assert httpx.post(events, data={"event": "ONAPPINSTALL"}).status_code == 400
        assert httpx.post(events, content=b"a[b=1").status_code == 400

    def test_by_get(self, connect, events):
        connect()
        assert httpx.get(events).status_code == 405

    def test_for_a_connection_that_does_not_exist(self, bitrix, connect, events):
        connect()
        answer = httpx.post(events.replace(CONN_ID, "nobody"), data=install_form(bitrix))
        assert (answer.status_code, answer.json()["error"]) == (404, "unknown_connection")

    def test_for_a_webhook(self, bitrix, connect, events, airflow_session):
        connect(host=bitrix.webhook.url, client_id=None)
        answer = httpx.post(events, data=install_form(bitrix))
        assert (answer.status_code, answer.json()["error"]) == (409, "not_an_application")
        answer = httpx.post(events, data=install_form(bitrix, event="ONAPPUNINSTALL"))
        assert (answer.status_code, answer.json()["error"]) == (409, "not_an_application")

    def test_while_the_portal_is_down(self, bitrix, connect, events, stored, nothing_leaks):
        connect(host="http://127.0.0.1:9")
        answer = httpx.post(events, data=install_form(bitrix), timeout=30)
        assert (answer.status_code, answer.json()["error"]) == (503, "not_verified")
        # The refresh token was not spent: the event can be posted again.
        assert tokens_asked(bitrix) == 0
        assert stored() is None
        nothing_leaks(answer.text)

    def test_while_the_authorization_server_is_down(self, bitrix, connect, events, stored):
        connect()
        bitrix.faults.add(AnswerStatus(500, "INTERNAL_SERVER_ERROR"), method="oauth.token")
        answer = httpx.post(events, data=install_form(bitrix), timeout=30)
        assert (answer.status_code, answer.json()["error"]) == (503, "not_verified")
        assert stored() is None

    def test_with_the_wrong_client_secret_in_the_connection(self, bitrix, connect, events, stored, caplog):
        connect(client_secret="not-the-secret")
        answer = httpx.post(events, data=install_form(bitrix))
        assert (answer.status_code, answer.json()["error"]) == (403, "not_granted")
        assert stored() is None
        assert "Check client_id and client_secret" in caplog.text
        assert "not-the-secret" not in caplog.text


class TestUninstallEvent:
    @pytest.fixture(autouse=True)
    def installed(self, bitrix, connect, events):
        connect()
        assert bitrix.send_install_event(events).wait().status == 200

    def test_ends_all_calls_with_a_clear_error(self, bitrix, events, stored, nothing_leaks):
        call = bitrix.send_uninstall_event(events).wait()
        assert (call.status, call.answer) == (200, '{"uninstalled":true}')
        assert stored().tokens is None
        before = len(bitrix.requests)
        with Bitrix24Hook(CONN_ID) as hook, pytest.raises(AuthError, match="was uninstalled") as error:
            hook.call("profile")
        assert "airflow-b24 connect crm" in str(error.value)
        assert not error.value.retryable
        assert Bitrix24Hook(CONN_ID).test_connection()[0] is False
        assert len(bitrix.requests) == before
        nothing_leaks(call.answer)

    @pytest.mark.anyio
    async def test_ends_all_calls_from_event_loops(self, bitrix, events):
        bitrix.send_uninstall_event(events).wait()
        async with Bitrix24Hook(CONN_ID) as hook:
            with pytest.raises(AuthError, match="was uninstalled"):
                await hook.async_call("profile")

    def test_is_ended_by_the_next_installation(self, bitrix, events, stored):
        bitrix.send_uninstall_event(events).wait()
        assert bitrix.send_install_event(events).wait().status == 200
        assert stored().uninstalled_at is None
        with Bitrix24Hook(CONN_ID) as hook:
            assert hook.call("profile")["ADMIN"] is True

    def test_may_come_twice(self, bitrix, events):
        call = bitrix.send_uninstall_event(events).wait()
        assert bitrix.repost(call).wait().status == 200

    def test_that_comes_after_the_next_installation_changes_nothing(self, bitrix, events, stored):
        form = install_form(bitrix, event="ONAPPUNINSTALL", ts=str(int(bitrix.clock.now()) - 100))
        late = httpx.post(events, data=form)
        assert (late.status_code, late.json()) == (200, {"uninstalled": False})
        assert stored().tokens is not None

    @pytest.mark.parametrize(
        ("changes", "refusal"),
        [
            ({"auth[application_token]": "guessed"}, (403, "wrong_application_token")),
            ({"auth[member_id]": "another"}, (409, "other_portal")),
            ({"auth[application_token]": ""}, (400, "malformed")),
            ({"auth[member_id]": ""}, (400, "malformed")),
        ],
    )
    def test_that_is_forged_changes_nothing(self, bitrix, events, stored, changes, refusal):
        form = install_form(bitrix, event="ONAPPUNINSTALL") | changes
        answer = httpx.post(events, data=form)
        assert (answer.status_code, answer.json()["error"]) == refusal
        assert stored().tokens is not None

    def test_for_an_application_whose_token_nobody_knows(self, bitrix, connect, events, stored):
        connect()
        answer = httpx.post(events, data=install_form(bitrix, event="ONAPPUNINSTALL"))
        assert (answer.status_code, answer.json()["error"]) == (403, "unknown_application_token")
        assert stored() is None

    def test_does_not_outlive_new_keys_or_tokens_in_the_connection(
        self, bitrix, connect, events, airflow_session
    ):
        from airflow.models.variable import Variable

        bitrix.send_uninstall_event(events).wait()
        record = Variable.get(f"bitrix24_oauth_{CONN_ID}")
        other = bitrix.create_application()
        connect(
            client_id=other.client_id,
            client_secret=other.client_secret,
            access_token=other.access_token,
            refresh_token=other.refresh_token,
        )
        Variable.set(f"bitrix24_oauth_{CONN_ID}", record)
        with Bitrix24Hook(CONN_ID) as hook:
            assert hook.call("app.info")["CODE"] == other.client_id


class TestPage:
    def open(self, bitrix: SandboxPortal, url: str, **options: Any) -> httpx.Response:
        call = bitrix.open_application(url, **options).wait()
        return httpx.post(call.url, content=call.body, headers={"Content-Type": FORM}, timeout=20)

    def test_finishes_the_installation(self, bitrix, connect, install_page, stored, nothing_leaks):
        connect()
        answer = bitrix.open_application(install_page).wait()
        assert answer.status == 200
        assert "BX24.installFinish()" in answer.answer
        assert '<script nonce="' in answer.answer
        assert 'src="https://api.bitrix24.com/api/v1/"' in answer.answer
        assert stored().application_token == bitrix.application.application_token
        assert stored().member_id == bitrix.member_id
        nothing_leaks(answer.answer)

    def test_lets_the_browser_load_bitrix24s_library_and_nothing_else(self, bitrix, connect, install_page):
        connect()
        call = bitrix.open_application("http://127.0.0.1:9/unused")
        answer = httpx.post(install_page, content=call.body, headers={"Content-Type": FORM})
        policy = dict(
            part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
        )
        nonce = answer.text.partition('<script nonce="')[2].partition('"')[0]
        assert len(nonce) >= 16
        assert policy == {
            "default-src": "'none'",
            "script-src": f"'nonce-{nonce}' https://api.bitrix24.com",
            "style-src": f"'nonce-{nonce}'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": bitrix.url,
        }
        assert "x-frame-options" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"

    def test_never_uses_the_same_nonce_twice(self, bitrix, connect, install_page):
        connect()
        pages = [bitrix.open_application(install_page).wait().answer for _ in range(2)]
        assert pages[0] != pages[1]

    def test_of_an_employee_is_refused_in_words(self, bitrix, connect, install_page, stored, nothing_leaks):
        connect()
        answer = bitrix.open_application(install_page, user_id=2).wait()
        assert answer.status == 403
        assert "Only an administrator" in answer.answer
        assert "<script" not in answer.answer
        assert stored() is None
        nothing_leaks(answer.answer)

    def test_of_an_employee_does_not_touch_an_installation(self, bitrix, connect, install_page, stored):
        connect()
        bitrix.open_application(install_page).wait()
        before = stored()
        assert bitrix.open_application(install_page, user_id=2).wait().status == 403
        assert stored() == before

    def test_of_another_application_is_refused(self, bitrix, connect, install_page, stored):
        connect()
        other = bitrix.create_application()
        assert bitrix.open_application(install_page, other).wait().status == 403
        assert stored() is None

    def test_of_another_portal_is_refused(self, bitrix, connect, install_page, stored):
        connect()
        bitrix.open_application(install_page).wait()
        with SandboxPortal() as other:
            answer = other.open_application(install_page).wait()
            assert answer.status == 409
            assert "another portal" in answer.answer
        assert stored().member_id == bitrix.member_id

    @pytest.mark.parametrize("missing", ["AUTH_ID", "REFRESH_ID", "member_id"])
    def test_with_a_field_missing_is_refused(self, bitrix, connect, install_page, stored, missing):
        connect()
        call = bitrix.open_application("http://127.0.0.1:9/unused")
        form = {name: str(value) for name, value in call.fields.items() if name != missing}
        answer = httpx.post(install_page, data=form)
        assert answer.status_code == 400
        assert f"{missing} is missing" in answer.text
        assert stored() is None

    def test_shows_nothing_of_what_was_posted(self, bitrix, connect, install_page):
        connect()
        script = "<script>alert(1)</script>"
        for name in ("AUTH_ID", "member_id", "LANG", "PLACEMENT"):
            call = bitrix.open_application("http://127.0.0.1:9/unused")
            form = {key: str(value) for key, value in call.fields.items()} | {name: script}
            answer = httpx.post(f"{install_page}?DOMAIN={script}", data=form)
            assert "alert(1)" not in answer.text

    def test_brings_the_application_token_by_a_test_event_if_it_was_not_posted(
        self, bitrix, connect, install_page, stored
    ):
        connect()
        call = bitrix.open_application("http://127.0.0.1:9/unused")
        form = {name: str(value) for name, value in call.fields.items() if name != "APPLICATION_TOKEN"}
        assert httpx.post(install_page, data=form).status_code == 200
        bitrix.wait_until(lambda: [one.done for one in bitrix.event_calls] == [True])
        assert stored().application_token == bitrix.application.application_token
        assert stored().challenge is None

    def test_by_get_says_what_the_address_is_for(self, connect, install_page):
        connect()
        answer = httpx.get(install_page)
        assert answer.status_code == 400
        assert "oauth/start" in answer.text


FORM = "application/x-www-form-urlencoded"


class TestTestEvent:
    def test_of_which_nobody_knows_is_refused(self, bitrix, connect, events, stored):
        connect()
        form = install_form(bitrix, event="ONAPPTEST") | {"data[QUERY][challenge]": "guessed"}
        answer = httpx.post(events, data=form)
        assert (answer.status_code, answer.json()["error"]) == (403, "not_granted")
        assert stored() is None

    def test_is_believed_once(self, bitrix, connect, install_page, events, stored):
        connect()
        call = bitrix.open_application("http://127.0.0.1:9/unused")
        form = {name: str(value) for name, value in call.fields.items() if name != "APPLICATION_TOKEN"}
        httpx.post(install_page, data=form)
        bitrix.wait_until(lambda: [one.done for one in bitrix.event_calls] == [True])
        (event,) = bitrix.event_calls
        again = bitrix.repost(event).wait()
        assert again.status == 403


@pytest.fixture(scope="module")
def auth_manager(metadata_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Airflow's simple auth manager, with an operator and a viewer."""
    from airflow.api_fastapi import app

    folder = tmp_path_factory.mktemp("users")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "olga:op,otto:op,vera:viewer")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(folder / "passwords.json"))
        patch.setenv(
            "AIRFLOW__API_AUTH__JWT_SECRET",
            "a-secret-that-is-long-enough-for-a-test-of-jwt-signatures-0123456789",
        )
        patch.setenv("AIRFLOW__API__SECRET_KEY", "the-api-servers-secret")
        before = app._AuthManagerState.instance
        app._AuthManagerState.instance = None
        yield app.init_auth_manager()
        app._AuthManagerState.instance = before


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
    begun = browser.get(f"/{conn_id}/oauth/start")
    assert begun.status_code == 302, begun.text
    return browser.get(begun.headers["location"]).headers["location"]


class TestSignIn:
    def test_leads_to_the_portal_and_back(self, bitrix, connect, sign_in, stored, nothing_leaks):
        connect()
        browser = sign_in()
        begun = browser.get(f"/{CONN_ID}/oauth/start")
        target = urlsplit(begun.headers["location"])
        assert f"{target.scheme}://{target.netloc}{target.path}" == f"{bitrix.url}/oauth/authorize/"
        query = parse_qs(target.query)
        assert set(query) == {"client_id", "state"}
        assert query["client_id"] == [bitrix.application.client_id]
        answer = browser.get(back_from_the_portal(bitrix, browser))
        assert answer.status_code == 200
        assert "Ada Admin" in answer.text
        assert stored().tokens.access_token == bitrix.application.access_token
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

    def test_ends_at_the_one_address_of_the_application_card_as_well(self, bitrix, connect, sign_in, stored):
        connect()
        browser = sign_in()
        address = back_from_the_portal(bitrix, browser).replace("/oauth/callback", "/install")
        assert browser.get(address).status_code == 200
        assert stored().tokens is not None

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

    def test_begun_by_another_user_is_refused(self, bitrix, connect, sign_in, stored):
        connect()
        address = back_from_the_portal(bitrix, sign_in("olga"))
        refused = sign_in("otto").get(address)
        assert refused.status_code == 403
        assert "another user" in refused.text
        assert stored() is None
        assert tokens_asked(bitrix) == 0

    def test_that_ends_in_a_browser_without_sign_in_is_refused(self, bitrix, connect, sign_in, stored):
        connect()
        refused = sign_in(None).get(back_from_the_portal(bitrix, sign_in()))
        assert refused.status_code == 401
        assert stored() is None
        assert tokens_asked(bitrix) == 0

    def test_for_another_connection_is_refused(self, bitrix, connect, sign_in, stored, airflow_session):
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
        assert tokens_asked(bitrix) == 0

    def test_with_a_forged_state_is_refused(self, bitrix, connect, sign_in, stored):
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
        assert tokens_asked(bitrix) == 0

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

    def test_says_what_the_portal_did_not_let_it_do(self, bitrix, connect, sign_in, stored):
        connect()
        browser = sign_in()
        address = back_from_the_portal(bitrix, browser)
        bitrix.faults.add(AnswerStatus(403, "ACCESS_DENIED"), method="event.bind", times=2)
        answer = browser.get(address)
        assert answer.status_code == 200
        assert "Robot calls will be refused until an application_token is known" in answer.text

    def test_begun_in_a_terminal_is_sent_back_to_it(self, bitrix, connect, sign_in, served):
        connect()
        answer = sign_in(None).get(
            f"/{CONN_ID}/install", params={"code": "the-code", "state": "terminal.abc"}
        )
        assert answer.status_code == 200
        assert "paste it into the terminal" in answer.text
        assert "the-code" not in answer.text
        assert tokens_asked(bitrix) == 0

    def test_of_a_webhook_or_of_nothing_is_refused(self, bitrix, connect, sign_in):
        connect(host=bitrix.webhook.url, client_id=None)
        assert sign_in().get(f"/{CONN_ID}/oauth/start").status_code == 409
        assert sign_in().get("/nobody/oauth/start").status_code == 404

    def test_by_post_is_refused(self, connect, sign_in):
        connect()
        for route in ("start", "callback"):
            assert sign_in().post(f"/{CONN_ID}/oauth/{route}").status_code == 405


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
    begun = api_server.get(f"/bitrix24/{CONN_ID}/oauth/start")
    assert begun.headers["location"].startswith(f"{bitrix.url}/oauth/authorize/?client_id=")
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    code = bitrix.callers.tokens.create_code(bitrix.application, 1)
    answer = api_server.get(f"/bitrix24/{CONN_ID}/oauth/callback", params={"code": code, "state": state})
    assert answer.status_code == 200
    assert "x-frame-options" not in answer.headers
