"""A result reference is a capability, so it does not get into access logs."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from airflow_provider_b24.receiver import create_app
from airflow_provider_b24.receiver.access_log import ConcealedReferences


@pytest.fixture
def logging_airflow(monkeypatch: pytest.MonkeyPatch) -> tuple[TestClient, list[Any]]:
    """Give an API server with the access log that Airflow has since 3.2, and what that logs."""
    http_access_log = pytest.importorskip("airflow.api_fastapi.common.http_access_log")
    logged: list[Any] = []
    monkeypatch.setattr(http_access_log.logger, "info", lambda *args, **kwargs: logged.append((args, kwargs)))
    airflow = FastAPI()
    airflow.mount("/bitrix24", create_app())
    airflow.add_middleware(http_access_log.HttpAccessLogMiddleware)
    return TestClient(airflow), logged


@pytest.mark.parametrize("route", ["", "/fail", "/heartbeat", "/no/such/route"])
def test_airflows_access_log_shows_no_reference(route, logging_airflow):
    airflow, logged = logging_airflow
    airflow.post(f"/bitrix24/results/the-reference{route}", json={})
    assert len(logged) == 1
    assert f"/bitrix24/results/***{route}" in repr(logged)
    assert "the-reference" not in repr(logged)


def test_other_paths_are_logged_as_they_are(logging_airflow):
    airflow, logged = logging_airflow
    airflow.post("/bitrix24/sales/robots/score_lead", content=b"x[=1")
    assert "/bitrix24/sales/robots/score_lead" in repr(logged)


@pytest.mark.parametrize("route", ["install", "oauth/callback", "install/", "oauth/callback//"])
def test_airflows_access_log_shows_no_authorization_code(route, logging_airflow):
    airflow, logged = logging_airflow
    airflow.get(f"/bitrix24/crm/{route}?code=the-code&state=terminal.x")
    assert f"/bitrix24/crm/{route}" in repr(logged)
    assert "the-code" not in repr(logged)


@pytest.mark.anyio
async def test_a_server_that_logs_when_the_response_starts_sees_no_reference_either():
    seen = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/bitrix24/results/the-reference/fail",
        "raw_path": b"/bitrix24/results/the-reference/fail",
        "query_string": b"",
        "headers": [],
    }

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":  # where uvicorn writes its access log
            seen.append((scope["path"], scope["raw_path"]))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    await ConcealedReferences(PlainTextResponse("ok"))(scope, receive, send)
    assert seen == [("/bitrix24/results/***/fail", b"/bitrix24/results/***/fail")]
