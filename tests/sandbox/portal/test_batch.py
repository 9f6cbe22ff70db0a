"""`batch`: up to fifty calls in one request."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest


def test_each_call_has_its_own_result_and_error(rest: Any) -> None:
    cmd = {"me": "profile", "bad": "no.such", "echo": "sandbox.echo?a[]=1&a[]=%26&b=x+y"}
    result = rest.result("batch", {"cmd": cmd})
    assert set(result) == {"result", "result_error", "result_total", "result_next", "result_time"}
    assert result["result"]["me"]["ID"] == "1"
    assert result["result"]["echo"] == {"a": ["1", "&"], "b": "x y"}
    assert result["result_error"] == {
        "bad": {"error": "ERROR_METHOD_NOT_FOUND", "error_description": "Method not found!"}
    }
    assert set(result["result_time"]) == {"me", "echo"}


def test_empty_parts_are_arrays(rest: Any) -> None:
    good = rest.result("batch", {"cmd": {"me": "profile"}})
    assert [good[name] for name in ("result_error", "result_total", "result_next")] == [[], [], []]
    bad = rest.result("batch", {"cmd": {"x": "no.such"}})
    assert [bad[name] for name in ("result", "result_time")] == [[], []]


@pytest.mark.parametrize("nothing", [{}, {"cmd": {}}, {"cmd": []}, {"cmd": "profile"}])
def test_a_batch_of_nothing_does_nothing(rest: Any, nothing: Any) -> None:
    assert rest.result("batch", nothing)["result"] == []


def test_numbered_calls_are_answered_in_a_list_as_long_as_none_is_missing(rest: Any) -> None:
    good = rest.result("batch", {"cmd": ["sandbox.echo?n=0", "sandbox.echo?n=1"]})
    assert good["result"] == [{"n": "0"}, {"n": "1"}]
    mixed = rest.result("batch", {"cmd": ["no.such", "sandbox.echo?n=1"]})
    assert mixed["result"] == {"1": {"n": "1"}}
    assert isinstance(mixed["result_error"], list)


def test_the_same_parameters_arrive_in_a_batch_and_alone(live_portal: Any, rest: Any) -> None:
    query = "a[b][]=1&a[b][]=2&a[c]=ü&d=" + quote("&=?#%+ $")
    alone = rest.http.get(f"{live_portal.webhook.url}sandbox.echo?{query}").json()["result"]
    assert rest.result("batch", {"cmd": {"x": f"sandbox.echo?{query}"}})["result"]["x"] == alone


def test_a_batch_can_be_sent_as_a_form(live_portal: Any, rest: Any) -> None:
    response = rest.http.post(
        live_portal.webhook.url + "batch",
        data={"halt": "0", "cmd[a]": "sandbox.echo?x=John%26Martin", "cmd[b]": "profile"},
    )
    assert response.json()["result"]["result"]["a"] == {"x": "John&Martin"}


def test_a_batch_can_be_sent_by_an_application(rest: Any) -> None:
    result = rest.application("batch", {"cmd": {"a": "app.info", "b": "user.admin"}}).json()["result"]
    assert result["result"]["b"] is True
    assert result["result_error"] == []


def test_an_earlier_result_can_be_referred_to(rest: Any) -> None:
    cmd = {
        "first": "sandbox.echo?name=Ada&list[]=x&list[]=y",
        "second": "sandbox.echo?name=$result[first][name]&item=$result[first][list][1]&all=$result[first]",
    }
    assert rest.result("batch", {"cmd": cmd})["result"]["second"] == {
        "name": "Ada",
        "item": "y",
        "all": {"name": "Ada", "list": ["x", "y"]},
    }


def test_a_reference_to_nothing_is_null_and_other_text_stays(rest: Any) -> None:
    cmd = {
        "a": "sandbox.echo?x=1",
        "b": "sandbox.echo?p=$result[a][y]&q=$result[nobody]&r=costs+$result[a]&s=$result[a&t=$other[a]",
    }
    assert rest.result("batch", {"cmd": cmd})["result"]["b"] == {
        "p": None,
        "q": None,
        "r": "costs $result[a]",
        "s": "$result[a",
        "t": "$other[a]",
    }


@pytest.mark.parametrize("halt", [1, True, "1", "true"])
def test_halt_stops_at_the_first_error(live_portal: Any, rest: Any, halt: Any) -> None:
    live_portal.add_records("lead", 1)
    cmd = {"a": "profile", "b": "no.such", "c": "crm.lead.add?fields[TITLE]=x"}
    result = rest.result("batch", {"cmd": cmd, "halt": halt})
    assert (list(result["result"]), list(result["result_error"])) == (["a"], ["b"])
    assert len(live_portal.records("lead")) == 1


@pytest.mark.parametrize("halt", [0, False, "0", "false", None])
def test_without_halt_everything_is_done(rest: Any, halt: Any) -> None:
    cmd = {"a": "no.such", "b": "profile"}
    assert list(rest.result("batch", {"cmd": cmd, "halt": halt})["result"]) == ["b"]


def test_the_fifty_first_call_is_one_too_many(rest: Any) -> None:
    result = rest.result("batch", {"cmd": {f"c{index}": "user.admin" for index in range(52)}})
    assert len(result["result"]) == 50
    assert {key: error["error"] for key, error in result["result_error"].items()} == {
        "c50": "ERROR_BATCH_LENGTH_EXCEEDED",
        "c51": "ERROR_BATCH_LENGTH_EXCEEDED",
    }


def test_a_batch_within_a_batch_is_refused(rest: Any) -> None:
    result = rest.result("batch", {"cmd": {"x": "batch?cmd[a]=profile", "y": 7}})
    assert result["result_error"]["x"]["error"] == "ERROR_BATCH_METHOD_NOT_ALLOWED"
    assert result["result_error"]["y"]["error"] == "ERROR_METHOD_NOT_FOUND"


def test_pages_have_totals_and_offsets(live_portal: Any, rest: Any) -> None:
    live_portal.add_records("lead", 60)
    cmd = {"one": "crm.lead.list", "two": "crm.lead.list?start=50", "fast": "crm.lead.list?start=-1"}
    result = rest.result("batch", {"cmd": cmd})
    assert result["result_total"] == {"one": 60, "two": 60}
    assert result["result_next"] == {"one": 50}
    assert len(result["result"]["fast"]) == 50
