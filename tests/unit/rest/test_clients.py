"""What both clients refuse before they talk to anybody."""

import asyncio
import os
import signal
import ssl
import threading
from contextlib import suppress

import pytest

from airflow_provider_b24.rest import (
    AsyncBitrix24Client,
    Bitrix24Client,
    Coalescer,
    MemoryTokenStore,
    Patience,
    Reply,
    Tokens,
    TokenStore,
)
from airflow_provider_b24.rest.encoding import plain
from airflow_provider_b24.rest.wire import NoResponse, Request, TransportFailure

CLIENTS = pytest.mark.parametrize("client", [Bitrix24Client, AsyncBitrix24Client])


@CLIENTS
def test_an_application_needs_a_token_store(client, oauth_app):
    with pytest.raises(ValueError, match="token store"):
        client(oauth_app)
    client(oauth_app, token_store=MemoryTokenStore())


@CLIENTS
@pytest.mark.parametrize("credentials", [None, "https://example.bitrix24.com/rest/1/s3cr3t/"])
def test_credentials_must_be_credentials(client, credentials):
    with pytest.raises(ValueError, match="a Webhook or an OAuthApp") as caught:
        client(credentials)
    assert "s3cr3t" not in str(caught.value)


@CLIENTS
def test_an_unknown_tariff_is_an_error(client, webhook):
    with pytest.raises(ValueError, match="tariff"):
        client(webhook, tariff="gold")


@CLIENTS
def test_a_client_shows_no_secret(client, webhook):
    made = client(webhook)

    assert made.portal == "example.bitrix24.com"
    assert "s3cr3t" not in repr(made)


@pytest.mark.parametrize("token", ["", None, 7])
def test_an_answer_needs_an_event_token(webhook, token):
    with pytest.raises(ValueError, match="event token"):
        Bitrix24Client(webhook).send_event(token)


@pytest.mark.parametrize("size", [0, 51])
def test_a_coalescer_knows_the_size_of_a_batch(webhook, size):
    with pytest.raises(ValueError, match="1 to 50"):
        Coalescer(AsyncBitrix24Client(webhook), max_size=size)


def test_a_store_in_memory_is_a_token_store():
    store = MemoryTokenStore(Tokens("a", "r"))
    assert isinstance(store, TokenStore)
    store.store(Tokens("b", "s"))
    assert store.load() == Tokens("b", "s")


def test_calls_with_different_deadlines_share_a_request_and_keep_their_deadlines(webhook):
    sent = []

    class Client(AsyncBitrix24Client):
        async def batch(self, calls, *, halt=False, deadline=None, on_outcome=None):
            sent.append([call.deadline for call in calls])
            for number, call in enumerate(calls):
                on_outcome(number, Reply(result=call.deadline))

    async def main():
        coalescer = Coalescer(Client(webhook), linger=0.0)
        replies = await asyncio.gather(
            *(coalescer.call("profile", deadline=deadline) for deadline in (None, 5.0, 7.0))
        )
        await coalescer.close()
        return [reply.result for reply in replies]

    assert asyncio.run(main()) == [None, 5.0, 7.0]
    assert sent == [[None, 5.0, 7.0]]


def test_answers_go_first_and_never_in_one_request_with_others(webhook):
    sent = []

    class Client(AsyncBitrix24Client):
        async def batch(self, calls, *, halt=False, deadline=None, on_outcome=None):
            sent.append([call.method for call in calls])
            for number, _ in enumerate(calls):
                on_outcome(number, Reply(result=True))

    async def main():
        coalescer = Coalescer(Client(webhook), linger=0.01)
        methods = ["crm.lead.get", "bizproc.event.send", "crm.lead.get", "bizproc.activity.log"]
        await asyncio.gather(*(coalescer.call(method) for method in methods))
        await coalescer.close()

    asyncio.run(main())
    assert sent == [["bizproc.event.send", "bizproc.activity.log"], ["crm.lead.get"] * 2]


def test_each_caller_is_told_as_soon_as_its_call_has_an_outcome(webhook):
    class Client(AsyncBitrix24Client):
        async def batch(self, calls, *, halt=False, deadline=None, on_outcome=None):
            on_outcome(1, Reply(result="quick"))
            await asyncio.Event().wait()

    async def main():
        coalescer = Coalescer(Client(webhook), linger=0.0)
        slow, quick = (asyncio.create_task(coalescer.call("crm.lead.get")) for _ in range(2))
        result = (await quick).result
        assert not slow.done()
        return result

    assert asyncio.run(main()) == "quick"


def test_a_batch_that_fails_as_a_whole_fails_for_each_caller(webhook):
    class Client(AsyncBitrix24Client):
        async def batch(self, calls, *, halt=False, deadline=None, on_outcome=None):
            raise RuntimeError("no way")

    async def main():
        coalescer = Coalescer(Client(webhook), linger=0.0)
        return await asyncio.gather(*(coalescer.call("profile") for _ in range(3)), return_exceptions=True)

    assert [str(error) for error in asyncio.run(main())] == ["no way"] * 3


