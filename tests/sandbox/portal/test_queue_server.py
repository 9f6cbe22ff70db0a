"""The queue server: what a handler receives, and that it receives it once."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import parse_qsl

import pytest

from airflow_provider_b24.sandbox import CallRobot


def test_a_handler_receives_the_whole_call(
    live_portal: Any, rest: Any, register: Any, robot_handler: Any
) -> None:
    register()
    process = live_portal.start_process(
        [CallRobot("score", {"tags": ["x", "ü &"], "flag": True}, timeout_duration=60)]
    )
    call = live_portal.wait_for_call()
    assert (call.status, call.error, call.answer, call.url) == (200, None, "done", robot_handler.url)
    ((content_type, body),) = robot_handler.received
    assert content_type == "application/x-www-form-urlencoded"
    assert body == call.body
    fields = dict(parse_qsl(body.decode("ascii"), strict_parsing=True))
    application = live_portal.application
    expected = {
        "workflow_id": process.id,
        "code": "score",
        "document_id[0]": "crm",
        "document_id[1]": "CCrmDocumentLead",
        "document_id[2]": "LEAD_77",
        "document_type[0]": "crm",
        "document_type[1]": "CCrmDocumentLead",
        "document_type[2]": "LEAD",
        "event_token": process.waiting_for,
        "properties[model]": "fast",
        "properties[tags][0]": "x",
        "properties[tags][1]": "ü &",
        "properties[flag]": "Y",
        "use_subscription": "Y",
        "timeout_duration": "60",
        "auth[expires_in]": "3600",
        "auth[scope]": ",".join(application.scope),
        "auth[domain]": live_portal.host,
        "auth[server_endpoint]": f"{live_portal.url}/rest/",
        "auth[status]": "L",
        "auth[client_endpoint]": f"{live_portal.url}/rest/",
        "auth[member_id]": live_portal.member_id,
        "auth[user_id]": "1",
        "auth[application_token]": application.application_token,
    }
    assert fields.items() >= expected.items()
    assert set(fields) - set(expected) == {"ts", "auth[access_token]", "auth[expires]", "auth[refresh_token]"}
    assert abs(int(fields["ts"]) - live_portal.clock.now()) < 5
    assert rest.application("profile", token=fields["auth[access_token]"]).json()["result"]["ID"] == "1"


def test_the_tokens_of_a_call_are_those_of_the_registered_user(
    live_portal: Any, rest: Any, register: Any
) -> None:
    register(AUTH_USER_ID=2)
    live_portal.start_process([CallRobot("score")])
    auth = live_portal.wait_for_call().fields["auth"]
    assert auth["user_id"] == 2
    assert rest.application("profile", token=auth["access_token"]).json()["result"]["ID"] == "2"


@pytest.mark.parametrize(("registered", "user_id"), [(None, None), (99, 1), (None, 99)])
def test_a_call_without_a_user_carries_no_tokens(
    live_portal: Any, register: Any, registered: int | None, user_id: int | None
) -> None:
    register(AUTH_USER_ID=registered)
    live_portal.start_process([CallRobot("score", user_id=user_id)])
    auth = live_portal.wait_for_call().fields["auth"]
    assert "application_token" in auth
    assert not {"access_token", "refresh_token", "expires", "expires_in", "user_id"} & set(auth)


def test_a_robot_call_carries_its_own_applications_secrets(
    live_portal: Any, rest: Any, register: Any, robot_handler: Any
) -> None:
    other = live_portal.create_application()
    robot = {"CODE": "score", "NAME": "Other", "HANDLER": robot_handler.url}
    rest.application("bizproc.robot.add", robot, other.access_token)
    register()
    for application in (other, live_portal.application):
        live_portal.start_process([CallRobot("score", client_id=application.client_id)])
        auth = live_portal.wait_for_call().fields["auth"]
        assert auth["application_token"] == application.application_token


@pytest.mark.parametrize("status", [202, 302, 400, 500, 503])
def test_whatever_the_handler_answers_it_is_called_once(
    live_portal: Any, register: Any, robot_handler: Any, status: int
) -> None:
    robot_handler.status = status
    register()
    process = live_portal.start_process([CallRobot("score")])
    assert live_portal.wait_for_call().status == status
    with pytest.raises(TimeoutError):
        live_portal.wait_for_call(0.05)
    assert len(robot_handler.received) == len(live_portal.calls) == 1
    assert process.status == "waiting"


def test_a_call_nobody_takes_is_lost(live_portal: Any, register: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    register(HANDLER=f"http://127.0.0.1:{port}/")
    process = live_portal.start_process([CallRobot("score")])
    call = live_portal.wait_for_call()
    assert (call.status, process.status) == (None, "waiting")
    assert call.error.startswith("ConnectError")


def test_a_call_can_be_posted_again_byte_by_byte(live_portal: Any, register: Any, robot_handler: Any) -> None:
    register()
    live_portal.start_process([CallRobot("score")])
    first = live_portal.wait_for_call()
    again = live_portal.repost(first).wait()
    assert again is live_portal.wait_for_call()
    assert again.status == 200
    assert robot_handler.received[0] == robot_handler.received[1]


def test_a_call_shows_no_secret(live_portal: Any, register: Any) -> None:
    register()
    process = live_portal.start_process([CallRobot("score")])
    shown = repr((live_portal.wait_for_call(), process))
    assert live_portal.application.application_token not in shown
    assert process.waiting_for not in shown


def test_a_hanging_handler_does_not_hold_up_the_others(
    live_portal: Any, register: Any, robot_handler: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        register(CODE="slow", HANDLER=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        register()
        live_portal.start_process([CallRobot("slow")])
        live_portal.start_process([CallRobot("score")])
        assert live_portal.wait_for_call().url == robot_handler.url
