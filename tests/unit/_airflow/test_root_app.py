"""Robot calls are taken before Airflow's middleware, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from airflow_provider_b24._airflow.root_app import let_in_directly


class Stamping:
    """Middleware that shows that it was passed."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def stamp(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"stamped", b"yes"))
            await send(message)

        await self._app(scope, receive, stamp)


def server_with(middleware: type, root_path: str = "") -> TestClient:
    receiver = FastAPI()

    @receiver.post("/{conn_id}/robots/{dag_id}")
    async def robot_call(conn_id: str, dag_id: str, request: Request) -> dict[str, Any]:
        return {"for": [conn_id, dag_id], "body": (await request.body()).decode()}

    server = FastAPI(root_path=root_path)
    server.mount("/bitrix24", receiver)
    server.add_middleware(middleware)
    server.middleware_stack = server.build_middleware_stack()
    server.state.done = let_in_directly(
        server, "/bitrix24", receiver, lambda scope: "/robots/" in scope["path"]
    )
    return TestClient(server)


@pytest.fixture
def own_middleware(monkeypatch: pytest.MonkeyPatch) -> type:
    monkeypatch.setattr(Stamping, "__module__", "airflow.api_fastapi.some")
    return Stamping


@pytest.mark.parametrize("root_path", ["", "/airflow"])
def test_a_call_reaches_the_application_without_airflow_s_middleware(
    own_middleware: type, root_path: str
) -> None:
    answer = server_with(own_middleware, root_path).post(
        f"{root_path}/bitrix24/crm/robots/score", content="x=1"
    )

    assert answer.json() == {"for": ["crm", "score"], "body": "x=1"}
    assert "stamped" not in answer.headers


@pytest.mark.parametrize("path", ["/bitrix24/health", "/robots/elsewhere", "/bitrix24x/crm/robots/score"])
def test_everything_else_goes_through_it(own_middleware: type, path: str) -> None:
    assert server_with(own_middleware).post(path).headers["stamped"] == "yes"


def test_middleware_of_others_is_never_left_out_as_it_may_guard_the_server() -> None:
    client = server_with(Stamping)

    answer = client.post("/bitrix24/crm/robots/score", content="x=1")

    assert answer.json()["for"] == ["crm", "score"]
    assert answer.headers["stamped"] == "yes"


def test_an_application_of_another_kind_is_left_as_it_is() -> None:
    assert not let_in_directly(object(), "/bitrix24", server_with, lambda _scope: True)  # type: ignore[arg-type]
