"""The two limits, over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_b24.sandbox import Clock, SandboxPortal


@pytest.mark.parametrize(("tariff", "threshold", "rate"), [("standard", 50, 2), ("enterprise", 250, 5)])
def test_too_many_requests_are_refused_until_the_bucket_has_leaked(
    error_of: Any, make_rest: Any, tariff: str, threshold: int, rate: int
) -> None:
    with SandboxPortal(tariff=tariff, clock=Clock(frozen=True)) as portal:
        rest = make_rest(portal)
        statuses = [rest.webhook("profile").status_code for _ in range(threshold + 2)]
        assert statuses == [200] * threshold + [503] * 2
        assert error_of(rest.application("profile")) == (503, "QUERY_LIMIT_EXCEEDED", "Too many requests")
        portal.clock.advance(1)
        assert [rest.webhook("profile").status_code for _ in range(rate + 1)] == [200] * rate + [503]


def test_every_address_has_its_own_bucket(make_rest: Any) -> None:
    with SandboxPortal(clock=Clock(frozen=True)) as portal:
        rest = make_rest(portal)
        assert [rest.webhook("profile").status_code for _ in range(51)][-1] == 503
        headers = {"X-Forwarded-For": "192.0.2.1"}
        assert rest.http.get(portal.webhook.url + "profile", headers=headers).status_code == 503
        transport = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=transport) as neighbour:
            assert neighbour.get(portal.webhook.url + "profile").status_code == 200


def test_a_batch_counts_once(make_rest: Any) -> None:
    with SandboxPortal(clock=Clock(frozen=True)) as portal:
        rest = make_rest(portal)
        for _ in range(50):
            assert rest.webhook("batch", {"cmd": ["profile"] * 50}).status_code == 200
        assert rest.webhook("profile").status_code == 503


def test_limits_can_be_switched_off(make_rest: Any) -> None:
    with SandboxPortal(limits=False, clock=Clock(frozen=True)) as portal:
        rest = make_rest(portal)
        assert {rest.webhook("sandbox.work", {"seconds": 100}).status_code for _ in range(70)} == {200}
        assert rest.webhook("sandbox.work").json()["time"]["operating"] == pytest.approx(7000, abs=1)


def test_operating_time_is_told_and_limited(live_portal: Any, rest: Any, error_of: Any) -> None:
    replies = [rest.webhook("sandbox.work", {"seconds": 200}) for _ in range(3)]
    assert [reply.json()["time"]["operating"] for reply in replies] == [
        pytest.approx(200, abs=1),
        pytest.approx(400, abs=1),
        pytest.approx(600, abs=1),
    ]
    assert error_of(rest.webhook("sandbox.work"))[:2] == (429, "OPERATION_TIME_LIMIT")
    reset_at = replies[-1].json()["time"]["operating_reset_at"]
    assert rest.webhook("profile").status_code == 200
    assert rest.application("sandbox.work").status_code == 200
    live_portal.clock.advance(reset_at + 1 - live_portal.clock.now())
    assert rest.webhook("sandbox.work").json()["time"]["operating"] == 0


def test_calls_in_a_batch_are_limited_one_by_one(rest: Any) -> None:
    cmd = {f"c{index}": "sandbox.work?seconds=200" for index in range(5)} | {"other": "profile"}
    reply = rest.webhook("batch", {"cmd": cmd}).json()
    assert list(reply["result"]["result"]) == ["c0", "c1", "c2", "other"]
    assert {error["error"] for error in reply["result"]["result_error"].values()} == {"OPERATION_TIME_LIMIT"}
    assert reply["time"]["operating"] == 0
    assert reply["result"]["result_time"]["c2"]["operating"] == pytest.approx(600, abs=1)


def test_any_method_can_be_given_a_cost(live_portal: Any, rest: Any) -> None:
    live_portal.operating_costs["profile"] = 481
    assert rest.webhook("profile").json()["time"]["duration"] == pytest.approx(481, abs=1)
    assert rest.webhook("profile").status_code == 429
