"""What people are told: it is theirs to read, to answer and to delete."""

from __future__ import annotations

from typing import Any

import pytest


def _texts(rest: Any, **params: Any) -> list[str]:
    return [note["text"] for note in rest.result("im.notify.get", params)["notifications"]]


def _tell(rest: Any, text: str, **params: Any) -> int:
    return int(rest.result("im.notify.system.add", {"USER_ID": 1, "MESSAGE": text, **params}))


def test_a_notification_is_found_by_the_person_it_is_for(rest: Any) -> None:
    number = rest.result(
        "im.notify.personal.add", {"USER_ID": 2, "MESSAGE": " [B]Call[/B] back ", "TAG": "t"}
    )
    assert rest.result("im.notify.get") == {"notifications": [], "users": []}
    found = rest.employee("im.notify.get", {"CONVERT_TEXT": "Y"}).json()["result"]
    assert (found["total_count"], found["total_unread_count"]) == (1, 1)
    (note,) = found["notifications"]
    assert (note["id"], note["author_id"], note["notify_type"]) == (number, 1, 2)
    assert (note["text"], note["notify_read"]) == ("<b>Call</b> back", "N")
    assert [user["name"] for user in found["users"]] == ["Ada Admin"]


def test_a_system_notification_has_no_author(rest: Any) -> None:
    _tell(rest, "Done")
    found = rest.result("im.notify.get")
    assert [(note["author_id"], note["notify_type"]) for note in found["notifications"]] == [(0, 4)]
    assert found["users"] == []
    rest.result("im.notify", {"USER_ID": 1, "MESSAGE": "x", "TYPE": "SYSTEM"})
    rest.result("im.notify", {"USER_ID": 1, "MESSAGE": "y"})
    assert [note["notify_type"] for note in rest.result("im.notify.get")["notifications"]] == [2, 4, 4]


def test_nobody_is_told_who_is_not_there(rest: Any) -> None:
    assert rest.result("im.notify.system.add", {"USER_ID": 99, "MESSAGE": "x"}) is False


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"USER_ID": 0, "MESSAGE": "x"}, "USER_ID_EMPTY"),
        ({"USER_ID": 1, "MESSAGE": " "}, "MESSAGE_EMPTY"),
        ({"USER_ID": 1, "MESSAGE": "x", "ATTACH": "no JSON"}, "ATTACH_ERROR"),
        ({"USER_ID": 1, "MESSAGE": "x", "ATTACH": [{"MESSAGE": "x" * 60_000}]}, "ATTACH_OVERSIZE"),
    ],
)
def test_what_cannot_be_sent_is_refused(rest: Any, error_of: Any, params: Any, code: str) -> None:
    for method in ("im.notify.personal.add", "im.notify.system.add"):
        assert error_of(rest.webhook(method, params))[:2] == (400, code)
    assert len(rest.portal.records("notification")) == 0


def test_a_tag_replaces_what_the_same_application_told_the_same_person(rest: Any) -> None:
    _tell(rest, "first", TAG="t", CLIENT_ID="a")
    _tell(rest, "of another application", TAG="t", CLIENT_ID="b")
    _tell(rest, "second", TAG="t", CLIENT_ID="a")
    rest.result(
        "im.notify.system.add", {"USER_ID": 2, "MESSAGE": "for another", "TAG": "t", "CLIENT_ID": "a"}
    )
    assert _texts(rest) == ["second", "of another application"]
    assert rest.result("im.notify.get")["notifications"][0]["notify_tag"] == "MP|a|t"


