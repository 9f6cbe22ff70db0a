"""Questions to a running Airflow, here to a server that stands in for one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from airflow_provider_b24.testing import airflow_api
from airflow_provider_b24.testing.airflow_api import AirflowApi, AirflowApiError


@pytest.fixture
def server() -> Iterator[tuple[AirflowApi, list[int]]]:
    """A server, and the statuses that it answers with, one after the other, and the last one from then on."""
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_token = self.path == "/auth/token"
            self.send_response(200 if is_token else statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.end_headers()
            self.wfile.write(json.dumps({"access_token": "t"} if is_token else {"version": "3"}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        yield AirflowApi(f"http://127.0.0.1:{listening.server_port}"), statuses
        listening.shutdown()
        thread.join()


def test_it_asks_again_while_the_database_is_busy(server: tuple[AirflowApi, list[int]]) -> None:
    airflow, answers = server
    answers += [500, 500, 200]

    assert airflow.request("GET", "version") == {"version": "3"}
    assert answers == [200]


def test_an_error_that_stays_is_told(
    server: tuple[AirflowApi, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_api, "PATIENCE_SECONDS", 0.5)
    airflow, answers = server
    answers += [500]

    with pytest.raises(AirflowApiError, match="GET version: HTTP 500"):
        airflow.request("GET", "version")


def test_another_error_is_told_at_once(server: tuple[AirflowApi, list[int]]) -> None:
    airflow, answers = server
    answers += [404, 200]

    with pytest.raises(AirflowApiError, match="HTTP 404"):
        airflow.request("GET", "version")
    assert answers == [200]
