"""Certificates are checked, and a portal nobody vouches for gets nothing."""

import asyncio

import pytest

from airflow_provider_b24.exceptions import TransportError
from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, Webhook
from airflow_provider_b24.sandbox import SandboxPortal


def blocking(webhook, **options):
    with Bitrix24Client(webhook, **options) as client:
        return client.call("profile").result["ID"]


def in_a_loop(webhook, **options):
    async def run():
        async with AsyncBitrix24Client(webhook, **options) as client:
            return (await client.call("profile")).result["ID"]

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