@pytest.mark.parametrize(("value", "reason"), [(b"x", "bytes"), ("half a smile: \ud83d", "surrogate")])
def test_a_value_that_cannot_be_sent_concerns_its_own_caller_only(webhook, value, reason):
    class Client(AsyncBitrix24Client):
        async def batch(self, calls, *, halt=False, deadline=None, on_outcome=None):
            for number, call in enumerate(calls):
                on_outcome(number, Reply(result=plain(call.params)))

    async def main():
        coalescer = Coalescer(Client(webhook))
        outcomes = await asyncio.gather(
            coalescer.call("profile", {"a": value}),
            coalescer.call("profile", {"a": "b"}),
            return_exceptions=True,
        )
        await coalescer.close()
        return outcomes

    refused, done = asyncio.run(main())
    assert isinstance(refused, ValueError)
    assert reason in str(refused)
    assert done.result == {"a": "b"}


def _certificate_error():
    return ssl.SSLCertVerificationError("self-signed certificate")


@pytest.mark.parametrize(
    ("cause", "failure"),
    [
        (_certificate_error(), TransportFailure.UNTRUSTED),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), TransportFailure.BROKEN),
        (ssl.SSLError(1, "decryption failed or bad record mac"), TransportFailure.BROKEN),
    ],
)
def test_only_a_certificate_is_a_reason_for_the_blocking_client_to_give_up(
    webhook, monkeypatch, cause, failure
):
    from requests.exceptions import SSLError
    from urllib3.exceptions import MaxRetryError
    from urllib3.exceptions import SSLError as PoolSSLError

    def fail(*_args, **_kwargs):
        raise SSLError(MaxRetryError(None, "/", PoolSSLError(cause)))

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", fail)

    answer = Bitrix24Client(webhook)._send(Request("POST", "https://example.bitrix24.com/x", {}, b"", 1.0))
    assert answer.failure is failure


@pytest.mark.parametrize(
    ("cause", "failure"),
    [
        (_certificate_error(), TransportFailure.UNTRUSTED),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), TransportFailure.REFUSED),
    ],
)
def test_only_a_certificate_is_a_reason_for_the_client_of_a_loop_to_give_up(
    webhook, monkeypatch, cause, failure
):
    import httpx

    async def fail(*_args, **_kwargs):
        raise httpx.ConnectError("no") from cause

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", fail)
    request = Request("POST", "https://example.bitrix24.com/x", {}, b"", 1.0)

    answer = asyncio.run(AsyncBitrix24Client(webhook)._send(request))
    assert answer.failure is failure


class _TimeLimitError(BaseException):
    """What Airflow raises in the main thread when a task's execution_timeout is over."""


@pytest.mark.parametrize("waiting_for", ["a response", "the limit"])
def test_a_time_limit_ends_a_long_batch_at_once_and_no_further_request_is_sent(webhook, waiting_for):
    gate, began, sent = threading.Event(), threading.Event(), []

    class Client(Bitrix24Client):
        def _send(self, request):
            sent.append(request)
            began.set()
            if waiting_for == "a response":
                gate.wait(60)
                return NoResponse(TransportFailure.TIMEOUT, "x")
            return NoResponse(TransportFailure.REFUSED, "x")

    def over(*_):
        raise _TimeLimitError

    def ring():
        began.wait(60)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, over)
    bell = threading.Thread(target=ring)
    threads = set(threading.enumerate())
    client = Client(webhook, patience=Patience(first_delay=3600, longest_delay=3600), chance=lambda: 1.0)
    try:
        bell.start()
        with pytest.raises(_TimeLimitError):
            client.batch([("crm.lead.get", {"ID": number}) for number in range(500)])
        assert not gate.is_set()
    finally:
        gate.set()
        bell.join()
        signal.signal(signal.SIGUSR1, before)
    for thread in set(threading.enumerate()) - threads:
        with suppress(RuntimeError):  # the signal came while it was being started
            thread.join(60)
        assert not thread.is_alive()
    assert len(sent) <= 4


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("proxy.example.org:3128", "http://proxy.example.org:3128"),
        ("http://proxy.example.org:3128", "http://proxy.example.org:3128"),
        ("", None),
    ],
)
def test_a_proxy_may_be_named_without_its_scheme(webhook, monkeypatch, named, meant):
    import httpx

    seen = []
    usual = httpx.AsyncHTTPTransport.__init__

    def note(self, **options):
        seen.append(options["proxy"])
        usual(self, **options)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "__init__", note)
    monkeypatch.setenv("HTTPS_PROXY", named)

    async def main():
        AsyncBitrix24Client(webhook)._transport("https://example.bitrix24.com")

    asyncio.run(main())
    assert seen == [meant]
