"""Results of tasks: of a text, of a comment, of a message in the task's chat; the older methods and REST 3.0."""

from __future__ import annotations

from typing import Any

import pytest

INVALID = (400, "EXCEPTION_VALIDATION_REQUESTVALIDATIONEXCEPTION")
UNFIT = (400, "EXCEPTION_VALIDATION_DTOVALIDATIONEXCEPTION")
UNKNOWN = (400, "EXCEPTION_UNKNOWNDTOPROPERTYEXCEPTION")
DENIED = (403, "EXCEPTION_ACCESSDENIEDEXCEPTION")


@pytest.fixture
def task(rest: Any) -> int:
    """Return the number of a task of user 1, which user 2 is responsible for."""
    fields = {"TITLE": "x", "RESPONSIBLE_ID": 2}
    return int(rest.result("tasks.task.add", {"fields": fields})["task"]["id"])


def _add(rest: Any, task: int, text: str, user_id: int = 1) -> Any:
    return rest.api_result("tasks.task.result.add", {"fields": {"taskId": task, "text": text}}, user_id)[
        "item"
    ]


def test_a_result_is_added_changed_listed_and_deleted(rest: Any, task: int) -> None:
    made = _add(rest, task, "Sent")
    assert (made["taskId"], made["text"], made["authorId"], made["status"]) == (task, "Sent", 1, "open")
    assert (made["updatedAt"], made["messageId"], made["rights"]["edit"]) == (None, None, True)
    changed = rest.api_result("tasks.task.result.update", {"id": made["id"], "fields": {"text": "Signed"}})
    assert changed["item"]["text"] == "Signed"
    assert changed["item"]["updatedAt"] is not None
    listed = rest.api_result("tasks.task.result.list", {"filter": [["taskId", task]]})["items"]
    assert [item["text"] for item in listed] == ["Signed"]
    assert rest.api_result("tasks.task.result.delete", {"id": made["id"]}) == {"result": True}
    assert rest.api_result("tasks.task.result.list", {"filter": [["taskId", task]]}) == {"items": []}


def test_the_older_list_has_the_same_results(rest: Any, task: int, error_of: Any) -> None:
    for text in ("first", "[B]second[/B]"):
        _add(rest, task, text)
    newest, oldest = rest.result("tasks.task.result.list", {"taskId": task})
    assert (newest["formattedText"], newest["status"], oldest["text"]) == ("<b>second</b>", 0, "first")
    assert newest["updatedAt"] == newest["createdAt"]
    assert error_of(rest.webhook("tasks.task.result.list", {"taskId": 9})) == (400, "0", "Access denied.")
    assert error_of(rest.webhook("tasks.task.result.list", {"taskId": "x"}))[:2] == (400, "100")


def test_a_result_is_closed_with_its_task_and_stays_so(rest: Any, task: int) -> None:
    _add(rest, task, "Sent")

    def info() -> tuple[str, str]:
        params = {"select": ["ID"], "params": {"WITH_RESULT_INFO": True}}
        (row,) = rest.result("tasks.task.list", params)["tasks"]
        return row["taskHasResult"], row["taskHasOpenResult"]

    assert info() == ("Y", "Y")
    rest.result("tasks.task.complete", {"taskId": task})
    rest.result("tasks.task.renew", {"taskId": task})
    assert info() == ("Y", "N")
    _add(rest, task, "Sent again")
    assert [row["status"] for row in rest.result("tasks.task.result.list", {"taskId": task})] == [0, 1]


def test_a_message_of_the_chat_becomes_a_result(rest: Any, task: int) -> None:
    message = {"fields": {"taskId": task, "text": "Done"}}
    assert rest.api_result("tasks.task.chat.message.send", message) == {"result": True}
    made = rest.api_result("tasks.task.result.addfromchatmessage", {"fields": {"messageId": 1}})["item"]
    assert (made["taskId"], made["text"], made["messageId"]) == (task, "Done", 1)
    wrong = rest.api("tasks.task.result.addfromchatmessage", {"fields": {"messageId": 9}}).json()["error"]
    assert wrong["validation"] == [{"message": "Message is not from task chat", "field": "messageId"}]


def test_a_comment_becomes_a_result_once_while_it_is_open(rest: Any, task: int, error_of: Any) -> None:
    rest.portal.add_records("task_message", [{"TASK_ID": task, "TEXT": "Done", "CREATED_BY": 1}])
    made = rest.result("tasks.task.result.addFromComment", {"commentId": 1})
    assert (made["commentId"], made["text"], made["files"]) == (1, "Done", None)
    again = error_of(rest.webhook("tasks.task.result.addFromComment", {"commentId": 1}))
    assert again == (400, "0", "Result already exists.")
    rest.result("tasks.task.complete", {"taskId": task})
    assert rest.result("tasks.task.result.addFromComment", {"commentId": 1})["status"] == 0
    refused = error_of(rest.employee("tasks.task.result.deleteFromComment", {"commentId": 1}))
    assert refused == (400, "0", "Access denied.")
    assert rest.result("tasks.task.result.deleteFromComment", {"commentId": 1}) is None
    assert rest.result("tasks.task.result.list", {"taskId": task}) == []
    assert rest.portal.records("task_message").get(1) is not None
    for number, code in ((9, "0"), ("x", "100")):
        refused = error_of(rest.webhook("tasks.task.result.addFromComment", {"commentId": number}))
        assert refused[:2] == (400, code)


