"""How a call is addressed and authorized, and that none of it shows."""

import pytest

from airflow_provider_b24.rest import OAuthApp, Tokens, Webhook, parse_portal_address
from airflow_provider_b24.rest.credentials import named_oauth_server


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("example.bitrix24.com", "https://example.bitrix24.com"),
        (" Example.Bitrix24.com/ ", "https://example.bitrix24.com"),
        ("https://example.bitrix24.com", "https://example.bitrix24.com"),
        ("https://example.bitrix24.com:443/", "https://example.bitrix24.com"),
        ("https://portal.example.org:8443/rest/", "https://portal.example.org:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
        ("http://[::1]:99", "http://[::1]:99"),
        ("127.0.0.1:8080", "https://127.0.0.1:8080"),
    ],
)
def test_an_address_is_read_in_the_forms_people_have_it_in(address, url):
    assert parse_portal_address(address) == (url, "", "")


@pytest.mark.parametrize(
    "address",
    [
        "https://example.bitrix24.com/rest/1/abc123/",
        "https://example.bitrix24.com/rest/1/abc123",
        "example.bitrix24.com/rest/1/abc123/profile.json",
        "https://example.bitrix24.com/rest/1/abc123/crm.deal.list",
        "https://example.bitrix24.com/rest/api/1/abc123/",
    ],
)
def test_a_pasted_webhook_url_is_understood(address):
    assert parse_portal_address(address) == ("https://example.bitrix24.com", "1", "abc123")
    assert Webhook.from_url(address) == Webhook("https://example.bitrix24.com", "1", "abc123")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", "host"),
        ("http://", "host"),
        ("exa mple.com", "host"),
        ("http://example.bitrix24.com", "unencrypted"),
        ("http://192.168.0.5/rest/1/s3cr3t/", "unencrypted"),
        ("http://127.0.0.1.evil.com", "unencrypted"),
        ("ftp://example.bitrix24.com", "https"),
        ("https://user:s3cr3t@example.bitrix24.com", "password"),
        ("https://example.bitrix24.com:port", "cannot be read"),
        ("https://example.bitrix24.com:99999", "cannot be read"),
        ("https://example.bitrix24.com/stream/", "not that of a webhook"),
        ("https://example.bitrix24.com/rest/one/s3cr3t/", "not that of a webhook"),
        ("https://example.bitrix24.com/rest/1/s3cr3t/?auth=s3cr3t", "query"),
        ("https://[::1", "cannot be read"),
    ],
)
def test_a_bad_address_is_an_error_that_says_why_and_repeats_no_secret(address, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_portal_address(address)

    assert "s3cr3t" not in str(caught.value)


def test_a_portal_address_is_not_yet_a_webhook():
    with pytest.raises(ValueError, match="/rest/USER_ID/CODE/"):
        Webhook.from_url("example.bitrix24.com")


@pytest.mark.parametrize(
    ("user_id", "code"), [("one", "abc"), ("", "abc"), ("1", ""), ("1", "a/b"), ("1\n", "abc")]
)
def test_a_webhook_needs_a_number_and_a_code(user_id, code):
    with pytest.raises(ValueError, match="webhook"):
        Webhook("example.bitrix24.com", user_id, code)


@pytest.mark.parametrize(("client_id", "secret"), [("", "x"), ("x", "")])
def test_an_application_needs_id_and_secret(client_id, secret):
    with pytest.raises(ValueError, match="client_id"):
        OAuthApp("example.bitrix24.com", client_id, secret)


def test_an_authorization_server_must_be_encrypted_too():
    with pytest.raises(ValueError, match="unencrypted"):
        OAuthApp("example.bitrix24.com", "id", "secret", "http://oauth.example.com")


@pytest.mark.parametrize("server", ["oauth.bitrix.info", "https://oauth.bitrix.info/oauth/token/"])
def test_an_authorization_server_is_read_with_and_without_its_path(server):
    assert (
        OAuthApp("example.bitrix24.com", "id", "secret", server).oauth_server == "https://oauth.bitrix.info"
    )


@pytest.mark.parametrize(
    "thing",
    [
        Webhook("example.bitrix24.com", "1", "s3cr3t"),
        OAuthApp("example.bitrix24.com", "app", "s3cr3t"),
        Tokens("s3cr3t-a", "s3cr3t-r", 5.0, "member"),
        parse_portal_address("example.bitrix24.com/rest/1/s3cr3t/"),
    ],
)
def test_no_secret_shows(thing):
    assert "s3cr3t" not in f"{thing!r} {thing!s}"


def test_tokens_survive_storage():
    tokens = Tokens("a", "r", 17.5, "member", "3", "crm,bizproc")

    assert Tokens.from_json(tokens.to_json()) == tokens


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "access_token"),
        ({"access_token": "", "refresh_token": "r"}, "access_token"),
        ({"access_token": "a"}, "refresh_token"),
        ({"access_token": "a", "refresh_token": ["r"]}, "refresh_token"),
        ({"access_token": "a", "refresh_token": "r", "expires": "soon"}, "expires"),
    ],
)
def test_what_is_no_pair_of_tokens_is_refused(data, reason):
    with pytest.raises(ValueError, match=reason):
        Tokens.from_json(data)


