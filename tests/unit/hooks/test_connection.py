"""What an Airflow connection of type bitrix24 may say, and what it is told when it cannot be used."""

import json

import pytest
from airflow.sdk import Connection

from airflow_provider_b24.exceptions import ConnectionConfigError
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.rest import OAuthApp, Webhook

SECRET = "s3cr3tc0de"


def read(**fields):
    extra = fields.pop("extra", None)
    return PortalConnection.from_airflow(
        Connection(
            conn_id="crm",
            conn_type="bitrix24",
            extra=json.dumps(extra) if isinstance(extra, (dict, list)) else extra,
            **fields,
        )
    )


@pytest.mark.parametrize(
    ("fields", "portal_url"),
    [
        ({"host": "example.bitrix24.com"}, "https://example.bitrix24.com"),
        ({"host": "https://example.bitrix24.com/"}, "https://example.bitrix24.com"),
        ({"host": "https://portal.example.com:8443"}, "https://portal.example.com:8443"),
        ({"host": "portal.example.com", "port": 8443}, "https://portal.example.com:8443"),
        ({"host": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ({"host": "127.0.0.1", "port": 8080, "schema": "http"}, "http://127.0.0.1:8080"),
    ],
)
def test_the_host_may_be_given_in_any_usual_form(fields, portal_url):
    connection = read(login="1", password=SECRET, **fields)
    assert connection.portal_url == portal_url
    assert connection.kind == "webhook"
    assert connection.credentials == Webhook(portal_url, "1", SECRET)


def test_a_whole_webhook_url_may_be_pasted_as_host():
    connection = read(host=f"https://example.bitrix24.com/rest/7/{SECRET}/")
    assert connection.credentials == Webhook("https://example.bitrix24.com", "7", SECRET)


def test_a_connection_uri_from_the_environment_is_understood(monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_CRM",
        json.dumps(
            {"conn_type": "bitrix24", "host": "http://localhost:8000", "login": "1", "password": SECRET}
        ),
    )
    assert PortalConnection.load("crm").portal_url == "http://localhost:8000"


def test_an_authorization_server_that_is_not_bitrix24s_is_refused():
    extra = {"client_id": "app.1", "client_secret": SECRET, "oauth_server": "https://oauth.example.com"}
    with pytest.raises(ConnectionConfigError, match="not oauth.example.com") as caught:
        read(host="example.bitrix24.com", extra=extra)
    assert SECRET not in str(caught.value)


def test_a_client_id_makes_it_an_oauth_application():
    connection = read(
        host="example.bitrix24.com",
        extra={
            "client_id": "app.1",
            "client_secret": SECRET,
            "access_token": "a",
            "refresh_token": "r",
            "oauth_server": "https://oauth.bitrix24.tech",
            "member_id": "m",
            "application_token": "t",
            "tariff": "enterprise",
            "timeout": "12.5",
            "trusted_hosts": "new.example.com, Other.example.com",
        },
    )
    assert connection.kind == "oauth"
    assert connection.credentials == OAuthApp(
        "https://example.bitrix24.com", "app.1", SECRET, "https://oauth.bitrix24.tech"
    )
    assert connection.tokens is not None
    assert connection.tokens.refresh_token == "r"
    assert (connection.member_id, connection.application_token) == ("m", "t")
    assert (connection.tariff, connection.timeout) == ("enterprise", 12.5)
    assert connection.trusted_hosts == ("new.example.com", "other.example.com")


def test_an_application_that_is_not_connected_yet_has_no_tokens():
    assert read(host="x.bitrix24.com", extra={"client_id": "a", "client_secret": SECRET}).tokens is None


def test_empty_form_fields_mean_nothing_was_given():
    connection = read(
        host="x.bitrix24.com",
        login="1",
        password=SECRET,
        extra={"client_id": "", "tariff": None, "timeout": "", "trusted_hosts": "", "member_id": " "},
    )
    assert (connection.kind, connection.tariff, connection.timeout) == ("webhook", "standard", 30.0)
    assert (connection.member_id, connection.trusted_hosts) == (None, ())


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, True),
        ("", True),
        (True, True),
        ("True", True),
        (False, False),
        ("false", False),
        (" /ca ", "/ca"),
    ],
)
def test_certificates_are_checked_as_the_connection_says(given, meant):
    connection = read(host="x.bitrix24.com", login="1", password=SECRET, extra={"verify": given})
    assert connection.verify == meant


