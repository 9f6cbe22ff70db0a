"""Who takes part in a task, what each may do, what is late, and what is attached."""

from __future__ import annotations

from typing import Any

import pytest

PAST = "2020-01-01T00:00:00+00:00"


def _counters(rest: Any, **params: Any) -> tuple[int, int]:
    found = rest.result("tasks.task.counters.get", params)
    return found["expired"]["counter"], found["new_comments"]["counter"]


def test_who_watches_a_task_is_among_its_auditors(rest: Any, error_of: Any) -> None:
    rest.result("tasks.task.add", {"fields": {"TITLE": "x", "AUDITORS": [1]}})
    for _ in range(2):
        watched = rest.employee("tasks.task.startwatch", {"taskId": 1}).json()["result"]["task"]
        assert watched["auditors"] == ["1", "2"]
        assert watched["auditorsData"]["2"]["name"] == "Emil Employee"
    assert rest.result("tasks.task.stopwatch", {"taskId": 1})["task"]["auditors"] == ["2"]
    for verb in ("startwatch", "stopwatch"):
        assert error_of(rest.webhook(f"tasks.task.{verb}", {"taskId": 9})) == (400, "1048584", "a:0:{}")
        assert error_of(rest.webhook(f"tasks.task.{verb}", {"taskId": "x"})) == (400, "0", "wrong task id")


@pytest.mark.parametrize(
    ("status", "may"),
    [
        ("2", {"START", "COMPLETE", "DEFER", "DELEGATE"}),
        ("3", {"PAUSE", "COMPLETE", "DELEGATE"}),
        ("4", {"APPROVE", "DISAPPROVE", "DELEGATE"}),
        ("5", {"RENEW"}),
        ("6", {"COMPLETE", "RENEW", "DELEGATE"}),
    ],
)
def test_what_may_be_done_depends_on_the_status(rest: Any, status: str, may: set[str]) -> None:
    rest.portal.add_records("task", [{"TITLE": "x", "STATUS": status}])
    allowed = rest.result("tasks.task.getaccess", {"taskId": 1})["allowedActions"]["1"]
    moving = {"START", "PAUSE", "COMPLETE", "DEFER", "RENEW", "APPROVE", "DISAPPROVE", "DELEGATE"}
    assert {name for name in moving if allowed[name]} == may
    rights = rest.api_result("tasks.task.access.get", {"id": 1})
    assert {name.upper() for name in rights if rights[name]} & moving == may
    action = rest.result("tasks.task.get", {"taskId": 1})["task"]["action"]
    assert {name.upper() for name in action if action[name]} & moving == may


def test_what_may_be_done_depends_on_the_role(rest: Any, error_of: Any) -> None:
    rest.portal.add_user()
    rest.portal.add_records("task", [{"TITLE": "x", "CREATED_BY": 1, "RESPONSIBLE_ID": 2, "AUDITORS": [3]}])
    given = {"taskId": 1, "users": [1, 2, 3, 99]}
    allowed = rest.result("tasks.task.getaccess", given)["allowedActions"]
    assert [allowed[user]["EDIT"] for user in ("1", "2", "3", "99")] == [True, False, False, False]
    assert [allowed[user]["START"] for user in ("1", "2", "3", "99")] == [True, True, False, False]
    assert not any(allowed["99"].values())
    assert allowed["2"]["CHANGE_DEADLINE"] is False
    rest.result("tasks.task.update", {"taskId": 1, "fields": {"ALLOW_CHANGE_DEADLINE": "Y"}})
    assert rest.result("tasks.task.getaccess", given)["allowedActions"]["2"]["CHANGE_DEADLINE"] is True
    rights = rest.api_result("tasks.task.access.get", {"id": 1}, user_id=2)
    assert (rights["read"], rights["edit"], rights["start"], rights["admin"]) == (True, False, True, False)
    assert rest.result("tasks.task.getaccess", {"taskId": 9}) == {"allowedActions": []}
    assert not any(rest.api_result("tasks.task.access.get", {"id": 9}).values())
    refused = error_of(rest.webhook("tasks.task.getaccess", {"taskId": 1, "users": "x"}))
    assert refused[:2] == (400, "100")


