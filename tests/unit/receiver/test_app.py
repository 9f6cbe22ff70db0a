"""The receiver as an application: nothing public but its routes."""

from __future__ import annotations

from starlette.testclient import TestClient

from airflow_provider_b24.receiver import create_app


def test_its_routes_are_these():
    schema = create_app().openapi()
    assert {(path, *methods) for path, methods in schema["paths"].items()} == {
        ("/{conn_id}/robots/{dag_id}", "post"),
        ("/{conn_id}/robots/{dag_id}/{prefix}", "post"),
        ("/results/{reference}", "post"),
        ("/results/{reference}/fail", "post"),
        ("/results/{reference}/heartbeat", "post"),
        ("/{conn_id}/events", "post"),
        ("/{conn_id}/install", "post", "get"),
        ("/{conn_id}/oauth/start", "get", "post"),
        ("/{conn_id}/oauth/callback", "get"),
        ("/health", "get"),
    }


def test_it_does_not_publish_its_description():
    client = TestClient(create_app())
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(path).json() == {
            "error": "unknown_route",
            "message": "The receiver has no such route.",
        }


def test_the_limits_can_be_set():
    client = TestClient(create_app(max_body_bytes=10))
    assert client.post("/c/robots/d", content=b"a=" + b"b" * 20).status_code == 413
    assert client.post("/results/x", content=b"{" + b" " * 20).status_code == 413


def test_health_asks_nobody_and_looks_at_nothing(tmp_path):
    no_folder = tmp_path / "spool"
    no_folder.touch()
    client = TestClient(create_app(spool_folder=no_folder))
    assert (client.get("/health").status_code, client.get("/health").json()) == (200, {"status": "healthy"})
    assert client.head("/health").status_code == 200