def test_notifications_come_in_pages_questions_first(rest: Any) -> None:
    question = {"USER_ID": 1, "MESSAGE": "May I?", "NOTIFY_TYPE": 1}
    rest.portal.add_records("notification", [question])
    for number in range(4):
        _tell(rest, str(number))
    first = rest.result("im.notify.get", {"LIMIT": 3})["notifications"]
    assert [note["text"] for note in first] == ["May I?", "3", "2"]
    assert _texts(rest, LAST_ID=first[-1]["id"], LAST_TYPE=3) == ["1", "0"]
    assert _texts(rest, LAST_ID=first[0]["id"], LAST_TYPE=1, LIMIT=1) == ["3"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"LAST_ID": 1}, "LAST_ID_AND_LAST_TYPE"),
        ({"LAST_TYPE": 1}, "LAST_ID_AND_LAST_TYPE"),
        ({"LAST_ID": "x", "LAST_TYPE": 1}, "LAST_ID_STRING"),
    ],
)
def test_a_wrong_cursor_is_refused(rest: Any, error_of: Any, params: Any, code: str) -> None:
    assert error_of(rest.webhook("im.notify.get", params))[:2] == (400, code)


@pytest.mark.parametrize(
    ("method", "params", "read"),
    [
        ("read", {"ID": 2, "ONLY_CURRENT": "Y"}, [2]),
        ("read", {"ID": 2}, [2, 3]),
        ("read", {}, []),
        ("read.list", {"IDS": [3, 0, 1]}, [3]),
        ("read.all", {}, [1, 2, 3]),
    ],
)
def test_notifications_are_marked_as_read(rest: Any, method: str, params: Any, read: list[int]) -> None:
    for text in "abc":
        _tell(rest, text)
    reply = rest.result(f"im.notify.{method}", params)
    assert reply == ({"result": True, "newCounter": 0} if method == "read.all" else True)

    def marked() -> list[int]:
        notes = rest.result("im.notify.get")["notifications"]
        return sorted(note["id"] for note in notes if note["notify_read"] == "Y")

    assert marked() == read
    assert rest.result("im.notify.get")["total_unread_count"] == 3 - len(read)
    rest.result("im.notify.read", {"ID": 0, "ACTION": "N"})
    assert marked() == []


def test_nobody_touches_what_others_were_told(rest: Any) -> None:
    number = _tell(rest, "x")
    assert rest.employee("im.notify.delete", {"ID": number}).json()["result"] is False
    rest.employee("im.notify.read", {"ID": number})
    assert rest.result("im.notify.get")["total_unread_count"] == 1
    assert rest.result("im.notify.delete", {"ID": number}) is True
    assert rest.result("im.notify.get") == {"notifications": [], "users": []}


def test_an_application_deletes_by_tag_what_it_has_told(rest: Any, error_of: Any) -> None:
    for text, client, tags in (
        ("mine", "a", {"SUB_TAG": "s"}),
        ("too", "a", {"TAG": "t", "SUB_TAG": "s"}),
        ("of another", "b", {"SUB_TAG": "s"}),
    ):
        _tell(rest, text, CLIENT_ID=client, **tags)
    refused = error_of(rest.webhook("im.notify.delete", {"SUB_TAG": "s"}))
    assert refused == (403, "ACCESS_DENIED", "Access denied! Client ID not specified")
    assert error_of(rest.webhook("im.notify.delete"))[:2] == (400, "PARAMS_ERROR")
    assert rest.result("im.notify.delete", {"SUB_TAG": "s", "CLIENT_ID": "a"}) is True
    assert _texts(rest) == ["of another"]


def test_a_question_is_answered_by_a_button_once(rest: Any, error_of: Any) -> None:
    buttons = [{"TITLE": "Accept", "VALUE": "Y"}, {"TITLE": "Decline", "VALUE": "N"}]
    rest.portal.add_records(
        "notification", [{"USER_ID": 1, "MESSAGE": "?", "NOTIFY_TYPE": 1, "NOTIFY_BUTTONS": buttons}]
    )
    assert '"VALUE": "N"' in rest.result("im.notify.get")["notifications"][0]["notify_buttons"]
    confirm = {"NOTIFY_ID": 1, "NOTIFY_VALUE": "Y"}
    assert rest.result("im.notify.confirm", {**confirm, "NOTIFY_VALUE": "?"}) == {"result_message": False}
    assert rest.result("im.notify.confirm", confirm) == {"result_message": ["Accept"]}
    assert rest.result("im.notify.confirm", confirm) == {"result_message": False}
    assert error_of(rest.webhook("im.notify.confirm", {"NOTIFY_VALUE": "Y"}))[1] == "ID_ERROR"
    assert error_of(rest.webhook("im.notify.confirm", {"NOTIFY_ID": 1}))[1] == "NOTIFY_VALUE_ERROR"


