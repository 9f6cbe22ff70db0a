"""How a method is called: addresses, credentials, formats."""

from __future__ import annotations

import re
import socket
from datetime import datetime
from typing import Any

import httpx
import pytest

from airflow_provider_b24.sandbox import SandboxPortal

PARAMETERS = {"a": "1", "b": {"c": ["x", "y"], "d": {"e": "ü & ="}}}
FORM = {"a": "1", "b[c][0]": "x", "b[c][1]": "y", "b[d][e]": "ü & ="}


@pytest.mark.parametrize(
    "sent",
    [
        {"verb": "GET", "params": FORM},
        {"verb": "POST", "data": FORM},
        {"verb": "POST", "json": PARAMETERS},
        {"verb": "POST", "params": {"a": "1"}, "json": {"b": PARAMETERS["b"]}},
        {"verb": "POST", "params": {"a": "0"}, "json": PARAMETERS},
        {"verb": "POST", "files": {name: (None, value) for name, value in FORM.items()}},
    ],
    ids=["query", "form", "json", "query and json", "json wins over query", "multipart"],
)
def test_parameters_arrive_whatever_the_format(live_portal: Any, rest: Any, sent: dict[str, Any]) -> None:
    verb = sent.pop("verb")
    response = rest.http.request(verb, live_portal.webhook.url + "sandbox.echo", **sent)
    assert response.json()["result"] == PARAMETERS


def test_json_keeps_its_types(rest: Any) -> None:
    sent = {"i": 1, "f": 0.5, "b": True, "n": None, "l": [1, [2]], "u": "\U0001f600"}
    assert rest.result("sandbox.echo", sent) == sent


def test_a_json_array_is_numbered_parameters(rest: Any) -> None:
    assert rest.result("sandbox.echo", ["x", {"y": 1}]) == {"0": "x", "1": {"y": 1}}


@pytest.mark.parametrize("method", ["profile", "profile.json", "profile/", "PROFILE", "Profile.json/"])
def test_a_method_is_found_under_every_spelling(live_portal: Any, rest: Any, method: str) -> None:
    assert rest.http.get(live_portal.webhook.url + method).json()["result"]["ID"] == "1"


@pytest.mark.parametrize("place", ["json", "form", "query", "header", "capitals"])
def test_an_access_token_is_found_in_every_place(live_portal: Any, rest: Any, place: str) -> None:
    token = live_portal.application.access_token
    sent: dict[str, dict[str, Any]] = {
        "json": {"json": {"auth": token}},
        "form": {"data": {"auth": token}},
        "query": {"params": {"auth": token}},
        "header": {"headers": {"Authorization": f"Bearer {token}"}},
        "capitals": {"json": {"AUTH": token}},
    }
    response = rest.http.post(f"{live_portal.url}/rest/sandbox.echo", **sent[place])
    assert response.json()["result"] == {}


@pytest.mark.parametrize("name", ["NAME", "name", "Name"])
def test_top_level_names_are_not_case_sensitive(rest: Any, name: str) -> None:
    assert rest.result("method.get", {name: "profile"})["isExisting"] is True


def test_a_wrong_webhook_code_is_refused(live_portal: Any, rest: Any, error_of: Any) -> None:
    for path in ("1/wrong", f"2/{live_portal.webhook.code}", f"0/{live_portal.webhook.code}"):
        refused = rest.http.get(f"{live_portal.url}/rest/{path}/profile")
        assert error_of(refused) == (401, "INVALID_CREDENTIALS", "Invalid request credentials")


@pytest.mark.parametrize("token", [None, "", 7, ["x"]])
def test_a_call_without_an_access_token_is_refused(
    live_portal: Any, rest: Any, error_of: Any, token: Any
) -> None:
    refused = rest.http.post(f"{live_portal.url}/rest/profile", json={"auth": token})
    assert error_of(refused) == (401, "NO_AUTH_FOUND", "Wrong authorization data")


def test_an_access_token_that_nobody_has_issued_is_refused(rest: Any, error_of: Any) -> None:
    refused = error_of(rest.application("profile", token="unknown"))
    assert refused == (401, "invalid_token", "Unable to get application by token")


def test_a_portal_by_the_documentation_refuses_all_credentials_alike(make_rest: Any, error_of: Any) -> None:
    with SandboxPortal(authorization="documentation") as portal:
        rest = make_rest(portal)
        portal.application.installed = False
        for refused in (
            rest.http.get(f"{portal.url}/rest/1/wrong/profile"),
            rest.application("profile", token="unknown"),
            rest.application("profile"),
        ):
            assert error_of(refused) == (401, "NO_AUTH_FOUND", "Wrong authorization data")
        webhook = portal.create_webhook(scope=["crm"])
        assert error_of(rest.http.get(webhook.url + "user.current"))[:2] == (403, "insufficient_scope")
    with pytest.raises(ValueError, match="choose one of portal, documentation"):
        SandboxPortal(authorization="other")  # type: ignore[arg-type]


def test_a_portal_may_insist_on_https(make_rest: Any, error_of: Any) -> None:
    with SandboxPortal(https_required=True) as portal:
        refused = make_rest(portal).webhook("profile")
        assert error_of(refused) == (400, "INVALID_REQUEST", "Https required")


def test_a_closed_portal_answers_nothing(live_portal: Any, rest: Any, error_of: Any) -> None:
    live_portal.closed = True
    assert error_of(rest.webhook("profile")) == (500, "PORTAL_DELETED", "Portal was deleted")
    live_portal.closed = False
    assert rest.webhook("profile").status_code == 200