def test_authorities_that_are_not_on_this_machine_are_named_when_they_are_needed(tmp_path):
    there, missing = tmp_path / "ca.pem", tmp_path / "missing.pem"
    there.touch()
    webhook = {"host": "x.bitrix24.com", "login": "1", "password": SECRET}
    for path in (there, tmp_path):
        assert read(**webhook, extra={"verify": str(path)}).authorities() == str(path)
    connection = read(**webhook, extra={"verify": str(missing)})
    with pytest.raises(ConnectionConfigError, match=f"'crm' cannot be used: verify names {missing}"):
        connection.authorities()


WEBHOOK = {"host": "x.bitrix24.com", "login": "1", "password": SECRET}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "no host"),
        ({"host": "x.bitrix24.com"}, "no credentials"),
        ({"host": "x.bitrix24.com", "login": "1"}, "no credentials"),
        ({"host": "x.bitrix24.com", "login": "admin", "password": SECRET}, "user id is a number"),
        ({"host": "http://x.bitrix24.com", "login": "1", "password": SECRET}, "loopback"),
        ({"host": "ftp://x.bitrix24.com", "login": "1", "password": SECRET}, "https"),
        ({"host": f"http://x.bitrix24.com/rest/1/{SECRET}/"}, "loopback"),
        ({"host": f"https://x.bitrix24.com/rest/one/{SECRET}/"}, "path"),
        ({"host": "x.bitrix24.com", "extra": {"client_id": "a"}}, "client_secret is missing"),
        (WEBHOOK | {"extra": "{"}, "not JSON"),
        (WEBHOOK | {"extra": [1]}, "JSON object"),
        (WEBHOOK | {"extra": {"tariff": "free"}}, "tariff must be one of"),
        (WEBHOOK | {"extra": {"timeout": -1}}, "timeout must be a positive number"),
        (WEBHOOK | {"extra": {"timeout": "soon"}}, "timeout must be a positive number"),
        (WEBHOOK | {"extra": {"timeout": "nan"}}, "timeout must be a positive number"),
        (WEBHOOK | {"extra": {"member_id": 5}}, "member_id must be text"),
        (WEBHOOK | {"extra": {"verify": "flase"}}, "verify must be true, false, or the whole path"),
        (WEBHOOK | {"extra": {"verify": 1}}, "verify must be text"),
        (WEBHOOK | {"extra": {"trusted_hosts": [1]}}, "trusted_hosts must be a list"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_and_reason_without_secrets(fields, reason):
    with pytest.raises(ConnectionConfigError, match=reason) as caught:
        read(**fields)
    assert "'crm'" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert not caught.value.retryable


def test_no_secret_shows_in_the_repr():
    connection = read(
        host="x.bitrix24.com",
        extra={
            "client_id": "app",
            "client_secret": SECRET,
            "access_token": SECRET,
            "refresh_token": SECRET,
            "application_token": SECRET,
        },
    )
    assert SECRET not in repr(connection)


def test_signing_keys_depend_on_the_secret_and_the_purpose():
    one, other = read(**WEBHOOK), read(**WEBHOOK | {"password": "0ther"})
    keys = {one.signing_key("result"), one.signing_key("state"), other.signing_key("result")}
    assert len(keys) == 3
    assert one.signing_key("result") == read(**WEBHOOK).signing_key("result")
    assert SECRET.encode() not in b"".join(keys)