def test_only_the_author_changes_a_result(rest: Any, task: int) -> None:
    made = _add(rest, task, "Sent", user_id=2)
    for user_id, rights in ((1, False), (2, True)):
        params = {"filter": [["taskId", task]], "select": ["rights", "author"]}
        (item,) = rest.api_result("tasks.task.result.list", params, user_id)["items"]
        assert (item["rights"]["edit"], item["author"]["name"]) == (rights, "Emil")
    changed = {"id": made["id"], "fields": {"text": "Mine"}}
    assert rest.api_error("tasks.task.result.update", changed) == DENIED
    assert rest.api_error("tasks.task.result.delete", {"id": made["id"]}) == DENIED
    assert rest.api("tasks.task.result.delete", {"id": made["id"]}, user_id=2).status_code == 200


def test_results_go_with_their_task(rest: Any, task: int) -> None:
    made = _add(rest, task, "Sent")
    rest.result("tasks.task.delete", {"taskId": task})
    assert rest.api_error("tasks.task.result.delete", {"id": made["id"]}) == DENIED
    assert len(rest.portal.records("task_result")) == 0


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"order": {"id": "DESC"}}, ["c", "b", "a"]),
        ({"filter": [["id", "in", [1, 3]]]}, ["a", "c"]),
        ({"filter": [["id", ">", 1]], "pagination": {"limit": 1}}, ["b"]),
        ({"filter": [["status", "closed"]]}, []),
        ({"filter": [["messageId", ">", 0]]}, []),
        ({"filter": [["id", "between", [2, 3]]]}, ["b", "c"]),
    ],
)
def test_results_are_found_by_conditions(rest: Any, task: int, params: Any, found: list[str]) -> None:
    for text in "abc":
        _add(rest, task, text)
    conditions = [["taskId", task], *params.get("filter", ())]
    items = rest.api_result("tasks.task.result.list", {**params, "filter": conditions})["items"]
    assert [item["text"] for item in items] == found


@pytest.mark.parametrize(
    ("method", "params", "error"),
    [
        ("result.add", {}, INVALID),
        ("result.add", {"fields": {"taskId": 1}}, UNFIT),
        ("result.add", {"fields": {"taskId": "1", "text": "x"}}, INVALID),
        ("result.add", {"fields": {"taskId": 9, "text": "x"}}, INVALID),
        ("result.add", {"fields": {"taskId": 1, "text": "x", "fileIds": []}}, UNFIT),
        ("result.add", {"fields": {"taskId": 1, "text": "x", "colour": 1}}, UNKNOWN),
        ("result.addfromchatmessage", {"fields": {}}, UNFIT),
        ("result.addfromchatmessage", {"fields": {"messageId": 1, "text": "x"}}, UNKNOWN),
        ("result.update", {"id": 1}, DENIED),
        ("result.update", {"fields": {"text": "x"}}, INVALID),
        ("result.delete", {"id": 1, "filter": []}, INVALID),
        ("result.list", {}, INVALID),
        ("result.list", {"filter": "x"}, (400, "EXCEPTION_INVALIDFILTEREXCEPTION")),
        (
            "result.list",
            {"filter": [["id", 1]]},
            (400, "EXCEPTION_VALIDATION_REQUESTFILTERVALIDATIONEXCEPTION"),
        ),
        ("result.list", {"filter": [["taskId", "1"]]}, INVALID),
        ("result.list", {"filter": [["taskId", 9]]}, DENIED),
        ("result.list", {"filter": [["taskId", 1], ["colour", 1]]}, UNKNOWN),
        (
            "result.list",
            {"filter": [["taskId", "~", 1]]},
            (400, "EXCEPTION_UNKNOWNFILTEROPERATOREXCEPTION"),
        ),
        ("result.list", {"filter": [["taskId", 1]], "select": ["colour"]}, UNKNOWN),
        ("result.list", {"filter": [["taskId", 1]], "order": {"colour": "ASC"}}, UNKNOWN),
        ("result.list", {"filter": [["taskId", 1]], "order": {"text": "ASC"}}, INVALID),
        (
            "result.list",
            {"filter": [["taskId", 1]], "order": {"id": "UP"}},
            (400, "EXCEPTION_INVALIDORDEREXCEPTION"),
        ),
        ("chat.message.send", {"fields": {"text": "x"}}, UNFIT),
        ("chat.message.send", {"fields": {"taskId": 9, "text": "x"}}, DENIED),
        ("chat.message.send", {"fields": {"taskId": 1, "text": 7}}, INVALID),
    ],
)
def test_refusals_are_the_documented_ones(
    rest: Any, task: int, method: str, params: Any, error: tuple[int, str]
) -> None:
    assert rest.api_error(f"tasks.task.{method}", params) == error
