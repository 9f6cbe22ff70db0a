"""Starting, stopping, HTTPS, pages for people."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
from typing import Any

import httpx
import pytest

from airflow_provider_b24.sandbox import CallRobot, Delay, DropConnection, SandboxPortal
from airflow_provider_b24.sandbox.serve import run


def test_many_portals_run_side_by_side() -> None:
    portals = [SandboxPortal() for _ in range(20)]
    for portal in portals:
        portal.start()
    try:
        assert len({portal.url for portal in portals}) == 20
        assert len({portal.member_id for portal in portals}) == 20
        for portal in portals:
            assert httpx.get(portal.webhook.url + "profile").status_code == 200
    finally:
        for portal in portals:
            portal.stop()


def test_a_stopped_portal_has_released_its_port() -> None:
    with SandboxPortal() as portal:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", portal.url)
        assert portal.url.endswith(portal.host)
        address, port = portal.host.split(":")
        assert httpx.get(portal.webhook.url + "profile").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(portal.webhook.url + "profile")
    with SandboxPortal(port=int(port)) as again:
        assert again.host == f"{address}:{port}"
    assert portal.requests[0].method == "profile"


def test_stopping_waits_for_nobody_and_complains_about_nothing(caplog: Any) -> None:
    portal = SandboxPortal()
    portal.start()
    portal.faults.add(Delay(60), times=None)
    outcome: list[Exception] = []

    def call() -> None:
        try:
            httpx.get(portal.webhook.url + "profile", timeout=30)
        except httpx.HTTPError as error:
            outcome.append(error)

    with caplog.at_level(logging.WARNING), httpx.Client() as idle:
        idle.get(portal.url + "/")
        thread = threading.Thread(target=call)
        thread.start()
        portal.wait_until(lambda: len(portal.requests) == 1)
        portal.stop()
        thread.join(5)
    assert len(outcome) == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    portal.stop()


def test_a_portal_starts_once() -> None:
    with SandboxPortal() as portal, pytest.raises(RuntimeError, match="starts once"):
        portal.start()


def test_a_port_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        portal = SandboxPortal(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            portal.start()
    portal.stop()


def test_a_portal_that_is_stopped_still_runs_processes_in_memory(register: Any, live_portal: Any) -> None:
    register()
    live_portal.stop()
    process = live_portal.start_process([CallRobot("score", timeout_duration=60)])
    assert process.status == "waiting"


def test_https_is_served_with_a_certificate_of_its_own() -> None:
    with SandboxPortal(https=True) as portal:
        assert portal.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(portal.ca_file))
        trusted.verify_flags |= ssl.VERIFY_X509_STRICT
        with httpx.Client(verify=trusted) as client:
            assert client.get(portal.webhook.url + "profile").status_code == 200
            assert client.get(portal.url.replace("127.0.0.1", "localhost") + "/").status_code == 200
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(portal.webhook.url + "profile")
        directory = portal.ca_file.parent
        assert (directory / "portal.key").stat().st_mode & 0o077 == 0
    assert not directory.exists()


def test_a_portal_listens_where_it_is_told() -> None:
    with SandboxPortal(host="localhost", https=True) as portal:
        assert portal.host.startswith("localhost:")
        trusted = ssl.create_default_context(cafile=str(portal.ca_file))
        with httpx.Client(verify=trusted) as client:
            assert client.get(portal.webhook.url + "profile").status_code == 200
            assert client.get(portal.url + "/sandbox/state").json()["url"] == portal.url


def test_connections_can_be_dropped_over_https() -> None:
    with SandboxPortal(https=True) as portal:
        portal.faults.add(DropConnection())
        trusted = ssl.create_default_context(cafile=str(portal.ca_file))
        with httpx.Client(verify=trusted) as client:
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                client.get(portal.webhook.url + "profile")
            assert client.get(portal.webhook.url + "profile").status_code == 200


def test_the_page_is_served_from_the_portal_alone(live_portal: Any) -> None:
    page = httpx.get(live_portal.url)
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    files = re.findall(r'(?:src|href)="(/sandbox/page/[^"]+)"', page.text)
    assert [
        httpx.get(live_portal.url + file).headers["content-type"].partition(";")[0] for file in files
    ] == [
        "text/css",
        "text/javascript",
    ]
    assert "bizproc.event.send" in httpx.get(live_portal.url + "/sandbox/methods").json()["rest"]
    assert httpx.get(live_portal.url + "/elsewhere").status_code == 404
    assert httpx.get(live_portal.url + "/sandbox/page/page.html").status_code == 404


def test_the_state_can_be_read_over_http(live_portal: Any, rest: Any, register: Any) -> None:
    register()
    process = live_portal.start_process([CallRobot("score")])
    live_portal.wait_for_call()
    token = process.waiting_for
    rest.webhook("bizproc.event.send", {"event_token": token, "return_values": {"score": 1}})
    response = rest.http.get(live_portal.url + "/sandbox/state")
    state = response.json()
    assert (state["webhook"], state["member_id"]) == (live_portal.webhook.url, live_portal.member_id)
    assert state["application"]["access_token"] == live_portal.application.access_token
    assert [robot["code"] for robot in state["robots"]] == ["score"]
    assert [(p["id"], p["status"]) for p in state["processes"]] == [(process.id, "completed")]
    assert [(call["code"], call["status"]) for call in state["calls"]] == [("score", 200)]
    (accepted,) = state["answers"]
    assert accepted["values"] == {"score": 1}
    assert (accepted["count"], accepted["refused"], accepted["ignored"]) == (1, 0, 0)
    assert [r["method"] for r in state["requests"]] == ["bizproc.robot.add", "bizproc.event.send"]
    assert token not in response.text


def test_a_process_can_be_started_over_http(live_portal: Any, rest: Any, register: Any) -> None:
    register()
    response = rest.http.post(
        live_portal.url + "/sandbox/processes",
        json={
            "steps": [
                {"type": "call_robot", "code": "score", "properties": {"model": "{=Document:M}"}},
                {"type": "set_field", "field": "S", "value": "{=A1:score}"},
            ],
            "document_id": ["crm", "CCrmDocumentDeal", "DEAL_1"],
            "values": {"M": "deep"},
        },
    )
    assert response.status_code == 201
    process = live_portal.processes[response.json()["id"]]
    assert (response.json()["status"], response.json()["waiting_at"]) == ("waiting", "A1")
    assert live_portal.wait_for_call().fields["properties"] == {"model": "deep"}
    assert process.document_id == ("crm", "CCrmDocumentDeal", "DEAL_1")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"steps": [{"type": "fly"}]}',
        b'{"steps": [{"type": "finish"}], "document_id": ["crm"]}',
        b'{"steps": [{"type": "finish"}], "document_id": "LEAD_1"}',
        b'{"steps": [{"type": "finish"}], "values": []}',
    ],
)
def test_a_process_that_cannot_be_read_is_refused(live_portal: Any, rest: Any, body: bytes) -> None:
    response = rest.http.post(live_portal.url + "/sandbox/processes", content=body)
    assert response.status_code == 400
    assert response.json()["detail"]
    assert live_portal.processes == {}


def test_the_clock_can_be_moved_over_http(live_portal: Any, rest: Any) -> None:
    before = live_portal.clock.now()
    response = rest.http.post(live_portal.url + "/sandbox/clock", json={"advance": 3600})
    assert response.json()["now"] >= before + 3600
    assert live_portal.clock.now() >= before + 3600


@pytest.mark.parametrize("body", [b"{}", b'{"advance": -1}', b'{"advance": "1"}', b'{"advance": true}', b"x"])
def test_a_wrong_move_of_the_clock_is_refused(live_portal: Any, rest: Any, body: bytes) -> None:
    before = live_portal.clock.now()
    assert rest.http.post(live_portal.url + "/sandbox/clock", content=body).status_code == 400
    assert live_portal.clock.now() < before + 60


def test_the_command_line_serves_until_it_is_told_to_stop() -> None:
    announced: list[SandboxPortal] = []
    ready, over = threading.Event(), threading.Event()

    def announce(portal: SandboxPortal) -> None:
        announced.append(portal)
        ready.set()

    thread = threading.Thread(target=run, kwargs={"tariff": "enterprise", "announce": announce, "stop": over})
    thread.start()
    assert ready.wait(10)
    (portal,) = announced
    assert httpx.get(portal.webhook.url + "profile").status_code == 200
    assert portal.tariff == "enterprise"
    over.set()
    thread.join(10)
    assert not thread.is_alive()
    with pytest.raises(httpx.ConnectError):
        httpx.get(portal.url)
