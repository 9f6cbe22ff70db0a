"""What a user has granted is exchanged for the first pair of tokens: once, at the authorization server only."""

from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_b24.exceptions import AuthError, TransportError
from airflow_provider_b24.rest import Tokens
from airflow_provider_b24.rest.credentials import DEFAULT_OAUTH_SERVER
from airflow_provider_b24.rest.renewal import redeem
from airflow_provider_b24.rest.wire import NoResponse, TransportFailure

PAIR = {"access_token": "new-access", "refresh_token": "new-refresh", "member_id": "member-1"}


@pytest.mark.parametrize(
    ("grant_type", "name"), [("authorization_code", "code"), ("refresh_token", "refresh_token")]
)
def test_a_grant_becomes_the_pair_that_is_called_with(
    grant_type, name, answer, drive, open_session, oauth_app
):
    driver = drive(lambda request: answer(PAIR))
    session = open_session(oauth_app)
    tokens = driver.hold(redeem(session, grant_type, "granted"))
    assert tokens == Tokens("new-access", "new-refresh", None, "member-1") == driver.stored == session.tokens
    (request,) = driver.requests
    url = urlsplit(request.url)
    assert f"{url.scheme}://{url.netloc}" == DEFAULT_OAUTH_SERVER
    assert parse_qs(url.query) == {
        "grant_type": [grant_type],
        "client_id": [oauth_app.client_id],
        "client_secret": [oauth_app.client_secret],
        name: ["granted"],
    }


def test_a_refused_grant_changes_nothing_and_does_not_show(answer, drive, open_session, oauth_app):
    driver = drive(
        lambda request: answer({"error": "invalid_grant", "error_description": "no: the-grant"}, 400)
    )
    session = open_session(oauth_app)
    with pytest.raises(AuthError) as refusal:
        driver.hold(redeem(session, "refresh_token", "the-grant"))
    assert refusal.value.code == "invalid_grant"
    assert "the-grant" not in str(refusal.value)
    assert driver.stored is None
    assert session.tokens is None


def test_the_server_that_knows_the_grant_is_asked(answer, drive, open_session, oauth_app):
    driver = drive([answer(PAIR)])
    tokens = driver.hold(
        redeem(open_session(oauth_app), "authorization_code", "c", oauth_server="https://oauth.bitrix24.tech")
    )
    assert urlsplit(driver.requests[0].url).hostname == "oauth.bitrix24.tech"
    assert tokens.oauth_server == "https://oauth.bitrix24.tech"


def test_it_is_asked_once(drive, open_session, oauth_app):
    driver = drive(lambda request: NoResponse(TransportFailure.TIMEOUT, "ReadTimeout"))
    with pytest.raises(TransportError):
        driver.hold(redeem(open_session(oauth_app), "authorization_code", "the-code"))
    assert len(driver.requests) == 1


def test_a_webhook_has_nothing_to_redeem(drive, open_session, webhook):
    driver = drive(lambda request: None)
    with pytest.raises(AuthError, match="webhook"):
        driver.hold(redeem(open_session(webhook), "authorization_code", "the-code"))
    assert driver.requests == []
