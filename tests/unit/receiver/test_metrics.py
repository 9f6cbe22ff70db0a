"""What Airflow's metrics are told about requests to the receiver."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from airflow_provider_b24._airflow import metrics as airflow_metrics
from airflow_provider_b24.receiver import create_app

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"^\| `(bitrix24\.receiver\.\w+)` \| (\w+) \| (.*) \|$", re.MULTILINE)
TAG = re.compile(r"(?:tags?|and) `(\w+)`(?: \(([^)]*)\))?")
SECRET = "s3cr3tt0ken"


def documented():
    """Give name, kind and tags (tag name to the values that are listed) of each documented metric."""
    return [
        (name, kind, {tag: set(re.findall(r"`(\w+)`", values)) for tag, values in TAG.findall(meaning)})
        for name, kind, meaning in ROW.findall(DOCUMENTATION.read_text())
    ]


class Broken:
    """A backend that fails whatever it is told."""

    def __getattr__(self, name):
        def fail(*_args, **_kwargs):
            raise RuntimeError(f"no collector for {SECRET}")

        return fail


@pytest.fixture
def client(tmp_path):
    # So short a body is accepted that each route refuses before it asks anybody anything.
    app = create_app(spool_folder=tmp_path / "spool", max_body_bytes=10)
    return TestClient(app, raise_server_exceptions=False)


def request_everything(client):
    """Ask something of every route there is."""
    too_long = b"auth=" + SECRET.encode() * 10
    for path in (
        "/crm/robots/score",
        f"/results/{SECRET}",
        f"/results/{SECRET}/fail",
        f"/results/{SECRET}/heartbeat",
        "/crm/events",
        "/crm/install",
    ):
        client.post(path, content=too_long)
    client.get("/crm/oauth/start")
    client.get("/crm/oauth/callback", params={"code": SECRET})


def test_every_documented_metric_is_reported_with_its_tags(told, client):
    request_everything(client)

    assert {(name, kind, frozenset(tags)) for kind, name, _, tags in told} == {
        (name, kind, frozenset(tags)) for name, kind, tags in documented()
    }


def test_every_documented_value_of_a_tag_is_used_and_no_other(told, client):
    request_everything(client)

    for name, _, tags in documented():
        for tag, listed in tags.items():
            used = {said[tag] for _, stat, _, said in told if stat == name}
            assert used == listed or not listed


def test_a_request_is_counted_once_with_the_status_that_was_answered(told, client):
    assert client.post("/crm/robots/score", content=b"x" * 20).status_code == 413

    [counted, timed] = told
    tags = {"route": "robot_call", "status": "413"}
    assert counted == ("counter", "bitrix24.receiver.requests", 1, tags)
    assert (timed[:2], timed[3]) == (("timer", "bitrix24.receiver.duration"), {"route": "robot_call"})
    assert timed[2] >= 0


def test_addresses_that_are_no_route_and_looks_at_the_health_are_not_counted(told, client):
    client.get("/health")
    client.get("/no/such/route")
    client.put("/results/x")

    assert told == []


def test_nothing_secret_and_no_identifier_is_in_a_tag(told, client):
    request_everything(client)

    assert not [word for word in (SECRET, "crm", "score") if word in str(told)]


def test_a_backend_that_fails_changes_no_response(report_to, client, caplog):
    airflow_metrics._warn_once.cache_clear()
    report_to(Broken)

    assert client.post("/crm/robots/score", content=b"x" * 20).status_code == 413
    assert client.post("/crm/events", content=b"x" * 20).status_code == 413
    assert "Metrics cannot be reported to Airflow (RuntimeError)" in caplog.text
    assert SECRET not in caplog.text
