"""A client that was used before its process forks: parent and child go on, and share nothing."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_provider_b24.rest import Bitrix24Client, OAuthApp, Webhook


@pytest.fixture
def server():
    """A portal that keeps connections open, and remembers which connection each request came by."""
    connections = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            connections.append(self.client_address)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "13")
            self.end_headers()
            self.wfile.write(b'{"result": 1}')

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", connections
        server.shutdown()


def in_a_child(check):
    """Run something in a forked process; say whether it was true there."""
    child = os.fork()
    if not child:
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_each_has_connections_of_its_own(server, fresh_clock):
    url, connections = server
    with Bitrix24Client(Webhook(url, "1", "code"), clock=fresh_clock) as client:
        client.call("profile")
        assert in_a_child(lambda: client.call("profile").result == 1)
        client.call("profile")

    first, in_child, again = connections
    assert first == again
    assert in_child != first


def test_a_lock_that_another_thread_held_is_free_in_the_child(server, firm_store, fresh_clock):
    url, _ = server
    client = Bitrix24Client(OAuthApp(url, "client", "secret", url), token_store=firm_store, clock=fresh_clock)
    session = client._session
    locks = ("renewal_lock", "lookup_lock")

    for name in locks:
        getattr(session, name).acquire()
    try:
        assert in_a_child(lambda: not any(getattr(session, name).locked() for name in locks))
        assert all(getattr(session, name).locked() for name in locks)
    finally:
        for name in locks:
            getattr(session, name).release()