def test_counters_are_those_of_the_tasks_that_are_there(rest: Any, error_of: Any) -> None:
    rest.portal.add_records(
        "task",
        [
            {"TITLE": "late", "CREATED_BY": 2, "RESPONSIBLE_ID": 1, "DEADLINE": PAST, "GROUP_ID": 7},
            {"TITLE": "done", "RESPONSIBLE_ID": 1, "DEADLINE": PAST, "STATUS": "5"},
            {"TITLE": "muted", "RESPONSIBLE_ID": 1, "DEADLINE": PAST, "IS_MUTED": "Y"},
            {"TITLE": "of another", "CREATED_BY": 2, "RESPONSIBLE_ID": 2, "DEADLINE": PAST, "AUDITORS": [1]},
        ],
    )
    assert _counters(rest) == (2, 0)
    assert _counters(rest, type="view_role_responsible") == (1, 0)
    assert _counters(rest, type="view_role_auditor") == (1, 0)
    assert _counters(rest, type="view_role_originator") == (0, 0)
    assert _counters(rest, groupId=7) == (1, 0)
    assert _counters(rest, userId=2, type="view_role_responsible") == (1, 0)
    assert rest.webhook("tasks.task.counters.get").json()["total"] == 1
    assert rest.result("tasks.task.counters.get", {"userId": 99}) == []
    assert rest.employee("tasks.task.counters.get", {"userId": 1}).json()["result"] == []
    refused = error_of(rest.webhook("tasks.task.counters.get", {"groupId": 8}))
    assert refused == (400, "0", "Group not found or access denied. (internal error)")
    assert error_of(rest.webhook("tasks.task.counters.get", {"userId": "x"}))[:2] == (400, "0")
    listed = rest.result("tasks.task.list", {"filter": {"ID": 1}, "select": ["ID", "COUNTERS"]})["tasks"]
    assert (listed[0]["counter"]["counters"]["expired"], listed[0]["counter"]["value"]) == (1, 1)


def test_comments_are_new_until_one_writes_oneself(rest: Any) -> None:
    rest.portal.add_records("task", [{"TITLE": "x", "CREATED_BY": 1, "RESPONSIBLE_ID": 2}])

    def say(user_id: int) -> None:
        message = {"fields": {"taskId": 1, "text": "x"}}
        rest.api_result("tasks.task.chat.message.send", message, user_id)

    say(1)
    say(1)
    assert (_counters(rest), _counters(rest, userId=2)) == ((0, 0), (0, 2))
    say(2)
    assert (_counters(rest), _counters(rest, userId=2)) == ((0, 1), (0, 0))
    assert rest.result("tasks.task.get", {"taskId": 1})["task"]["newCommentsCount"] == 1


def test_files_of_the_drive_are_attached(rest: Any, error_of: Any) -> None:
    files = [rest.portal.add_file(name, b"x") for name in ("a.txt", "b.txt", "c.txt")]
    rest.portal.add_records("task", [{"TITLE": "x", "RESPONSIBLE_ID": 2}])
    attached = rest.result("tasks.task.files.attach", {"taskId": 1, "fileId": files[0]})
    assert rest.portal.records("task_file").row(attached["attachmentId"])["FILE_ID"] == files[0]
    more = {"taskId": 1, "fileIds": files[1:]}
    assert rest.api_result("tasks.task.file.attach", more) == {"result": True}
    task = rest.result("tasks.task.get", {"taskId": 1, "select": ["UF_TASK_WEBDAV_FILES"]})["task"]
    assert len(task["ufTaskWebdavFiles"]) == 3
    for params, code in (
        ({"taskId": 1, "fileId": 99}, "ERROR_CORE"),
        ({"taskId": 1}, "100"),
        ({"taskId": 1, "fileId": "x"}, "100"),
        ({"taskId": 9, "fileId": files[0]}, "0"),
    ):
        assert error_of(rest.webhook("tasks.task.files.attach", params))[:2] == (400, code)
    refused = error_of(rest.employee("tasks.task.files.attach", {"taskId": 1, "fileId": files[0]}))
    assert refused == (400, "0", "Access denied (internal error)")
    invalid = (400, "EXCEPTION_VALIDATION_REQUESTVALIDATIONEXCEPTION")
    for wrong in ({}, {**more, "fileIds": [99]}, {**more, "fileIds": ["x"]}, {**more, "taskId": 9}):
        assert rest.api_error("tasks.task.file.attach", wrong) == invalid
    assert rest.api_error("tasks.task.file.attach", more, user_id=2) == invalid


def test_a_card_has_its_checklist_as_a_tree(rest: Any) -> None:
    rest.portal.add_records("task", [{"TITLE": "x", "CHECKLIST": ["Call", "Write"]}, {"TITLE": "y"}])
    task = rest.result("tasks.task.pin", {"id": 1})["task"]
    tree = task["checkListTree"]
    assert (tree["nodeId"], [node["fields"]["title"] for node in tree["descendants"]]) == (
        0,
        ["Call", "Write"],
    )
    assert task["checkListCanAdd"] is True
    other = rest.result("tasks.task.pin", {"id": 2})["task"]
    assert other["checkListTree"]["descendants"] == []
    assert other["chatId"] != task["chatId"]
