"""The methods everybody starts with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest


def test_profile_and_user_admin_tell_who_calls(rest: Any) -> None:
    assert rest.result("profile")["ADMIN"] is True
    assert rest.result("user.admin") is True
    assert rest.employee("user.admin").json()["result"] is False
    assert rest.employee("user.current").json()["result"]["ID"] == "2"


def test_users_come_in_pages(live_portal: Any, rest: Any) -> None:
    for index in range(60):
        live_portal.add_user(name=f"Extra {index}")
    first = rest.webhook("user.get").json()
    assert (len(first["result"]), first["total"], first["next"]) == (50, 62, 50)
    second = rest.webhook("user.get", {"start": 50}).json()
    assert (len(second["result"]), "next" in second) == (12, False)
    assert [user["ID"] for user in rest.result("user.get", {"ID": 7})] == ["7"]
    assert [user["ID"] for user in rest.result("user.get", {"FILTER": {">ID": 60}})] == ["61", "62"]


def test_server_time_is_the_portals_clock(live_portal: Any, rest: Any) -> None:
    live_portal.clock.advance(86_400 * 365)
    told = datetime.fromisoformat(rest.result("server.time"))
    assert abs(told.timestamp() - live_portal.clock.now()) < 5


def test_methods_can_be_asked_for(rest: Any) -> None:
    assert "bizproc.event.send" in rest.result("methods")
    assert {"user.current", "user.get"} <= set(rest.result("methods", {"scope": "user"}))
    assert rest.result("method.get", {"name": "user.get"}) == {"isExisting": True, "isAvailable": True}
    assert rest.result("method.get", {"name": "user.put"}) == {"isExisting": False, "isAvailable": False}


def test_features_can_be_asked_for(rest: Any, error_of: Any) -> None:
    assert rest.result("feature.get", {"CODE": "rest_offline_extended"}) == {"value": "Y"}
    assert rest.result("feature.get", {"CODE": "flying"}) == {"value": "N"}
    assert error_of(rest.webhook("feature.get")) == (400, "CODE_EMPTY", "CODE can't be empty")


def test_app_info_describes_the_calling_application(live_portal: Any, rest: Any, error_of: Any) -> None:
    info = rest.application("app.info").json()["result"]
    assert info["CODE"] == live_portal.application.client_id
    assert (info["INSTALLED"], info["STATUS"]) == (True, "L")
    assert error_of(rest.webhook("app.info")) == (
        400,
        "ACCESS_DENIED",
        "Access denied! Application context required",
    )


def test_an_application_keeps_options(rest: Any, error_of: Any) -> None:
    assert rest.application("app.option.set", {"options": {"a": "1", "b": [2]}}).json()["result"] is True
    assert rest.application("app.option.get").json()["result"] == {"a": "1", "b": [2]}
    assert rest.application("app.option.get", {"option": "a"}).json()["result"] == "1"
    assert rest.application("app.option.get", {"option": "c"}).json()["result"] is None
    assert error_of(rest.application("app.option.set"))[1] == "ArgumentNullException"
    assert error_of(rest.employee("app.option.set", {"options": {"a": 1}})) == (
        400,
        "AccessException",
        "Administrator authorization required",
    )
    assert error_of(rest.webhook("app.option.get")) == (
        400,
        "AccessException",
        "Application context required",
    )


@pytest.mark.parametrize("seconds", ["x", "1s"])
def test_sandbox_work_needs_a_number(rest: Any, error_of: Any, seconds: str) -> None:
    assert error_of(rest.webhook("sandbox.work", {"seconds": seconds}))[:2] == (400, "ERROR_ARGUMENT")
