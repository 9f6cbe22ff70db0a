"""What happens to a task is noted, whoever does it and by whatever method."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_b24.sandbox import Clock, SandboxPortal

DEADLINE = "2026-03-01T10:00:00+00:00"


def _history(rest: Any, **params: Any) -> list[tuple[str, Any, Any]]:
    rows = rest.result("tasks.task.history.list", {"taskId": 1, **params})["list"]
    return [(row["field"], row["value"]["from"], row["value"]["to"]) for row in rows]


def test_the_history_of_a_task_is_what_was_done_with_it(rest: Any) -> None:
    rest.result("tasks.task.add", {"fields": {"TITLE": "x", "RESPONSIBLE_ID": 1}})
    rest.result("tasks.task.start", {"taskId": 1})
    rest.result("tasks.task.delegate", {"taskId": 1, "userId": 2})
    fields = {"DEADLINE": DEADLINE, "DESCRIPTION": "long", "TITLE": "x", "TAGS": ["a", "b"]}
    rest.result("tasks.task.update", {"taskId": 1, "fields": fields})
    rest.api_result("tasks.task.update", {"id": 1, "fields": {"status": "completed"}})
    assert _history(rest, order={"createdDate": "ASC"}) == [
        ("NEW", None, None),
        ("STATUS", "2", "3"),
        ("RESPONSIBLE_ID", "1", "2"),
        ("DEADLINE", "", "1772359200"),
        ("DESCRIPTION", "", ""),
        ("TAGS", "", "a,b"),
        ("STATUS", "3", "5"),
    ]


def test_the_newest_comes_first_unless_it_is_told_otherwise(make_rest: Any) -> None:
    with SandboxPortal(clock=Clock(frozen=True)) as portal:
        rest = make_rest(portal)
        rest.result("tasks.task.add", {"fields": {"TITLE": "x"}})
        for title in "abc":
            portal.clock.advance(60)
            rest.result("tasks.task.update", {"taskId": 1, "fields": {"TITLE": title}})
        # In the same second.
        rest.result("tasks.task.update", {"taskId": 1, "fields": {"TITLE": "d"}})
        titles = [after for _, _, after in _history(rest)]
        assert titles == ["d", "c", "b", "a", None]
        assert _history(rest, order={"CREATED_DATE": "asc"})[-1] == ("TITLE", "c", "d")


def test_an_entry_says_who_did_it(rest: Any) -> None:
    rest.result("tasks.task.add", {"fields": {"TITLE": "x"}})
    rest.employee("tasks.task.pin", {"id": 1})
    rest.employee("tasks.task.start", {"taskId": 1})
    rows = rest.result("tasks.task.history.list", {"taskId": 1, "filter": {"FIELD": "STATUS"}})["list"]
    assert [(row["user"]["id"], row["user"]["name"]) for row in rows] == [(2, "Emil")]
    assert _history(rest, filter={"USER_ID": 1}) == [("NEW", None, None)]


def test_what_people_write_is_noted_by_its_number(rest: Any) -> None:
    rest.result("tasks.task.add", {"fields": {"TITLE": "x"}})
    rest.api_result("tasks.task.chat.message.send", {"fields": {"taskId": 1, "text": "Done?"}})
    assert _history(rest, filter={"FIELD": "COMMENT"}) == [("COMMENT", None, "1")]
    assert rest.portal.records("task_message").row(1)["TEXT"] == "Done?"


def test_subscribers_are_told_of_what_people_write(rest: Any, robot_handler: Any) -> None:
    rest.result("tasks.task.add", {"fields": {"TITLE": "x"}})
    rest.application("event.bind", {"event": "ONTASKCOMMENTADD", "handler": robot_handler.url})
    rest.api_result("tasks.task.chat.message.send", {"fields": {"taskId": 1, "text": "Done?"}})
    (call,) = rest.portal.event_calls
    data = call.fields["data"]
    assert data["FIELDS_AFTER"] == {"ID": 0, "TASK_ID": 1, "MESSAGE_ID": 1}
    assert data["FIELDS_BEFORE"] == "undefined"


def test_what_was_there_from_the_start_has_no_history(rest: Any) -> None:
    rest.portal.add_records("task", 1)
    assert _history(rest) == []


def test_a_history_goes_with_its_task(rest: Any, error_of: Any) -> None:
    rest.result("tasks.task.add", {"fields": {"TITLE": "x"}})
    rest.result("tasks.task.delete", {"taskId": 1})
    refused = error_of(rest.webhook("tasks.task.history.list", {"taskId": 1}))
    assert refused == (400, "0", "Access denied. (internal error)")
    assert error_of(rest.webhook("tasks.task.history.list"))[:2] == (400, "100")
    refused = error_of(rest.webhook("tasks.task.history.list", {"taskId": "x"}))
    assert refused == (400, "0", "wrong task id (internal error)")


@pytest.mark.parametrize("params", [{"filter": {"COLOUR": 1}}, {"order": {"colour": "ASC"}}])
def test_what_histories_do_not_have_is_refused(rest: Any, error_of: Any, params: Any) -> None:
    rest.portal.add_records("task", 1)
    refused = error_of(rest.webhook("tasks.task.history.list", {"taskId": 1, **params}))
    assert refused[:2] == (400, "0")
