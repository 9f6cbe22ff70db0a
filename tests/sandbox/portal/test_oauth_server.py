"""The authorization server."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest


def _refresh(portal: Any, **changes: str) -> httpx.Response:
    application = portal.application
    params = {
        "grant_type": "refresh_token",
        "client_id": application.client_id,
        "client_secret": application.client_secret,
        "refresh_token": application.refresh_token,
    }
    return httpx.get(portal.oauth_url, params={**params, **changes})


def test_a_refresh_token_is_exchanged_for_a_new_pair(live_portal: Any, rest: Any) -> None:
    old = live_portal.application.access_token, live_portal.application.refresh_token
    answer = _refresh(live_portal).json()
    assert set(answer) == {
        "access_token",
        "client_endpoint",
        "domain",
        "expires",
        "expires_in",
        "member_id",
        "refresh_token",
        "scope",
        "server_endpoint",
        "status",
        "user_id",
    }
    assert (answer["access_token"], answer["refresh_token"]) == (
        live_portal.application.access_token,
        live_portal.application.refresh_token,
    )
    assert answer["access_token"] not in old
    assert answer["refresh_token"] not in old
    assert answer["expires_in"] == 3600
    assert answer["expires"] == pytest.approx(live_portal.clock.now() + 3600, abs=5)
    assert answer["client_endpoint"] == f"{live_portal.url}/rest/"
    assert (answer["member_id"], answer["user_id"]) == (live_portal.member_id, 1)
    assert rest.application("profile", token=answer["access_token"]).status_code == 200


def test_a_refresh_token_is_worth_something_once(live_portal: Any, error_of: Any) -> None:
    old = live_portal.application.refresh_token
    assert _refresh(live_portal).status_code == 200
    assert error_of(_refresh(live_portal, refresh_token=old))[:2] == (400, "invalid_grant")
    assert _refresh(live_portal).status_code == 200


def test_a_refresh_token_lives_for_180_days(live_portal: Any) -> None:
    live_portal.clock.advance(180 * 86_400 - 60)
    assert _refresh(live_portal).status_code == 200
    live_portal.clock.advance(180 * 86_400)
    assert _refresh(live_portal).json()["error"] == "invalid_grant"


def test_refresh_tokens_can_be_revoked(live_portal: Any) -> None:
    live_portal.revoke_refresh_tokens()
    assert _refresh(live_portal).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"grant_type": "password"}, 400, "invalid_request"),
        ({"refresh_token": ""}, 400, "invalid_request"),
        ({"refresh_token": "unknown"}, 400, "invalid_grant"),
        ({"client_id": "local.unknown"}, 200, "wrong_client"),
        ({"client_secret": "wrong"}, 400, "invalid_client"),
    ],
)
def test_a_wrong_request_is_refused(
    live_portal: Any, error_of: Any, changes: dict[str, str], status: int, code: str
) -> None:
    assert error_of(_refresh(live_portal, **changes))[:2] == (status, code)


def test_an_application_that_was_removed_gets_no_tokens(live_portal: Any, error_of: Any) -> None:
    live_portal.application.installed = False
    assert error_of(_refresh(live_portal)) == (401, "NOT_INSTALLED", "Application not installed")


def test_a_secret_has_the_letters_and_digits_of_real_ones(live_portal: Any) -> None:
    assert re.fullmatch("[A-Za-z0-9]{50}", live_portal.application.client_secret)


@pytest.mark.parametrize("host", ["oauth.bitrix.info", "oauth.bitrix24.tech:443"])
def test_the_authorization_server_tells_whose_a_token_is(live_portal: Any, error_of: Any, host: str) -> None:
    def ask(token: str) -> httpx.Response:
        return httpx.get(f"{live_portal.url}/rest/app.info/", params={"auth": token}, headers={"Host": host})

    told = ask(live_portal.application.access_token).json()["result"]
    assert told["client_id"] == live_portal.application.client_id
    assert told["install"]["member_id"] == live_portal.member_id
    assert (told["user_id"], told["install"]["installed"]) == ("1", True)
    assert error_of(ask("unknown"))[:2] == (401, "invalid_token")


def test_an_application_that_is_not_paid_for_gets_no_tokens(live_portal: Any, error_of: Any) -> None:
    live_portal.application.paid = False
    assert error_of(_refresh(live_portal)) == (402, "PAYMENT_REQUIRED", "Payment required")


def test_one_applications_token_is_worth_nothing_to_another(live_portal: Any, error_of: Any) -> None:
    other = live_portal.create_application()
    assert error_of(_refresh(live_portal, refresh_token=other.refresh_token))[1] == "invalid_grant"


def _authorize(portal: Any, **params: str) -> httpx.Response:
    return httpx.get(
        f"{portal.url}/oauth/authorize/", params={"client_id": portal.application.client_id, **params}
    )


def _code(portal: Any) -> str:
    return dict(parse_qsl(urlsplit(_authorize(portal).headers["location"]).query))["code"]


def test_authorization_redirects_with_a_code_and_the_state(live_portal: Any) -> None:
    live_portal.application.redirect_uri = "https://app.example/back?lang=de"
    response = _authorize(live_portal, state="a b&c")
    assert response.status_code == 302
    target = urlsplit(response.headers["location"])
    query = dict(parse_qsl(target.query))
    assert (target.netloc, target.path) == ("app.example", "/back")
    assert (query["lang"], query["state"], query["domain"]) == ("de", "a b&c", live_portal.host)
    assert query["member_id"] == live_portal.member_id


def test_a_code_is_exchanged_for_tokens_once(live_portal: Any, rest: Any) -> None:
    code = _code(live_portal)
    answer = _refresh(live_portal, grant_type="authorization_code", code=code)
    assert rest.application("profile", token=answer.json()["access_token"]).status_code == 200
    again = _refresh(live_portal, grant_type="authorization_code", code=code)
    assert again.json()["error"] == "invalid_grant"


def test_a_code_lives_for_thirty_seconds(live_portal: Any) -> None:
    early, late = _code(live_portal), _code(live_portal)
    live_portal.clock.advance(25)
    assert _refresh(live_portal, grant_type="authorization_code", code=early).status_code == 200
    live_portal.clock.advance(5)
    refused = _refresh(live_portal, grant_type="authorization_code", code=late)
    assert refused.json()["error"] == "invalid_grant"


def test_authorization_of_an_unknown_application_redirects_nowhere(live_portal: Any) -> None:
    response = _authorize(live_portal, client_id="nobody")
    assert response.status_code == 400
    assert "location" not in response.headers
    live_portal.application.redirect_uri = ""
    assert _authorize(live_portal).status_code == 400


def test_requests_to_the_authorization_server_are_recorded_and_not_limited(live_portal: Any) -> None:
    with httpx.Client() as client:
        for _ in range(60):
            assert client.get(live_portal.oauth_url).status_code == 400
    assert {request.method for request in live_portal.requests} == {"oauth.token"}


def test_a_user_the_portal_does_not_have_gets_neither_tokens_nor_a_webhook(live_portal: Any) -> None:
    with pytest.raises(ValueError, match="no user 77"):
        live_portal.application.issue_tokens(77)
    with pytest.raises(ValueError, match="no user 77"):
        live_portal.create_webhook(77)
