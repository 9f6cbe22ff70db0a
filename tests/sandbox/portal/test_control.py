"""The control API of the portal, `/sandbox/…`: what people and programs see of it, and cause in it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_b24.sandbox import (
    AskPerson,
    CallRobot,
    Clock,
    Finish,
    SandboxPortal,
    SetField,
)
from airflow_provider_b24.sandbox.journal import Journal, Request


class Control:
    """Someone who uses the control API."""

    def __init__(self, portal: SandboxPortal) -> None:
        self._client = httpx.Client(base_url=portal.url + "/sandbox/", trust_env=False)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._client.get(path, headers=headers)

    def state(self) -> Any:
        return self.get("state").json()

    def send(self, verb: str, path: str, body: object = None) -> httpx.Response:
        return (
            self._client.request(verb, path, json=body)
            if body is not None
            else self._client.request(verb, path)
        )


@pytest.fixture
def control(live_portal: SandboxPortal) -> Control:
    return Control(live_portal)


def test_the_timeline_of_a_process_tells_who_answered_what_after_how_long(
    live_portal: SandboxPortal, control: Control, rest: Any, register: Any
) -> None:
    register()
    process = live_portal.start_process([CallRobot("score"), SetField("SCORE", "{=A1:score}")])
    live_portal.wait_for_call()
    live_portal.clock.advance(60)
    values = {"event_token": process.waiting_for, "return_values": {"score": 7}, "log_message": "Scored"}
    rest.application("bizproc.event.send", values)

    told = control.get(f"processes/{process.id}").json()

    assert [moment["what"] for moment in told["timeline"]] == [
        "started",
        "called",
        "answered",
        "log",
        "set",
        "ended",
    ]
    _, called, answered, *_ = told["timeline"]
    assert (called["call"], called["refused"]) == (1, False)
    assert "the handler answered 200" in called["outcome"]
    assert answered["text"] == f"application {live_portal.application.client_id} answered: score=7"
    assert answered["time"] - called["time"] >= 60
    (accepted,) = control.state()["answers"]
    assert accepted["by"] == f"application {live_portal.application.client_id}"
    assert 60 <= accepted["after"] < 600


def test_a_process_says_for_whom_it_waits_and_why(
    live_portal: SandboxPortal, control: Control, robot_handler: Any, register: Any
) -> None:
    register()
    process = live_portal.start_process([CallRobot("score", timeout_duration=90)])
    live_portal.wait_for_call()

    waiting = control.get(f"processes/{process.id}").json()["waiting"]

    assert (waiting["for"], waiting["activity"]) == ("the robot score", "A1")
    assert waiting["until"] - waiting["since"] == pytest.approx(90)
    assert waiting["why"] == "the handler has taken the call (200), bizproc.event.send has not come yet"

    robot_handler.status = 404
    lost = live_portal.start_process([CallRobot("score")])
    live_portal.wait_for_call()
    waiting = control.get(f"processes/{lost.id}").json()["waiting"]
    assert "answered 404" in waiting["why"]
    assert "nobody is going to answer" in waiting["why"]
    assert (waiting["lost"], waiting["until"]) == (True, None)
    robot_handler.status = 200
    control.send("POST", "calls/2/again")
    live_portal.wait_for_call()
    again = control.get(f"processes/{lost.id}").json()
    assert (again["waiting"]["lost"], again["timeline"][-1]["call"]) == (False, 3)
    assert "taken the call (200)" in again["waiting"]["why"]

    live_portal.lock_process(process)
    assert "423" in control.get(f"processes/{process.id}").json()["waiting"]["why"]


def test_a_task_is_decided_and_its_process_goes_on(live_portal: SandboxPortal, control: Control) -> None:
    fields = [{"Id": "sum", "Name": "Sum", "Required": True}]
    process = live_portal.start_process(
        [AskPerson(2, "Approve?"), AskPerson(1, "How much?", "", "RequestInformationActivity", fields)]
    )
    (task,) = control.state()["tasks"]
    assert (task["title"], task["user"], task["decisions"]) == ("Approve?", "Emil Employee", ["yes", "no"])
    assert control.get(f"processes/{process.id}").json()["waiting"]["for"] == "Emil Employee"

    decided = control.send("POST", "tasks/1", {"status": "yes", "comment": "fine"})

    assert (decided.status_code, decided.json()["status"]) == (200, "approved")
    assert process.answers["A1"] == {"Status": 1, "Comment": "fine"}
    again = control.send("POST", "tasks/1", {"status": "no"})
    assert (again.status_code, again.json()["detail"]) == (400, "Task already completed")
    assert (
        control.send("POST", "tasks/2", {"status": "ok"}).json()["detail"]
        == "The field sum must be filled in"
    )
    control.send("POST", "tasks/2", {"status": "ok", "fields": {"sum": "5"}})
    assert (process.status, process.answers["A2"]["sum"]) == ("completed", "5")


def test_a_call_is_sent_again_byte_by_byte(
    live_portal: SandboxPortal, control: Control, robot_handler: Any, register: Any
) -> None:
    register()
    live_portal.start_process([CallRobot("score")])
    live_portal.wait_for_call()

    assert control.send("POST", "calls/1/again").json()["number"] == 2

    live_portal.wait_for_call()
    (_, first), (_, second) = robot_handler.received
    assert first == second
    assert control.send("POST", "calls/7/again").status_code == 404


def test_no_secret_is_shown_of_requests_and_calls(
    live_portal: SandboxPortal, control: Control, rest: Any, register: Any
) -> None:
    register()
    process = live_portal.start_process([CallRobot("score")])
    live_portal.wait_for_call()
    application, token = live_portal.application, process.waiting_for
    code = live_portal.callers.tokens.create_code(application, 1)
    values = {"event_token": token, "return_values": {"score": 1}}
    rest.webhook("bizproc.event.send", values)
    rest.webhook(
        "batch", {"cmd": {"a": f"bizproc.event.send?event_token={token}&auth={application.access_token}"}}
    )
    for grant in (
        {"grant_type": "refresh_token", "refresh_token": application.refresh_token},
        {"grant_type": "authorization_code", "code": code},
    ):
        credentials = {"client_id": application.client_id, "client_secret": application.client_secret}
        rest.http.get(live_portal.oauth_url, params=credentials | grant)
    secrets = [
        token,
        token.rpartition(".")[2],
        code,
        live_portal.webhook.code,
        application.client_secret,
        application.application_token,
        *live_portal.callers.tokens._by_access,
        *live_portal.callers.tokens._by_refresh,
    ]

    shown = [control.get(f"requests/{number}") for number in range(1, live_portal.journal.count + 1)]
    shown += [control.get(f"calls/{number}") for number in range(1, len(live_portal.calls) + 1)]

    assert all(answer.status_code == 200 for answer in shown)
    assert [secret for secret in secrets for answer in shown if secret in answer.text] == []
    assert '"score": 1' in shown[1].json()["body"]
    assert '"result": true' in shown[1].json()["response"]


def test_records_are_added_changed_and_shown_by_stage(live_portal: SandboxPortal, control: Control) -> None:
    live_portal.add_automation("deal", "PREPARATION", [SetField("COMMENTS", "moved")])
    assert control.send("POST", "records/deal", {"records": [{"ID": 7, "TITLE": "Piano"}]}).json() == {
        "ids": [7]
    }
    assert control.send("POST", "records/deal", {"records": 2}).json() == {"ids": [8, 9]}

    moved = control.send("PATCH", "records/deal/7", {"fields": {"stageId": "PREPARATION"}})

    assert (moved.status_code, moved.json()["STAGE_ID"]) == (200, "PREPARATION")
    assert live_portal.records("deal").get(7)["COMMENTS"] == "moved"  # type: ignore[index]
    board = {column["stage"]: column for column in control.get("board/deal").json()["columns"]}
    assert [card["id"] for card in board["NEW"]["cards"]] == [9, 8]
    assert [card["title"] for card in board["PREPARATION"]["cards"]] == ["Piano"]
    assert control.send("DELETE", "records/deal/7").status_code == 204
    assert control.get("records/deal?after=8").json()["records"][0]["ID"] == 9
    assert control.send("PATCH", "records/deal/7", {"fields": {"TITLE": "x"}}).status_code == 404
    assert control.get("board/user").status_code == 404
    assert control.get("board/planet").status_code == 404


@pytest.mark.parametrize(
    ("body", "met"),
    [
        ({"type": "html", "status": 502, "method": "profile"}, 502),
        ({"type": "status", "status": 418, "code": "TEAPOT"}, 418),
        ({"type": "delay", "seconds": 0.01, "after_work": True}, 200),
        ({"type": "truncate", "times": None}, 200),
    ],
)
def test_faults_are_planned_and_cleared(
    live_portal: SandboxPortal, control: Control, rest: Any, body: dict[str, Any], met: int
) -> None:
    (planned,) = control.send("POST", "faults", body).json()
    assert planned["times"] == body.get("times", 1)
    assert rest.http.get(live_portal.webhook.url + "profile").status_code == met
    assert control.state()["requests"][-1]["fault"] == planned["fault"]
    control.send("DELETE", "faults")
    assert control.state()["faults"] == []


def test_switches_and_limits_are_seen_and_set(
    live_portal: SandboxPortal, control: Control, rest: Any
) -> None:
    live_portal.operating_costs["profile"] = 100
    rest.http.get(live_portal.webhook.url + "profile")
    limits = control.state()["limits"]
    assert [(gauge["level"], gauge["limit"]) for gauge in limits["requests"]] == [(1, 50)]
    (spent,) = limits["operating"]
    assert (spent["caller"], spent["method"]) == ("webhook of user 1", "profile")
    assert 100 <= spent["seconds"] < 110

    assert control.send("POST", "settings", {"closed": True, "limits": False}).json()["closed"]

    assert rest.http.get(live_portal.webhook.url + "profile").json()["error"] == "PORTAL_DELETED"
    assert not control.state()["limits"]["in_force"]


def test_an_event_is_told_to_its_subscribers(
    live_portal: SandboxPortal, control: Control, rest: Any, robot_handler: Any
) -> None:
    rest.application("event.bind", {"event": "ONCRMLEADADD", "handler": robot_handler.url})
    (call,) = control.send("POST", "events", {"event": "onCrmLeadAdd", "data": {"FIELDS": {"ID": 1}}}).json()
    assert call["code"] == "ONCRMLEADADD"
    live_portal.event_calls[0].wait()
    assert b"ONCRMLEADADD" in robot_handler.received[0][1]


def test_a_reset_forgets_what_has_happened_and_keeps_who_may_call(
    live_portal: SandboxPortal, control: Control, rest: Any, register: Any
) -> None:
    register()
    live_portal.add_records("deal", 3)
    process = live_portal.start_process([AskPerson(1), CallRobot("score")])
    live_portal.start_process([CallRobot("score")])
    live_portal.wait_for_call()
    control.send("POST", "faults", {"type": "drop", "times": None})

    assert control.send("POST", "reset").status_code == 204

    state = control.state()
    assert process.status == "terminated"
    assert [state[name] for name in ("processes", "tasks", "calls", "requests", "faults")] == [[]] * 5
    assert len(live_portal.records("deal")) == 0
    assert [robot["code"] for robot in state["robots"]] == ["score"]
    assert rest.http.get(live_portal.webhook.url + "profile").status_code == 200
    live_portal.start_process([CallRobot("score")])
    assert live_portal.wait_for_call().status == 200


def test_who_asks_again_is_told_that_nothing_has_happened(
    live_portal: SandboxPortal, control: Control
) -> None:
    tag = control.get("state").headers["etag"]
    assert control.get("state", **{"If-None-Match": tag}).status_code == 304
    live_portal.clock.advance(60)
    moved = control.get("state", **{"If-None-Match": tag})
    assert (moved.status_code, moved.json()["ahead"]) == (200, 60)
    live_portal.start_process([Finish()])
    assert control.get("state", **{"If-None-Match": moved.headers["etag"]}).status_code == 200


def test_a_clock_that_stands_still_is_seen_to_be_moved() -> None:
    with SandboxPortal(clock=Clock(frozen=True)) as portal:
        control = Control(portal)
        tag = control.get("state").headers["etag"]
        assert control.get("state", **{"If-None-Match": tag}).status_code == 304
        control.send("POST", "clock", {"advance": 1})
        assert control.get("state", **{"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("processes", {"steps": [{"type": "finish"}], "speed": 3}, "speed: Extra inputs"),
        ("processes", {"steps": [{"type": "finish"}], "document_id": ["crm"]}, "document_id: List"),
        ("faults", {"type": "earthquake"}, "earthquake"),
        ("faults", {"type": "delay", "seconds": "long"}, "seconds: Input"),
        ("faults", {"type": "delay", "seconds": 1, "times": 0}, "times: Input"),
        ("settings", {"closed": "yes"}, "closed: Input"),
        ("clock", {"advance": 1e300}, "advance: Input"),
        ("records/deal", {"records": 0}, "records"),
        ("records/deal", {"records": [{"OPPORTUNITY": "much"}]}, "opportunity"),
        ("events", {"event": ""}, "event: String"),
        ("clock", [], "JSON object"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_the_reason(
    control: Control, path: str, body: object, says: str
) -> None:
    refused = control.send("POST", path, body)
    assert refused.status_code == 400
    assert says in refused.json()["detail"]


def test_pages_of_other_sites_control_nothing(live_portal: SandboxPortal) -> None:
    def advance(origin: str) -> int:
        headers = {"Origin": origin}
        return httpx.post(
            live_portal.url + "/sandbox/clock", json={"advance": 1}, headers=headers
        ).status_code

    assert advance("https://elsewhere.example") == 403
    assert advance("null") == 403
    assert advance(live_portal.url) == 200


def test_only_the_last_requests_are_kept() -> None:
    with SandboxPortal(keep_requests=3) as portal, httpx.Client(trust_env=False) as client:
        for _ in range(5):
            client.get(portal.webhook.url + "profile")
        control = Control(portal)
        assert [request.number for request in portal.requests] == [3, 4, 5]
        assert control.state()["request_count"] == 5
        assert control.get("requests/2").status_code == 404
        assert control.get("requests/3").json()["method"] == "profile"
    with pytest.raises(ValueError, match="one request at least"):
        SandboxPortal(keep_requests=0)


def test_ten_thousand_small_requests_are_kept() -> None:
    journal = Journal(10_000)
    for number in range(10_005):
        journal.add(Request("profile", "POST", "/", {}, None, {}, float(number), size=100))
    assert [len(journal.all()), journal.all()[0].number, journal.recent(1)[0].number] == [10_000, 6, 10_005]


def test_large_requests_do_not_fill_the_memory() -> None:
    with SandboxPortal() as portal, httpx.Client(trust_env=False) as client:
        for _ in range(4):
            client.post(portal.webhook.url + "profile", json={"file": "x" * 10_000_000}, timeout=60)
        assert [request.number for request in portal.requests] == [2, 3, 4]


def test_links_to_a_portals_own_pages_of_a_process_and_a_record_lead_to_its_page(
    live_portal: SandboxPortal,
) -> None:
    process = live_portal.start_process([Finish()], ("crm", "CCrmDocumentDeal", "DEAL_7"))
    live_portal.add_records("item:147", [{"ID": 3}])
    with httpx.Client(base_url=live_portal.url, trust_env=False) as visitor:
        for path, place in (
            (f"/company/personal/bizproc/{process.id}/", f"/#process={process.id}"),
            ("/crm/deal/details/7/", "/#deal=7"),
            ("/crm/type/147/details/3/", "/#item:147=3"),
        ):
            answer = visitor.get(path)
            assert (answer.status_code, answer.headers.get("location")) == (302, place)
        for path in ("/company/personal/bizproc/nothing/", "/crm/deal/details/8/", "/crm/planet/details/7/"):
            assert visitor.get(path).status_code == 404
