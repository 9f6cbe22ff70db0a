"""Certificates are checked, and a portal nobody vouches for gets nothing."""

import asyncio
import json

import pytest

from airflow_provider_b24.exceptions import TransportError
from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, Patience, Webhook
from airflow_provider_b24.rest._base_client import authorities
from airflow_provider_b24.sandbox import SandboxPortal


def blocking(webhook, method="profile", **options):
    with Bitrix24Client(webhook, **options) as client:
        return client.call(method).result["ID"]


def in_a_loop(webhook, method="profile", **options):
    async def run():
        async with AsyncBitrix24Client(webhook, **options) as client:
            return (await client.call(method)).result["ID"]

    return asyncio.run(run())


@pytest.fixture(scope="module")
def https_portal():
    with SandboxPortal(https=True, limits=False) as portal:
        yield portal


@pytest.mark.parametrize("call", [blocking, in_a_loop])
def test_a_certificate_that_is_vouched_for_is_accepted(call, https_portal):
    webhook = Webhook.from_url(https_portal.webhook.url)

    assert call(webhook, verify=str(https_portal.ca_file)) == "1"
    assert call(webhook, verify=False) == "1"


@pytest.mark.parametrize("call", [blocking, in_a_loop])
def test_a_certificate_nobody_vouches_for_is_an_error_at_once(call, https_portal):
    before = len(https_portal.requests)

    with pytest.raises(TransportError, match="certificate not trusted") as caught:
        call(Webhook.from_url(https_portal.webhook.url))
    assert not caught.value.retryable
    assert not caught.value.ambiguous
    assert len(https_portal.requests) == before


AUTHORITIES = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]


@pytest.mark.parametrize("named", AUTHORITIES)
@pytest.mark.parametrize("call", [blocking, in_a_loop])
def test_both_clients_trust_whom_the_environment_names(call, https_portal, monkeypatch, named):
    for name in AUTHORITIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(named, str(https_portal.ca_file))

    assert call(Webhook.from_url(https_portal.webhook.url)) == "1"


@pytest.mark.parametrize("verify", ["path", "false", False])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_connection_says_whom_to_trust(https_portal, monkeypatch, verify, way):
    extra = {"verify": str(https_portal.ca_file) if verify == "path" else verify}
    connection = {"conn_type": "bitrix24", "host": https_portal.webhook.url, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))

    async def in_a_loop():
        async with Bitrix24Hook("crm") as hook:
            return await hook.async_call("profile")

    with Bitrix24Hook("crm") as hook:
        assert (hook.call("profile") if way == "sync" else asyncio.run(in_a_loop()))["ID"] == "1"


@pytest.mark.parametrize("verify", [False, "/etc/portal.pem"])
def test_bitrix24s_own_authorization_servers_are_checked_whatever_is_said_of_the_portal(verify, monkeypatch):
    for name in (*AUTHORITIES, "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert authorities(verify, "https://portal.example.com") == verify
    assert authorities(verify, "https://oauth.bitrix.info") is True
    assert authorities(verify, "https://oauth.bitrix24.tech") is True
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/all.pem")
    assert authorities(verify, "https://oauth.bitrix.info") == "/etc/all.pem"


def call_that_creates(way, webhook):
    """Make a call that must not be made twice, and give its error."""
    with pytest.raises(TransportError) as caught:
        way(webhook, patience=Patience(attempts=1), method="crm.lead.add")
    return caught.value


@pytest.mark.parametrize("content", [None, "this is no certificate"])
@pytest.mark.parametrize("way", [blocking, in_a_loop])
def test_authorities_that_cannot_be_read_are_an_error_of_the_family(
    way, https_portal, monkeypatch, tmp_path, content
):
    path = tmp_path / "authorities.pem"
    if content:
        path.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))

    error = call_that_creates(way, Webhook.from_url(https_portal.webhook.url))
    assert (error.code, error.retryable, error.ambiguous) == ("connection_untrusted", False, False)
    assert "nothing was sent" in str(error)


@pytest.mark.parametrize(
    "proxy",
    ["ftp://u:p4ssw0rd@127.0.0.1:1", "http://127.0.0.1:x", "http://[", "http://", "socks5://127.0.0.1:1"],
)
@pytest.mark.parametrize("way", [blocking, in_a_loop])
def test_of_a_proxy_that_cannot_be_used_it_is_said_that_nothing_was_sent(
    way, https_portal, monkeypatch, proxy
):
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    error = call_that_creates(way, Webhook.from_url(https_portal.webhook.url))
    assert (error.code, error.ambiguous) == ("connection_refused", False)
    assert "that of the proxy" in str(error)
    assert "p4ssw0rd" not in str(error)
