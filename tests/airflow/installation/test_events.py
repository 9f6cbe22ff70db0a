"""Bitrix24 tells that an application was installed or uninstalled: forged, late, twice, and from another portal."""

from __future__ import annotations

import time

import httpx
import pytest

from airflow_provider_b24.exceptions import AuthError
from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import InstallationStore, on_installation_changed
from airflow_provider_b24.hooks.tokens import VariableTokenStore
from airflow_provider_b24.installation import grants, uninstallation
from airflow_provider_b24.sandbox import AnswerStatus, Delay, SandboxPortal

CONN_ID = "crm"


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
    def test_brings_tokens_and_the_application_token(
        self, bitrix, connect, events, stored, stored_tokens, nothing_leaks
    ):
        connect()
        call = bitrix.send_install_event(events).wait()
        assert (call.status, call.answer) == (200, '{"installed":true}')
        installation = stored()
        assert (installation.user_id, installation.user_name) == ("1", "Ada Admin")
        assert installation.administrator is True
        assert installation.member_id == bitrix.member_id
        assert installation.application_token == bitrix.application.application_token
        assert stored_tokens().access_token == bitrix.application.access_token
        assert stored_tokens().refresh_token == bitrix.application.refresh_token
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

    def test_has_the_portal_tell_of_the_uninstallation(self, bitrix, connect, events):
        connect()
        bitrix.send_install_event(events).wait()
        bitrix.send_install_event(events).wait()
        bound = [(one.event, one.handler) for one in bitrix.events.bindings()]
        assert bound == [("ONAPPUNINSTALL", events)]

    def test_may_be_posted_to_the_one_address_of_the_application_card(
        self, bitrix, connect, install_page, stored_tokens
    ):
        connect()
        call = bitrix.send_install_event(install_page).wait()
        assert (call.status, call.answer) == (200, '{"installed":true}')
        assert stored_tokens() is not None

    def test_of_an_update_is_an_installation(self, bitrix, connect, events, stored):
        connect()
        form = install_form(bitrix, event="ONAPPUPDATE", **{"auth[application_token]": "the-new-one"})
        assert httpx.post(events, data=form).status_code == 200
        assert stored().application_token == "the-new-one"

    def test_that_comes_late_with_an_expired_access_token_is_accepted(
        self, bitrix, connect, events, stored_tokens
    ):
        connect()
        form = install_form(bitrix)
        bitrix.expire_access_tokens()
        assert httpx.post(events, data=form, timeout=20).status_code == 200
        assert stored_tokens().access_token == bitrix.application.access_token

    def test_replaces_the_tokens_in_the_connection(self, bitrix, connect, events, stored_tokens):
        pair = bitrix.application.issue_tokens()
        connect(access_token=pair.access_token, refresh_token=pair.refresh_token)
        bitrix.send_install_event(events).wait()
        used = VariableTokenStore(PortalConnection.load(CONN_ID)).load()
        assert used == stored_tokens()
        assert used.access_token == bitrix.application.access_token