def test_only_what_takes_an_answer_is_answered(rest: Any, error_of: Any) -> None:
    rest.portal.add_records(
        "notification",
        [{"USER_ID": 1, "MESSAGE": "Well?", "CAN_ANSWER": "Y"}, {"USER_ID": 1, "MESSAGE": "x"}],
    )
    reply = rest.result("im.notify.answer", {"NOTIFY_ID": 1, "ANSWER_TEXT": "Fine"})
    assert reply["result_message"]
    assert rest.portal.records("notification").row(1)["ANSWER"] == "Fine"
    reply = rest.result("im.notify.answer", {"NOTIFY_ID": 2, "ANSWER_TEXT": "Fine"})
    assert reply == {"result_message": False}
    assert error_of(rest.webhook("im.notify.answer", {"NOTIFY_ID": 1}))[1] == "ANSWER_TEXT_ERROR"


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"SEARCH_TEXT": "INVOICE"}, ["Invoice 2", "Invoice 1"]),
        ({"SEARCH_TEXT": "Invoice", "SEARCH_AUTHORS": [1]}, ["Invoice 2"]),
        ({"SEARCH_TYPE": "tasks"}, ["Invoice 1"]),
        ({"SEARCH_TYPES": ["tasks|comment", "rest|rest_notify"]}, ["Paid", "Invoice 2"]),
        ({"SEARCH_DATE": "2026-03-03T12:00:00+02:00"}, ["Invoice 2", "Invoice 1"]),
        (
            {"SEARCH_DATE_FROM": "2026-03-04T00:00:00+00:00", "SEARCH_DATE_TO": "2026-03-05T00:00:00+00:00"},
            ["Paid"],
        ),
        ({"SEARCH_TEXT": "voice", "LIMIT": 1}, ["Invoice 2"]),
        ({"SEARCH_TEXT": "voice", "LAST_ID": 2}, ["Invoice 1"]),
        ({"SEARCH_TEXT": "voice", "GROUP_TAG": "g"}, ["Invoice 1"]),
    ],
)
def test_the_history_is_searched(rest: Any, params: Any, found: list[str]) -> None:
    task = {"NOTIFY_MODULE": "tasks", "NOTIFY_EVENT": "task_update", "TAG": "g"}
    rest.portal.add_records(
        "notification",
        [
            {"USER_ID": 1, "MESSAGE": "Invoice 1", "DATE_CREATE": "2026-03-03T09:00:00+00:00", **task},
            {
                "USER_ID": 1,
                "MESSAGE": "Invoice 2",
                "DATE_CREATE": "2026-03-03T10:00:00+00:00",
                "AUTHOR_ID": 1,
            },
            {"USER_ID": 1, "MESSAGE": "Paid", "DATE_CREATE": "2026-03-04T10:00:00+00:00"},
            {"USER_ID": 2, "MESSAGE": "Invoice 3", "DATE_CREATE": "2026-03-03T10:00:00+00:00"},
        ],
    )
    reply = rest.result("im.notify.history.search", params)
    assert [note["text"] for note in reply["notifications"]] == found
    assert ("total_results" in reply) is ("LAST_ID" not in params)


def test_a_search_needs_something_to_look_for(rest: Any, error_of: Any) -> None:
    refused = error_of(rest.webhook("im.notify.history.search", {"SEARCH_TEXT": "ab"}))
    assert refused == (400, "SEARCH_TEXT_ERROR", "SEARCH_TEXT can't be less than 3 symbols")


def test_the_schema_names_what_notifications_are_searched_by(rest: Any) -> None:
    schema = rest.result("im.notify.schema.get")
    assert schema["rest"]["LIST"][0]["ID"] == "rest|rest_notify"
    assert all(module["MODULE_ID"] == name for name, module in schema.items())
