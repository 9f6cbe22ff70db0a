"""What begins and ends with the API server."""

from __future__ import annotations

import pytest

from airflow_provider_b24.receiver import create_app, serving
from airflow_provider_b24.receiver.serving import Serving, ServingWithTheServer

SECRET = "the password of the database"


class Spy:
    """Notes when it is started and stopped."""

    def __init__(self, seen):
        self.seen = seen

    async def start(self, _server):
        self.seen.append("start")

    def let_calls_in(self, server):
        self.seen.append(f"calls reach {server}")

    async def stop(self):
        self.seen.append("stop")


@pytest.mark.anyio
async def test_it_starts_before_the_server_says_that_it_is_up_and_ends_before_it_is_down():
    seen = []

    async def server_app(scope, receive, send):
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            seen.append("serving")
            await send({"type": "lifespan.shutdown.complete"})
        else:
            seen.append(scope["path"])

    async def send(message):
        seen.append(message["type"])

    app = ServingWithTheServer(server_app, lambda: Spy(seen))
    await app({"type": "http", "path": "/somewhere"}, None, send)
    await app({"type": "lifespan", "app": "Airflow"}, None, send)
    assert seen == [
        "/somewhere",
        "start",
        "calls reach Airflow",
        "lifespan.startup.complete",
        "serving",
        "stop",
        "lifespan.shutdown.complete",
    ]


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Start and stop a receiver's work with a server; gives what the server was asked for."""
    monkeypatch.setattr(serving.gc, "freeze", lambda: None)  # for the whole process, tests included

    async def start(server_app):
        app = create_app(spool_folder=tmp_path / "spool")
        work = Serving(app, dispatches=False)
        await work.start(server_app)
        await work.stop()

    return start


@pytest.mark.anyio
async def test_a_fresh_server_is_warmed_up_before_it_says_that_it_is_up(started, monkeypatch):
    monkeypatch.setattr(serving, "make_tables", lambda tries: None)
    asked = []

    async def server_app(scope, receive, send):
        asked.append((scope["method"], scope["path"]))
        if scope["path"].startswith("/api"):
            raise RuntimeError  # what cannot be warmed up is no obstacle
        await send({"type": "http.response.start", "status": 200, "headers": []})

    await started(server_app)
    assert asked == [("GET", "/execution/health"), ("GET", "/api/v2/version"), ("GET", "/bitrix24/health")]


@pytest.mark.anyio
async def test_tables_that_cannot_be_made_yet_keep_no_server_from_starting(started, monkeypatch, caplog):
    def fails(tries):
        raise PermissionError(SECRET)

    async def server_app(scope, receive, send):
        return None

    monkeypatch.setattr(serving, "make_tables", fails)
    await started(server_app)
    assert "The tables of calls cannot be made yet: PermissionError" in caplog.text
    assert SECRET not in caplog.text
