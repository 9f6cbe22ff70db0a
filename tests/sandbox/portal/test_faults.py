"""Faults on demand."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from airflow_provider_b24.sandbox import AnswerHtml, AnswerStatus, Delay, DropConnection, TruncateJson


def _add_lead(rest: Any, timeout: float = 5) -> httpx.Response:
    return rest.http.post(
        rest.portal.webhook.url + "crm.lead.add", json={"fields": {"TITLE": "x"}}, timeout=timeout
    )


@pytest.mark.parametrize("after_work", [False, True])
def test_a_connection_is_dropped_before_or_after_the_work(
    live_portal: Any, rest: Any, after_work: bool
) -> None:
    live_portal.faults.add(DropConnection(after_work=after_work))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        _add_lead(rest)
    assert len(live_portal.records("lead")) == int(after_work)
    assert live_portal.requests[-1].status is None
    assert _add_lead(rest).status_code == 200


@pytest.mark.parametrize("after_work", [False, True])
def test_an_answer_is_late_and_the_work_done_before_or_after(
    live_portal: Any, rest: Any, after_work: bool
) -> None:
    live_portal.faults.add(Delay(30, after_work=after_work))
    with pytest.raises(httpx.ReadTimeout):
        _add_lead(rest, timeout=0.1)
    assert len(live_portal.records("lead")) == int(after_work)


def test_a_short_delay_is_followed_by_the_answer(live_portal: Any, rest: Any) -> None:
    live_portal.faults.add(Delay(0.05))
    begun = time.monotonic()
    assert _add_lead(rest).status_code == 200
    assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize("in_batch", [False, True])
def test_a_fault_may_befall_only_what_is_said_to_be_about_something(
    live_portal: Any, rest: Any, in_batch: bool
) -> None:
    live_portal.faults.add(AnswerStatus(503, "ERROR", "not this one"), "crm.lead.add", about="Ada")

    def refused(title: str) -> bool:
        if not in_batch:
            answer = rest.http.post(
                live_portal.webhook.url + "crm.lead.add", json={"fields": {"TITLE": title}}
            )
            return bool(answer.status_code == 503)
        cmd = {"one": "crm.lead.add?" + urlencode({"fields[TITLE]": title})}
        answer = rest.http.post(live_portal.webhook.url + "batch", json={"cmd": cmd})
        return bool(answer.json()["result"]["result_error"])

    assert [refused(title) for title in ("Bob", "Ada", "Ada")] == [False, True, False]


def test_an_html_page_takes_the_place_of_the_answer(live_portal: Any, rest: Any) -> None:
    live_portal.faults.add(AnswerHtml(502, "<h1>Bad gateway</h1>"))
    response = _add_lead(rest)
    assert (response.status_code, response.text) == (502, "<h1>Bad gateway</h1>")
    assert response.headers["content-type"].startswith("text/html")
    assert len(live_portal.records("lead")) == 0


def test_any_error_can_be_answered(live_portal: Any, rest: Any, error_of: Any) -> None:
    live_portal.faults.add(AnswerStatus(503, "OVERLOAD_LIMIT", "REST API is blocked due to overload"))
    assert error_of(_add_lead(rest)) == (503, "OVERLOAD_LIMIT", "REST API is blocked due to overload")
    assert len(live_portal.records("lead")) == 0


def test_json_is_cut_off_after_the_work(live_portal: Any, rest: Any) -> None:
    live_portal.faults.add(TruncateJson())
    response = _add_lead(rest)
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert len(live_portal.records("lead")) == 1


def test_a_fault_befalls_its_method_as_often_as_told(live_portal: Any, rest: Any) -> None:
    live_portal.faults.add(AnswerStatus(500), method="crm.lead.ADD", times=2)
    assert rest.webhook("profile").status_code == 200
    assert [_add_lead(rest).status_code for _ in range(3)] == [500, 500, 200]


def test_faults_come_one_after_the_other(live_portal: Any, rest: Any) -> None:
    live_portal.faults.add(AnswerStatus(500))
    live_portal.faults.add(AnswerStatus(502))
    assert [rest.webhook("profile").status_code for _ in range(3)] == [500, 502, 200]


def test_a_lasting_fault_lasts_until_it_is_cleared(live_portal: Any, rest: Any) -> None:
    live_portal.faults.add(AnswerStatus(500), times=None)
    assert [rest.webhook("profile").status_code for _ in range(3)] == [500] * 3
    live_portal.faults.clear()
    assert rest.webhook("profile").status_code == 200


def test_a_fault_can_befall_one_call_of_a_batch(live_portal: Any, rest: Any) -> None:
    live_portal.faults.add(AnswerStatus(500, "INTERNAL_SERVER_ERROR", "Oops"), method="user.admin")
    cmd = {"a": "user.admin", "b": "user.admin", "c": "profile"}
    result = rest.result("batch", {"cmd": cmd})
    assert result["result_error"] == {"a": {"error": "INTERNAL_SERVER_ERROR", "error_description": "Oops"}}
    assert list(result["result"]) == ["b", "c"]


def test_a_fault_can_befall_the_authorization_server(live_portal: Any, rest: Any) -> None:
    live_portal.faults.add(AnswerStatus(500), method="oauth.token")
    assert rest.webhook("profile").status_code == 200
    assert httpx.get(live_portal.oauth_url).status_code == 500
    assert httpx.get(live_portal.oauth_url).status_code == 400


def test_a_fault_for_any_method_leaves_the_authorization_server_alone(live_portal: Any, rest: Any) -> None:
    live_portal.faults.add(AnswerStatus(500))
    assert httpx.get(live_portal.oauth_url).status_code == 400
    assert rest.webhook("profile").status_code == 500


@pytest.mark.parametrize("after_work", [False, True])
def test_a_refresh_can_be_lost_on_the_way(live_portal: Any, after_work: bool) -> None:
    application = live_portal.application
    old = application.refresh_token
    live_portal.faults.add(DropConnection(after_work=after_work), method="oauth.token")
    params = {
        "grant_type": "refresh_token",
        "client_id": application.client_id,
        "client_secret": application.client_secret,
        "refresh_token": old,
    }
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.get(live_portal.oauth_url, params=params)
    assert (httpx.get(live_portal.oauth_url, params=params).status_code == 200) is not after_work


def test_a_fault_does_not_use_up_the_limits(live_portal: Any, rest: Any) -> None:
    live_portal.faults.add(AnswerStatus(500), times=60)
    assert {rest.webhook("profile").status_code for _ in range(60)} == {500}
    assert rest.webhook("profile").status_code == 200


@pytest.mark.parametrize("times", [0, -1])
def test_a_fault_that_never_happens_is_an_error(live_portal: Any, times: int) -> None:
    with pytest.raises(ValueError, match="at least once"):
        live_portal.faults.add(TruncateJson(), times=times)
