"""A running portal, somebody who calls it, and somebody whom it calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from airflow_provider_b24.sandbox import SandboxPortal

#: A minimal registration of a robot, without its handler.
SCORE = {
    "CODE": "score",
    "NAME": "Score the lead",
    "USE_SUBSCRIPTION": "Y",
    "PROPERTIES": {"model": {"Name": "Model", "Type": "string", "Default": "fast"}},
    "RETURN_PROPERTIES": {"score": {"Name": "Score", "Type": "double"}, "verdict": {"Name": "Verdict"}},
}


class Handler:
    """An application's handler: remembers what was posted to it."""

    def __init__(self) -> None:
        self.status = 200
        self.received: list[tuple[str, bytes]] = []
        owner = self

        class Doing(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.received.append((self.headers["Content-Type"], body))
                self.send_response(owner.status)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"done")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Doing)
        self.url = f"http://127.0.0.1:{self._server.server_port}/robot"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Rest:
    """Calls methods, as a webhook or as the application."""

    def __init__(self, portal: SandboxPortal) -> None:
        self.portal = portal
        self.http = httpx.Client(trust_env=False)

    def webhook(self, method: str, params: Any = None) -> httpx.Response:
        return self.http.post(self.portal.webhook.url + method, json=params or {})

    def application(
        self, method: str, params: dict[str, Any] | None = None, token: str = ""
    ) -> httpx.Response:
        auth = token or self.portal.application.access_token
        return self.http.post(f"{self.portal.url}/rest/{method}", json={**(params or {}), "auth": auth})

    def employee(self, method: str, params: dict[str, Any] | None = None) -> httpx.Response:
        """Call as the application on behalf of user 2, who is no administrator."""
        pair = self.portal.callers.tokens.issue(self.portal.application, 2)
        return self.application(method, params, pair.access_token)

    def api(self, method: str, params: Any = None, user_id: int = 1) -> httpx.Response:
        """Call a method of REST 3.0 by a webhook, of user 1 unless it is another's."""
        hook = self.portal.webhook if user_id == 1 else self.portal.create_webhook(user_id)
        return self.http.post(hook.url.replace("/rest/", "/rest/api/") + method, json=params or {})

    def api_result(self, method: str, params: Any = None, user_id: int = 1) -> Any:
        response = self.api(method, params, user_id)
        assert response.status_code == 200, response.text
        return response.json()["result"]

    def api_error(self, method: str, params: Any = None, user_id: int = 1) -> tuple[int, str]:
        """Return status and code of a refusal, without what all codes begin with."""
        response = self.api(method, params, user_id)
        return response.status_code, response.json()["error"]["code"].removeprefix("BITRIX_REST_V3_")

    def result(self, method: str, params: Any = None) -> Any:
        response = self.webhook(method, params)
        assert response.status_code == 200, response.text
        return response.json()["result"]


@pytest.fixture
def live_portal() -> Iterator[SandboxPortal]:
    with SandboxPortal() as portal:
        yield portal


@pytest.fixture
def rest(live_portal: SandboxPortal) -> Iterator[Rest]:
    rest = Rest(live_portal)
    yield rest
    rest.http.close()


@pytest.fixture
def make_rest() -> Iterator[Callable[[SandboxPortal], Rest]]:
    """Return a caller of any portal."""
    made: list[Rest] = []

    def make(portal: SandboxPortal) -> Rest:
        made.append(Rest(portal))
        return made[-1]

    yield make
    for rest in made:
        rest.http.close()


@pytest.fixture
def robot_handler() -> Iterator[Handler]:
    handler = Handler()
    yield handler
    handler.close()


@pytest.fixture
def register(rest: Rest, robot_handler: Handler) -> Callable[..., None]:
    """Register the robot `score`, with changes if wanted."""

    def register(kind: str = "robot", **changes: Any) -> None:
        response = rest.application(f"bizproc.{kind}.add", {**SCORE, "HANDLER": robot_handler.url, **changes})
        assert response.json().get("result") is True, response.text

    return register


@pytest.fixture
def error_of() -> Callable[[httpx.Response], tuple[int, str, str]]:
    """Return status, code and description of a refusal, and check that there is nothing else in it."""

    def error_of(response: httpx.Response) -> tuple[int, str, str]:
        body = response.json()
        assert set(body) == {"error", "error_description"}
        return response.status_code, body["error"], body["error_description"]

    return error_of
