"""Responses come compressed where the portal can compress them."""

import asyncio
import gzip
import json
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_provider_b24.exceptions import TransportError
from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, Patience, Webhook

RECORDS = [{"ID": str(number), "TITLE": "Lead"} for number in range(1000)]


@pytest.fixture
def compressing_portal():
    """A portal that compresses for those who ask for it; its ``damage`` is cut off the end."""
    portal = type("Portal", (), {"damage": 0, "accepted": [], "lengths": []})()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            accepted = self.headers.get("Accept-Encoding", "")
            portal.accepted.append(accepted)
            body = json.dumps({"result": RECORDS}).encode()
            self.send_response(200)
            if "gzip" in accepted:
                body = gzip.compress(body)
                body = body[: len(body) - portal.damage]
                self.send_header("Content-Encoding", "gzip")
            portal.lengths.append(len(body))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    portal.webhook = Webhook(f"http://127.0.0.1:{server.server_port}", "1", "code")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield portal
    server.shutdown()
    thread.join()
    server.server_close()


def blocking(webhook):
    with Bitrix24Client(webhook, patience=Patience(attempts=1), clock=partial(time.monotonic)) as client:
        return client.call("crm.lead.list").result


def in_a_loop(webhook):
    async def run():
        async with AsyncBitrix24Client(
            webhook, patience=Patience(attempts=1), clock=partial(time.monotonic)
        ) as client:
            return (await client.call("crm.lead.list")).result

    return asyncio.run(run())


@pytest.mark.parametrize("call", [blocking, in_a_loop])
def test_both_clients_ask_for_the_same_compression_and_read_it(compressing_portal, call):
    assert call(compressing_portal.webhook) == RECORDS
    assert compressing_portal.accepted == ["gzip"]
    assert compressing_portal.lengths[0] < len(json.dumps(RECORDS)) / 4


@pytest.mark.parametrize("call", [blocking, in_a_loop])
def test_a_compressed_response_that_is_cut_off_is_no_response(compressing_portal, call):
    compressing_portal.damage = 500
    with pytest.raises(TransportError) as caught:
        call(compressing_portal.webhook)
    assert caught.value.ambiguous
