"""One renewal per expiry, however many threads, tasks and processes notice it together."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_b24.exceptions import AuthError
from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, MemoryTokenStore, OAuthApp, Tokens
from airflow_provider_b24.sandbox import Delay

TWENTY_PROCESSES = """
import fcntl, json, os, sys
import requests
from airflow_provider_b24.rest import Bitrix24Client, OAuthApp, Tokens

portal, client_id, client_secret, path = sys.argv[1:]


class FileStore:
    def load(self):
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return Tokens.from_json(json.load(file))

    def store(self, tokens):
        with open(path, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = json.dumps(tokens.to_json())
            file.write(text)
            file.truncate(len(text))


client = Bitrix24Client(OAuthApp(portal, client_id, client_secret, portal), token_store=FileStore())
gate, go = os.pipe()
children = []
for _ in range(20):
    child = os.fork()
    if not child:
        try:
            os.close(go)
            os.read(gate, 1)
            os._exit(0 if client.call("profile").result["ID"] == "1" else 2)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
    children.append(child)
os.close(go)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def refreshes(portal, status=None):
    return [
        request
        for request in portal.requests
        if request.method == "oauth.token" and (status is None or request.status == status)
    ]


def test_twenty_processes_with_an_expired_pair_make_it_through_and_not_all_try_to_refresh(
    portal, portal_app, portal_tokens, tmp_path
):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(portal_tokens.to_json()))
    portal.expire_access_tokens()
    arguments = [portal.url, portal_app.client_id, portal_app.client_secret, str(path)]

    done = subprocess.run(
        [sys.executable, "-c", TWENTY_PROCESSES, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.stdout.split() == ["0"] * 20, done.stderr
    assert len(refreshes(portal, 200)) == 1, "a refresh token works once: one of them has won"
    # One to nine on two cores; the more the machine has to do, the more of them begin before the winner has stored.
    assert len(refreshes(portal)) < 20
    stored = Tokens.from_json(json.loads(path.read_text()))
    assert stored.refresh_token == portal.application.refresh_token
    store = MemoryStore(stored)
    with Bitrix24Client(portal_app, token_store=store) as client:
        assert client.call("profile").result["ID"] == "1"
    assert store.stores == 0


class MemoryStore:
    def __init__(self, tokens):
        self.tokens, self.stores = tokens, 0

    def load(self):
        return self.tokens

    def store(self, tokens):
        self.tokens = tokens
        self.stores += 1


def test_threads_of_several_clients_renew_once(portal, portal_app, firm_store):
    portal.expire_access_tokens()
    clients = [Bitrix24Client(portal_app, token_store=firm_store) for _ in range(3)]
    start = threading.Barrier(12)

    def call(index):
        start.wait()
        return clients[index % 3].call("profile").result["ID"]

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(call, range(12))) == ["1"] * 12
    assert len(refreshes(portal)) == 1
    assert firm_store.stores == 1


class LoopStore(MemoryStore):
    async def load(self):
        await asyncio.sleep(0)
        return self.tokens

    async def store(self, tokens):
        await asyncio.sleep(0.05)
        self.tokens = tokens
        self.stores += 1


def test_tasks_of_several_clients_renew_once_and_do_not_block_the_loop(portal, portal_app, portal_tokens):
    portal.expire_access_tokens()
    store = LoopStore(portal_tokens)
    beats = []

    async def beat():
        while True:
            beats.append(1)
            await asyncio.sleep(0.01)

    async def main():
        heart = asyncio.create_task(beat())
        clients = [AsyncBitrix24Client(portal_app, token_store=store) for _ in range(3)]
        replies = await asyncio.gather(*(clients[index % 3].call("profile") for index in range(12)))
        for client in clients:
            await client.close()
        heart.cancel()
        return [reply.result["ID"] for reply in replies]

    assert asyncio.run(main()) == ["1"] * 12
    assert len(refreshes(portal)) == 1
    assert store.stores == 1
    assert len(beats) > 3


def test_threads_and_an_event_loop_renew_together_once(portal, portal_app, firm_store):
    portal.expire_access_tokens()
    start = threading.Barrier(2)

    async def main():
        async with AsyncBitrix24Client(portal_app, token_store=firm_store) as client:
            return (await client.call("profile")).result["ID"]

    def in_a_loop():
        start.wait()
        return asyncio.run(main())

    def blocking():
        start.wait()
        with Bitrix24Client(portal_app, token_store=firm_store) as client:
            return client.call("profile").result["ID"]

    with ThreadPoolExecutor(2) as pool:
        assert [task.result() for task in (pool.submit(in_a_loop), pool.submit(blocking))] == ["1", "1"]
    assert len(refreshes(portal)) == 1


def test_a_dead_refresh_token_says_how_to_reconnect(portal, portal_app, firm_store, free_clock):
    portal.expire_access_tokens()
    portal.revoke_refresh_tokens()

    with (
        Bitrix24Client(
            portal_app, token_store=firm_store, clock=free_clock, sleep=free_clock.sleep
        ) as client,
        pytest.raises(AuthError) as caught,
    ):
        client.call("profile")
    assert "Connect the application to the portal again" in str(caught.value)
    assert firm_store.stores == 0


def test_a_refresh_token_alone_is_enough_to_begin_with(portal, portal_app):
    store = MemoryTokenStore(Tokens("", portal.application.refresh_token))

    with Bitrix24Client(portal_app, token_store=store) as client:
        assert client.call("profile").result["ID"] == "1"
    assert [request.method for request in portal.requests] == ["oauth.token", "profile"]


def test_the_secret_goes_to_the_authorization_server_only(portal, portal_app, firm_store):
    portal.expire_access_tokens()

    with Bitrix24Client(portal_app, token_store=firm_store) as client:
        client.batch([("profile", {})] * 60)

    told = {
        request.method
        for request in portal.requests
        if portal_app.client_secret in f"{request.path} {request.parameters} {request.headers}"
    }
    assert told == {"oauth.token"}


def test_a_wrong_secret_is_an_error_without_the_secret(portal, portal_app, firm_store):
    portal.expire_access_tokens()
    wrong = OAuthApp(portal.url, portal_app.client_id, "wr0ng", portal.url)

    with Bitrix24Client(wrong, token_store=firm_store) as client, pytest.raises(AuthError) as caught:
        client.call("profile")
    assert "client_secret" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


def test_a_batch_with_an_expired_pair_is_done_once(portal, portal_app, firm_store):
    portal.expire_access_tokens()

    with Bitrix24Client(portal_app, token_store=firm_store) as client:
        outcomes = client.batch([("crm.lead.add", {"fields": {"TITLE": "x"}})] * 120)

    assert sorted(outcome.result for outcome in outcomes) == list(range(1, 121))
    assert len(refreshes(portal)) == 1


class Interrupted(BaseException):
    """What a time limit raises in the midst of whatever is done."""


class TestWhoIsInterruptedWhileTheTokensAreRenewed:
    """The new pair is stored before anything else happens: it is the only one that is good now."""

    @pytest.fixture(autouse=True)
    def slow_server(self, portal):
        portal.expire_access_tokens()
        portal.faults.add(Delay(2, after_work=True), method="oauth.token")

    def wait_for_renewal(self, portal):
        portal.wait_until(lambda: portal.application.refresh_token != self.before)

    @pytest.mark.parametrize(
        "do",
        [lambda client: client.call("profile"), lambda client: client.batch([("profile", {})] * 120)],
        ids=["in a call", "in requests at the same time"],
    )
    def test_by_a_signal(self, portal, portal_app, firm_store, do):
        self.before = firm_store.load().refresh_token

        def end(*_):
            raise Interrupted

        def send_signal():
            self.wait_for_renewal(portal)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

        usual = signal.signal(signal.SIGUSR1, end)
        sender = threading.Thread(target=send_signal)
        try:
            with Bitrix24Client(portal_app, token_store=firm_store) as client:
                sender.start()
                with pytest.raises(Interrupted):
                    do(client)
                assert firm_store.load().refresh_token == portal.application.refresh_token
                assert client.call("profile").result["ID"] == "1"
        finally:
            sender.join()
            signal.signal(signal.SIGUSR1, usual)

    def test_by_a_signal_that_comes_before_it_is_waited_for(
        self, portal, portal_app, firm_store, monkeypatch
    ):
        before = firm_store.load().refresh_token
        submit = ThreadPoolExecutor.submit

        def interrupted(*arguments):
            submit(*arguments)
            time.sleep(0.5)
            raise Interrupted

        with Bitrix24Client(portal_app, token_store=firm_store) as client:
            monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
            with pytest.raises(Interrupted):
                client.call("profile")
            monkeypatch.undo()
            assert firm_store.load().refresh_token == portal.application.refresh_token == before
            assert client.call("profile").result["ID"] == "1"

    def test_by_a_cancellation(self, portal, portal_app, portal_tokens):
        store = LoopStore(portal_tokens)
        self.before = portal_tokens.refresh_token

        async def main():
            async with AsyncBitrix24Client(portal_app, token_store=store) as client:
                task = asyncio.create_task(client.call("profile"))
                await asyncio.to_thread(self.wait_for_renewal, portal)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert store.tokens.refresh_token == portal.application.refresh_token
                return (await client.call("profile")).result["ID"]

        assert asyncio.run(main()) == "1"