class TestAuthorizationServers:
    @pytest.mark.parametrize("server", ["", " ", "/oauth/token/"])
    def test_none_need_be_named(self, server):
        assert OAuthApp("example.bitrix24.com", "id", "secret", server).oauth_server == ""

    @pytest.mark.parametrize(
        ("server", "url"),
        [
            ("oauth.bitrix24.tech", "https://oauth.bitrix24.tech"),
            ("https://OAUTH.bitrix.info:443/oauth/token/", "https://oauth.bitrix.info"),
            ("http://127.0.0.1:8024", "http://127.0.0.1:8024"),
            ("https://localhost:8443", "https://localhost:8443"),
        ],
    )
    def test_bitrix24s_own_and_those_of_this_machine_are_accepted(self, server, url):
        assert OAuthApp("example.bitrix24.com", "id", "secret", server).oauth_server == url

    @pytest.mark.parametrize(
        "server",
        [
            "https://oauth.example.com",
            "https://example.bitrix24.com",
            "https://oauth.bitrix.info.example.com",
            "https://oauth.bitrix.info:8443",
            "https://oauth.bitrix24.tech.",
            "https://10.0.0.1",
        ],
    )
    def test_the_secret_goes_to_no_other(self, server):
        with pytest.raises(ValueError, match=r"oauth.bitrix.info or oauth.bitrix24.tech, not|no usable host"):
            OAuthApp("example.bitrix24.com", "id", "secret", server)

    @pytest.mark.parametrize(
        ("address", "server"),
        [
            ("https://oauth.bitrix.info/rest/", "https://oauth.bitrix.info"),
            ("https://oauth.bitrix24.tech/rest/", "https://oauth.bitrix24.tech"),
            ("oauth.bitrix24.tech", "https://oauth.bitrix24.tech"),
            ("http://oauth.bitrix.info/rest/", ""),
            ("https://oauth.bitrix.info@example.com/", ""),
            ("https://example.com/oauth.bitrix.info", ""),
            ("https://oauth.bitrix.info:8443/", ""),
            ("http://127.0.0.1:8024/rest/", ""),
            ("https://[oauth.bitrix.info", ""),
            ("", ""),
            (None, ""),
            (["https://oauth.bitrix.info"], ""),
        ],
    )
    def test_whoever_names_one_can_only_choose_between_the_two(self, address, server):
        assert named_oauth_server(address) == server

    def test_tokens_remember_who_has_granted_them(self):
        answered = {
            "access_token": "a",
            "refresh_token": "r",
            "server_endpoint": "https://oauth.bitrix24.tech/rest/",
        }
        tokens = Tokens.from_json(answered)
        assert tokens.oauth_server == "https://oauth.bitrix24.tech"
        assert Tokens.from_json(tokens.to_json()) == tokens