def test_an_access_token_expires_on_the_portals_clock(live_portal: Any, rest: Any, error_of: Any) -> None:
    live_portal.clock.advance(3590)
    assert rest.application("profile").status_code == 200
    live_portal.clock.advance(10)
    refused = rest.application("profile")
    assert error_of(refused) == (401, "expired_token", "The access token provided has expired")


def test_access_tokens_expire_on_demand(live_portal: Any, rest: Any) -> None:
    live_portal.expire_access_tokens()
    assert rest.application("profile").json()["error"] == "expired_token"
    live_portal.application.issue_tokens()
    assert rest.application("profile").status_code == 200


def test_a_user_without_access_to_the_application_is_refused(
    live_portal: Any, rest: Any, error_of: Any
) -> None:
    live_portal.application.allowed_users = {1}
    assert rest.application("profile").status_code == 200
    assert error_of(rest.employee("profile"))[:2] == (403, "user_access_error")


def test_a_method_outside_the_scope_is_refused(live_portal: Any, rest: Any, error_of: Any) -> None:
    webhook = live_portal.create_webhook(2, scope=["crm"])
    assert rest.http.get(webhook.url + "crm.lead.list").status_code == 200
    assert error_of(rest.http.get(webhook.url + "user.current"))[:2] == (401, "insufficient_scope")
    assert rest.http.get(webhook.url + "scope").json()["result"] == ["crm"]
    assert rest.http.get(webhook.url + "profile").json()["result"]["ADMIN"] is False


@pytest.mark.parametrize("path", ["no.such.method", "a/b/c/d", "api/profile", "batch.list"])
def test_a_method_nobody_knows_is_not_found(live_portal: Any, rest: Any, path: str, error_of: Any) -> None:
    refused = rest.http.get(live_portal.webhook.url + path)
    assert error_of(refused) == (404, "ERROR_METHOD_NOT_FOUND", "Method not found!")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b'"text"'),
        ("application/json; charset=utf-8", b"\xff"),
        ("application/json", b'{"a": NaN}'),
        ("application/json", b'{"a":' * 100_000),
        ("multipart/form-data; boundary=XX", b"nothing"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    live_portal: Any, rest: Any, error_of: Any, content_type: str, body: bytes
) -> None:
    refused = rest.http.post(
        live_portal.webhook.url + "profile", content=body, headers={"Content-Type": content_type}
    )
    assert error_of(refused)[:2] == (400, "INVALID_REQUEST")
    assert live_portal.requests[-1].method == "profile"


def test_every_good_reply_has_the_time_block(rest: Any) -> None:
    times = rest.webhook("profile").json()["time"]
    assert times["finish"] - times["start"] == pytest.approx(times["duration"], abs=1e-3)
    assert times["operating"] == 0
    assert times["operating_reset_at"] == pytest.approx(times["start"] + 600, abs=2)
    assert abs(datetime.fromisoformat(times["date_start"]).timestamp() - times["start"]) < 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+\d\d:\d\d", times["date_finish"])


def test_replies_are_json_in_ascii_as_php_writes_them(rest: Any) -> None:
    response = rest.webhook("sandbox.echo", {"x": "ü"})
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert b'"\\u00fc"' in response.content


def test_requests_are_recorded_as_sent(live_portal: Any, rest: Any) -> None:
    rest.http.get(live_portal.webhook.url + "sandbox.echo?x=1")
    rest.application("profile", {"y": 2})
    rest.http.get(live_portal.url + "/rest/nothing")
    first, second, third = live_portal.requests
    assert (first.method, first.verb, first.parameters, first.status) == (
        "sandbox.echo",
        "GET",
        {"x": "1"},
        200,
    )
    assert first.path == f"/rest/1/{live_portal.webhook.code}/sandbox.echo?x=1"
    assert (second.parameters, second.access_token) == ({"y": 2}, live_portal.application.access_token)
    assert (third.method, third.status) == ("nothing", 401)
    assert first.time <= second.time <= third.time
    assert live_portal.webhook.code not in repr(live_portal.requests)
    assert live_portal.application.access_token not in repr(live_portal.requests)


def test_repr_shows_no_secret(live_portal: Any) -> None:
    application = live_portal.application
    shown = repr([live_portal, live_portal.webhook, application, application.issue_tokens()])
    for secret in (
        live_portal.webhook.code,
        application.client_secret,
        application.application_token,
        application.access_token,
        application.refresh_token,
    ):
        assert secret not in shown


def test_a_handler_of_the_sandbox_that_breaks_is_an_internal_error(live_portal: Any, rest: Any) -> None:
    live_portal.templates[1] = None  # what no user can do
    refused = rest.webhook("bizproc.workflow.template.list")
    assert (refused.status_code, refused.json()["error"]) == (500, "INTERNAL_SERVER_ERROR")


def test_connections_are_kept_alive(live_portal: Any) -> None:
    with httpx.Client(trust_env=False) as client:
        streams = {
            client.get(live_portal.webhook.url + "profile").extensions["network_stream"] for _ in range(3)
        }
    assert len(streams) == 1


def test_a_request_that_breaks_off_has_asked_for_nothing(live_portal: Any) -> None:
    host, port = live_portal.host.split(":")
    body = b"fields[TITLE]=x"
    head = (
        f"POST /rest/1/{live_portal.webhook.code}/crm.lead.add HTTP/1.1\r\nHost: {live_portal.host}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body) + 5}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert len(live_portal.records("lead")) == 0
    assert live_portal.requests == []
