"""Events: installation, online subscriptions, the offline queue."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from airflow_provider_b24.sandbox import CallRobot

ADDED = "ONCRMLEADADD"


def test_installation_brings_a_new_pair_of_tokens(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    old = live_portal.application.refresh_token
    call = live_portal.send_install_event(robot_handler.url).wait()
    assert call.status == 200
    assert (call.fields["event"], call.fields["data"]["INSTALLED"]) == ("ONAPPINSTALL", "Y")
    auth = call.fields["auth"]
    assert auth["application_token"] == live_portal.application.application_token
    assert auth["member_id"] == live_portal.member_id
    assert auth["refresh_token"] == live_portal.application.refresh_token != old
    assert rest.application("profile", token=auth["access_token"]).status_code == 200
    assert live_portal.event_calls == [call]
    assert live_portal.calls == []
    assert b"auth%5Bapplication_token%5D=" in robot_handler.received[0][1]


def test_uninstallation_carries_no_tokens_and_ends_everything(
    live_portal: Any, rest: Any, register: Any, robot_handler: Any, error_of: Any
) -> None:
    register()
    rest.application("event.bind", {"event": ADDED, "handler": robot_handler.url})
    call = live_portal.send_uninstall_event(robot_handler.url, clean=False).wait()
    assert (call.fields["event"], call.fields["data"]["CLEAN"]) == ("ONAPPUNINSTALL", 0)
    assert set(call.fields["auth"]) == {
        "domain",
        "server_endpoint",
        "client_endpoint",
        "member_id",
        "application_token",
    }
    assert error_of(rest.application("profile"))[:2] == (401, "APPLICATION_NOT_FOUND")
    assert live_portal.robots == []
    assert live_portal.start_process([CallRobot("score")]).status == "completed"
    assert live_portal.fire_event(ADDED, {"FIELDS": {"ID": 1}}) == []


def test_an_application_can_be_installed_again(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    live_portal.send_uninstall_event(robot_handler.url).wait()
    live_portal.send_install_event(robot_handler.url).wait()
    assert rest.application("profile").status_code == 200


def test_an_installation_that_is_not_finished_shows(live_portal: Any, rest: Any) -> None:
    live_portal.application.finished = False
    assert rest.application("app.info").json()["result"]["INSTALLED"] is False


def test_a_test_event_brings_the_application_what_it_sent(
    live_portal: Any, rest: Any, robot_handler: Any
) -> None:
    bound = {"event": "ONAPPTEST", "handler": robot_handler.url}
    rest.application("event.bind", bound)
    other = live_portal.create_application()
    rest.application("event.bind", bound, token=other.access_token)
    assert rest.application("event.test", {"any": "data"}).json()["result"] == 1
    (call,) = live_portal.event_calls
    call.wait()
    assert call.fields["event"] == "ONAPPTEST"
    assert call.fields["data"] == {"QUERY": {"any": "data"}, "LANGUAGE_ID": "en"}
    assert call.fields["auth"]["application_token"] == live_portal.application.application_token
    assert rest.webhook("event.test").json()["error"] == "ACCESS_DENIED"


def test_an_opened_page_gets_tokens_of_its_user(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    before = live_portal.application.access_token
    call = live_portal.open_application(f"{robot_handler.url}/install", user_id=2).wait()
    assert (call.kind, call.answer) == ("page", "done")
    query = dict(parse_qsl(urlsplit(call.url).query))
    assert set(query) == {"DOMAIN", "PROTOCOL", "LANG", "APP_SID"}
    assert query["DOMAIN"] == live_portal.host
    assert call.fields["APPLICATION_TOKEN"] == live_portal.application.application_token
    assert call.fields["member_id"] == live_portal.member_id
    profile = rest.application("profile", token=call.fields["AUTH_ID"]).json()["result"]
    assert profile["ID"] == "2"
    assert live_portal.application.access_token == before
    assert live_portal.event_calls == []


def test_a_subscriber_is_called_once_for_an_event(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    assert rest.application("event.bind", {"event": "OnCrmLeadAdd", "handler": robot_handler.url}).json()[
        "result"
    ]
    number = rest.result("crm.lead.add", {"fields": {"TITLE": "New"}})
    (call,) = live_portal.event_calls
    call.wait()
    assert call.fields["event"] == ADDED
    assert call.fields["data"] == {"FIELDS": {"ID": number}}
    auth = call.fields["auth"]
    assert auth["user_id"] == 1
    assert "refresh_token" not in auth
    assert rest.application("profile", token=auth["access_token"]).status_code == 200
    assert len(robot_handler.received) == 1


def test_an_event_of_nobody_carries_no_tokens(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    rest.application("event.bind", {"event": ADDED, "handler": robot_handler.url})
    (call,) = live_portal.fire_event(ADDED, {"FIELDS": {"ID": 1}}, user_id=None)
    assert "access_token" not in call.wait().fields["auth"]


def test_a_subscription_can_be_cancelled(live_portal: Any, rest: Any, robot_handler: Any) -> None:
    bound = {"event": ADDED, "handler": robot_handler.url}
    rest.application("event.bind", bound)
    rest.application("event.bind", {**bound, "auth_type": 2})
    assert rest.application("event.get").json()["result"] == [
        {"event": ADDED, "handler": robot_handler.url, "auth_type": "0", "offline": 0},
        {"event": ADDED, "handler": robot_handler.url, "auth_type": "2", "offline": 0},
    ]
    assert rest.application("event.unbind", {**bound, "auth_type": 2}).json()["result"] == {"count": 1}
    assert rest.application("event.unbind", {"event": "ONTASKADD"}).json()["result"] == {"count": 0}
    assert rest.application("event.unbind", bound).json()["result"] == {"count": 1}
    assert live_portal.fire_event(ADDED, {}) == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"event": "ONMOONRISE", "handler": "http://x.example/"}, "ERROR_EVENT_NOT_FOUND"),
        ({"event": ADDED, "handler": "nowhere"}, "ERROR_WRONG_HANDLER_URL"),
    ],
)
def test_a_wrong_subscription_is_refused(rest: Any, error_of: Any, params: Any, code: str) -> None:
    assert error_of(rest.application("event.bind", params))[:2] == (400, code)


def test_the_same_subscription_twice_is_refused(rest: Any, error_of: Any) -> None:
    params = {"event": ADDED, "handler": "http://x.example/"}
    assert rest.application("event.bind", params).status_code == 200
    assert rest.application("event.bind", params).status_code == 400


def test_an_employee_subscribes_for_himself_only(rest: Any, error_of: Any) -> None:
    params = {"event": ADDED, "handler": "http://x.example/"}
    assert rest.employee("event.bind", params).status_code == 200
    rest.application("event.bind", params)
    assert [b["auth_type"] for b in rest.employee("event.get").json()["result"]] == ["2"]
    refused = error_of(rest.employee("event.bind", {**params, "auth_type": 1}))
    assert refused == (
        403,
        "ACCESS_DENIED",
        "Access denied! Event binding with AUTH_TYPE requires administrator access rights",
    )
    refused = error_of(rest.employee("event.bind", {"event": ADDED, "event_type": "offline"}))
    assert refused == (
        403,
        "ACCESS_DENIED",
        "Access denied! Offline events binding requires administrator access rights",
    )
    assert rest.employee("event.unbind").json()["result"] == {"count": 1}


def test_events_need_an_application(rest: Any, error_of: Any) -> None:
    for method in ("events", "event.bind", "event.unbind", "event.get", "event.offline.get"):
        assert error_of(rest.webhook(method))[1:] == ("ACCESS_DENIED", "Application context required")
    assert ADDED in rest.application("events").json()["result"]


def _offline(rest: Any, method: str, **params: Any) -> Any:
    return rest.application(f"event.offline.{method}", params).json()["result"]


@pytest.fixture
def offline_queue(live_portal: Any, rest: Any) -> None:
    """Three changed leads; the first changed twice."""
    rest.application("event.bind", {"event": ADDED, "event_type": "offline"})
    for number in (1, 2, 3, 1):
        assert live_portal.fire_event(ADDED, {"FIELDS": {"ID": number}}) == []


@pytest.mark.usefixtures("offline_queue")
def test_the_queue_holds_one_record_per_object(rest: Any) -> None:
    reply = rest.application("event.offline.list").json()
    assert reply["total"] == 3
    assert [row["EVENT_DATA"]["FIELDS"]["ID"] for row in reply["result"]] == [1, 2, 3]
    assert {(row["EVENT_NAME"], row["PROCESS_ID"], row["ERROR"]) for row in reply["result"]} == {
        (ADDED, "", "0")
    }


@pytest.mark.usefixtures("offline_queue")
def test_fetching_removes_the_records_fetched(rest: Any) -> None:
    first = _offline(rest, "get", limit=2)
    assert (first["process_id"], len(first["events"])) == (None, 2)
    assert len(_offline(rest, "get")["events"]) == 1
    assert _offline(rest, "get")["events"] == []


@pytest.mark.usefixtures("offline_queue")
def test_a_reserved_portion_is_hidden_until_it_is_confirmed(rest: Any) -> None:
    reserved = _offline(rest, "get", clear=0, limit=2)
    process_id = reserved["process_id"]
    assert process_id
    other = _offline(rest, "get", clear=0)
    assert len(other["events"]) == 1
    assert other["process_id"] != process_id
    again = _offline(rest, "get", clear=0, process_id=process_id)
    assert again["events"] == reserved["events"]
    one = reserved["events"][0]["MESSAGE_ID"]
    assert _offline(rest, "clear", process_id=process_id, message_id=[one]) is True
    assert len(_offline(rest, "list")) == 2
    assert _offline(rest, "clear", process_id=process_id) is True
    assert [row["PROCESS_ID"] for row in _offline(rest, "list")] == [other["process_id"]]


@pytest.mark.usefixtures("offline_queue")
def test_an_erroneous_record_is_kept_apart(rest: Any) -> None:
    reserved = _offline(rest, "get", clear=0)
    process_id, number = reserved["process_id"], reserved["events"][0]["MESSAGE_ID"]
    assert _offline(rest, "error", process_id=process_id, message_id=[number]) is True
    assert [row["ERROR"] for row in _offline(rest, "list", filter={"ERROR": 1})] == ["1"]
    assert len(_offline(rest, "get", clear=0, process_id=process_id)["events"]) == 2
    erroneous = _offline(rest, "get", clear=0, process_id=process_id, error=1)["events"]
    assert [event["MESSAGE_ID"] for event in erroneous] == [number]


def test_a_change_while_the_object_is_reserved_is_a_new_record(
    live_portal: Any, rest: Any, offline_queue: None
) -> None:
    _offline(rest, "get", clear=0)
    live_portal.fire_event(ADDED, {"FIELDS": {"ID": 1}})
    assert len(_offline(rest, "get")["events"]) == 1


def test_queues_of_different_connectors_are_apart(live_portal: Any, rest: Any) -> None:
    rest.application("event.bind", {"event": ADDED, "event_type": "offline", "auth_connector": "sync"})
    live_portal.fire_event(ADDED, {"FIELDS": {"ID": 1}})
    assert _offline(rest, "get")["events"] == []
    assert len(_offline(rest, "get", auth_connector="sync")["events"]) == 1


def test_the_offline_queue_is_for_administrators(rest: Any, error_of: Any) -> None:
    for method in ("get", "list", "clear", "error"):
        refused = rest.employee(f"event.offline.{method}", {"process_id": "x"})
        assert error_of(refused) == (403, "ACCESS_DENIED", "Access denied!")
    assert rest.application("event.offline.clear").status_code == 400


def test_a_subscriber_of_the_offline_queue_is_told_of_it_not_too_often(
    rest: Any, live_portal: Any, robot_handler: Any
) -> None:
    live_portal.limits = False
    rest.application("event.bind", {"event": ADDED, "event_type": "offline"})
    bound = {"event": "ONOFFLINEEVENT", "handler": robot_handler.url, "options": {"minTimeout": 600}}
    rest.application("event.bind", bound)

    def told() -> list[Any]:
        return [call.fields["data"] for call in live_portal.event_calls]

    for _ in range(2):
        rest.result("crm.lead.add", {"fields": {"TITLE": "x"}})
    assert told() == [{}]
    live_portal.clock.advance(601)
    assert told() == [{}]
    rest.result("crm.lead.add", {"fields": {"TITLE": "x"}})
    assert told() == [{}, {}]
    assert len(rest.application("event.offline.list").json()["result"]) == 3