class TestForgedInstallEvent:
    """An attacker knows the address, and chooses the application token."""

    def refused(self, events: str, form: dict[str, str]) -> tuple[int, str]:
        answer = httpx.post(events, data=form, timeout=20)
        return answer.status_code, answer.json()["error"]

    def test_with_invented_tokens(self, bitrix, connect, events, stored, tokens_asked):
        connect()
        invented = {"auth[access_token]": "a" * 32, "auth[refresh_token]": "r" * 32}
        assert self.refused(events, install_form(bitrix) | invented) == (403, "not_granted")
        assert stored() is None
        # Nobody can make this Airflow pester the authorization server.
        assert tokens_asked() == 0

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

    def test_after_an_installation_from_another_portal(self, bitrix, connect, events, stored, stored_tokens):
        connect()
        bitrix.send_install_event(events).wait()
        before = stored()
        asked = len(bitrix.requests)
        form = install_form(bitrix) | {"auth[member_id]": "another-portal"}
        assert self.refused(events, form) == (409, "other_portal")
        assert len(bitrix.requests) == asked
        bitrix.send_uninstall_event(events).wait()
        assert self.refused(events, form) == (409, "other_portal")
        assert stored_tokens() is None
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

    @pytest.mark.parametrize(
        ("named", "first"),
        [
            ("https://oauth.bitrix24.tech/rest/", "oauth.bitrix24.tech:443"),
            ("https://oauth.bitrix.info/rest/", "oauth.bitrix.info:443"),
            ("https://oauth.example.com/rest/", "oauth.bitrix.info:443"),
        ],
    )
    def test_chooses_between_bitrix24s_authorization_servers_and_names_no_other(
        self, bitrix, connect, events, stored, reached, named, first
    ):
        connect(oauth_server=None)
        form = install_form(bitrix) | {"auth[server_endpoint]": named}
        assert httpx.post(events, data=form, trust_env=False).status_code == 503
        assert reached[0] == first
        assert sorted(reached) == ["oauth.bitrix.info:443", "oauth.bitrix24.tech:443"]
        assert stored() is None


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

    def test_while_the_portal_is_down(self, bitrix, connect, events, stored, nothing_leaks, tokens_asked):
        connect(host="http://127.0.0.1:9")
        answer = httpx.post(events, data=install_form(bitrix), timeout=30)
        assert (answer.status_code, answer.json()["error"]) == (503, "not_verified")
        # The refresh token was not spent: the event can be posted again.
        assert tokens_asked() == 0
        assert stored() is None
        nothing_leaks(answer.text)

    def test_while_the_authorization_server_is_down(self, bitrix, connect, events, stored):
        connect()
        bitrix.faults.add(AnswerStatus(500, "INTERNAL_SERVER_ERROR"), method="oauth.token")
        answer = httpx.post(events, data=install_form(bitrix), timeout=30)
        assert (answer.status_code, answer.json()["error"]) == (503, "not_verified")
        assert stored() is None

    def test_while_the_portal_fails_after_the_refresh_token_was_spent_is_verified_with_the_new_pair(
        self, bitrix, connect, events, stored_tokens
    ):
        connect()
        bitrix.faults.add(Delay(0), method="profile")
        bitrix.faults.add(AnswerStatus(502, "bad gateway"), method="profile", times=4)
        assert httpx.post(events, data=install_form(bitrix), timeout=60).status_code == 200
        assert stored_tokens().access_token == bitrix.application.access_token

    def test_after_which_the_portal_stays_away_says_that_it_cannot_be_posted_again(
        self, bitrix, connect, events, stored, caplog, nothing_leaks
    ):
        connect()
        bitrix.faults.add(Delay(0), method="profile")
        bitrix.faults.add(AnswerStatus(502, "bad gateway"), method="profile", times=None)
        answer = httpx.post(events, data=install_form(bitrix), timeout=60)
        assert (answer.status_code, answer.json()["error"]) == (503, "not_verified")
        assert "try again later" not in answer.text
        for words in (answer.text, caplog.text):
            assert "open the application in Bitrix24 as an administrator, or install it again" in words
        assert stored() is None
        nothing_leaks(answer.text)

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

    def test_ends_all_calls_with_a_clear_error(self, bitrix, events, stored_tokens, nothing_leaks):
        call = bitrix.send_uninstall_event(events).wait()
        assert (call.status, call.answer) == (200, '{"uninstalled":true}')
        assert stored_tokens() is None
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

    def test_that_comes_after_the_next_installation_changes_nothing(self, bitrix, events, stored_tokens):
        form = install_form(bitrix, event="ONAPPUNINSTALL", ts=str(int(bitrix.clock.now()) - 100))
        late = httpx.post(events, data=form)
        assert (late.status_code, late.json()) == (200, {"uninstalled": False})
        assert stored_tokens() is not None

    @pytest.mark.parametrize("moment", ["between tokens and record", "after its record"])
    def test_at_the_moment_of_an_installation_leaves_the_new_tokens(
        self, bitrix, stored, stored_tokens, monkeypatch, moment
    ):
        """The uninstallation writes its record at this moment of the installation, and clears tokens after that."""
        connection = PortalConnection.load(CONN_ID)
        update, begun = InstallationStore.update, []

        def install():
            pair = bitrix.application.issue_tokens()
            grants.install(
                connection,
                grants.Grant(pair.access_token, pair.refresh_token, bitrix.member_id, "the-new-one"),
            )

        def meeting(store, change):
            begun.append(change)
            if len(begun) == 1 and moment == "after its record":
                now = update(store, change)
                install()
                return now
            if len(begun) == 1:
                install()
                return store.read()
            if moment == "between tokens and record":
                update(store, begun[0])
            return update(store, change)

        bitrix.faults.add(AnswerStatus(401, "NO_AUTH_FOUND"), method="app.info")
        monkeypatch.setattr(InstallationStore, "update", meeting)
        uninstallation.uninstall(connection, bitrix.member_id)
        assert len(begun) == 2
        assert stored().uninstalled_at is None
        assert stored().application_token == "the-new-one"
        assert stored_tokens().access_token == bitrix.application.access_token

    @pytest.mark.parametrize(
        ("changes", "refusal"),
        [
            ({"auth[application_token]": "guessed"}, (403, "wrong_application_token")),
            ({"auth[member_id]": "another"}, (409, "other_portal")),
            ({"auth[application_token]": ""}, (400, "malformed")),
            ({"auth[member_id]": ""}, (400, "malformed")),
        ],
    )
    def test_that_is_forged_changes_nothing(self, bitrix, events, stored_tokens, changes, refusal):
        form = install_form(bitrix, event="ONAPPUNINSTALL") | changes
        answer = httpx.post(events, data=form)
        assert (answer.status_code, answer.json()["error"]) == refusal
        assert stored_tokens() is not None

    def test_that_the_portal_does_not_bear_out_changes_nothing(
        self, bitrix, events, stored, stored_tokens, caplog
    ):
        """Somebody has seen the body of a call, and knows the application_token."""
        before = stored()
        answer = httpx.post(events, data=install_form(bitrix, event="ONAPPUNINSTALL"))
        assert (answer.status_code, answer.json()["error"]) == (403, "still_installed")
        assert stored() == before
        assert stored_tokens() is not None
        assert "the event is forged" in caplog.text
        with Bitrix24Hook(CONN_ID) as hook:
            assert hook.call("profile")["ADMIN"] is True

    def test_that_is_forged_while_the_access_token_has_expired_changes_nothing(
        self, bitrix, events, stored, stored_tokens
    ):
        before = stored_tokens()
        bitrix.expire_access_tokens()
        answer = httpx.post(events, data=install_form(bitrix, event="ONAPPUNINSTALL"), timeout=20)
        assert (answer.status_code, answer.json()["error"]) == (403, "still_installed")
        assert stored().uninstalled_at is None
        # Renewed for the purpose, and kept.
        assert stored_tokens() != before
        assert stored_tokens().access_token == bitrix.application.access_token

    def test_is_believed_also_when_the_access_token_has_expired(self, bitrix, events, stored, stored_tokens):
        bitrix.expire_access_tokens()
        assert bitrix.send_uninstall_event(events).wait().status == 200
        assert stored().uninstalled_at is not None
        assert stored_tokens() is None

    @pytest.mark.parametrize(
        ("status", "code", "believed"),
        [
            (401, "NO_AUTH_FOUND", True),
            (401, "invalid_token", True),
            (400, "NOT_INSTALLED", True),
            (401, "something new", True),
            (403, "ACCESS_DENIED", False),
            (403, "insufficient_scope", False),
            (403, "user_access_error", False),
            (402, "PAYMENT_REQUIRED", False),
        ],
    )
    def test_is_believed_where_the_portal_does_not_know_the_application(
        self, bitrix, events, stored, stored_tokens, status, code, believed
    ):
        bitrix.faults.add(AnswerStatus(status, code), method="app.info")
        answer = httpx.post(events, data=install_form(bitrix, event="ONAPPUNINSTALL"), timeout=20)
        assert answer.status_code == (200 if believed else 503)
        assert (stored().uninstalled_at is not None) == believed
        assert (stored_tokens() is None) == believed

    def test_while_the_portal_is_down_changes_nothing(self, bitrix, events, stored, stored_tokens):
        bitrix.faults.add(AnswerStatus(502, "bad gateway"), method="app.info", times=None)
        answer = httpx.post(events, data=install_form(bitrix, event="ONAPPUNINSTALL"), timeout=40)
        assert (answer.status_code, answer.json()["error"]) == (503, "not_verified")
        assert stored().uninstalled_at is None
        assert stored_tokens() is not None

    def test_without_tokens_to_ask_with_changes_nothing(self, bitrix, events, stored, airflow_session):
        from airflow.models.variable import Variable

        Variable.delete(f"bitrix24_tokens_{CONN_ID}")
        answer = httpx.post(events, data=install_form(bitrix, event="ONAPPUNINSTALL"))
        assert (answer.status_code, answer.json()["error"]) == (403, "no_tokens")
        assert stored().uninstalled_at is None

    def test_tells_the_rest_of_the_process(self, bitrix, events):
        told = []
        end = on_installation_changed(told.append)
        try:
            httpx.post(events, data=install_form(bitrix, event="ONAPPUNINSTALL"))
            assert told == []
            bitrix.send_uninstall_event(events).wait()
            assert told == [CONN_ID]
        finally:
            end()

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
        records = {name: Variable.get(f"bitrix24_{name}_{CONN_ID}") for name in ("installation", "tokens")}
        other = bitrix.create_application()
        connect(
            client_id=other.client_id,
            client_secret=other.client_secret,
            access_token=other.access_token,
            refresh_token=other.refresh_token,
        )
        for name, record in records.items():
            Variable.set(f"bitrix24_{name}_{CONN_ID}", record)
        with Bitrix24Hook(CONN_ID) as hook:
            assert hook.call("app.info")["CODE"] == other.client_id


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
