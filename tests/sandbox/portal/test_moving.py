"""A portal that has moved to another address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_b24.sandbox import CallRobot, SandboxPortal, SetField


@pytest.fixture
def new_portal() -> Iterator[SandboxPortal]:
    with SandboxPortal() as portal:
        yield portal


def test_every_request_is_redirected_to_the_same_path(live_portal: Any, rest: Any) -> None:
    live_portal.move_to("https://new.bitrix24.example/")
    response = rest.http.post(live_portal.webhook.url + "crm.lead.add?x=1", json={"fields": {}})
    assert response.status_code == 302
    path = f"/rest/1/{live_portal.webhook.code}/crm.lead.add?x=1"
    assert response.headers["location"] == f"https://new.bitrix24.example{path}"
    assert len(live_portal.records("lead")) == 0
    assert live_portal.requests[-1].status == 302
    live_portal.move_to(None)
    assert rest.webhook("profile").status_code == 200


def test_everything_in_a_portal_moves_along(
    live_portal: Any, new_portal: Any, rest: Any, make_rest: Any, register: Any
) -> None:
    register()
    webhook, token = live_portal.webhook, live_portal.application.access_token
    process = live_portal.start_process([CallRobot("score"), CallRobot("score")])
    live_portal.move_to(new_portal)
    assert rest.webhook("profile").headers["location"].startswith(new_portal.url)

    moved = make_rest(new_portal)
    assert (new_portal.webhook.code, new_portal.member_id) == (webhook.code, live_portal.member_id)
    assert new_portal.webhook.url.startswith(new_portal.url)
    assert moved.application("app.info", token=token).status_code == 200
    assert moved.webhook("bizproc.event.send", {"event_token": process.waiting_for}).status_code == 200
    assert new_portal.processes == {process.id: process}
    live_portal.wait_for_call()
    assert new_portal.wait_for_call().fields["auth"]["domain"] == new_portal.host
    assert [request.status for request in live_portal.requests] == [200, 302]


def test_records_move_along_and_are_told_of_by_the_new_portal(
    live_portal: Any, new_portal: Any, rest: Any, make_rest: Any, robot_handler: Any
) -> None:
    live_portal.add_records("deal", 1)
    live_portal.add_automation("deal", "WON", [SetField("COMMENTS", "won")])
    live_portal.add_trigger("paid", "deal", "WON")
    live_portal.add_template("One", [])
    rest.application("crm.automation.trigger.add", {"CODE": "paid", "NAME": "Paid"})
    rest.application("event.bind", {"event": "ONCRMDEALUPDATE", "handler": robot_handler.url})
    live_portal.move_to(new_portal)
    moved = make_rest(new_portal)
    moved.application("crm.automation.trigger.execute", {"CODE": "paid", "OWNER_TYPE_ID": 2, "OWNER_ID": 1})
    assert moved.result("crm.deal.get", {"id": 1})["COMMENTS"] == "won"
    assert {call.fields["auth"]["domain"] for call in new_portal.event_calls} == {new_portal.host}
    assert new_portal.add_template("Two", []) == 2


def test_the_authorization_server_does_not_move(live_portal: Any, rest: Any) -> None:
    live_portal.move_to("https://new.bitrix24.example")
    assert rest.http.get(live_portal.oauth_url).status_code == 400


def test_patience_ends_in_the_new_portal_too(live_portal: Any, new_portal: Any, register: Any) -> None:
    register()
    process = live_portal.start_process([CallRobot("score", timeout_duration=60)])
    live_portal.move_to(new_portal)
    live_portal.clock.advance(59.9)
    assert process.wait(5).status == "completed"
