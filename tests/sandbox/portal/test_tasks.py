"""What people are asked inside a process."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_b24.sandbox import AskPerson, SetField

FIELD = {"Id": "phone", "Type": "string", "Name": "Phone", "Required": True, "Multiple": False}


def _ask(portal: Any, **how: Any) -> Any:
    return portal.start_process([AskPerson(**{"user_id": 1, **how}), SetField("S", "{=A1:Status}")])


def test_a_process_waits_until_its_task_is_done(live_portal: Any, rest: Any) -> None:
    process = _ask(live_portal, title="Approve it?")
    assert (process.status, process.waiting_for) == ("waiting", None)
    (task,) = rest.result("bizproc.task.list")
    assert (task["NAME"], task["WORKFLOW_ID"], task["DOCUMENT_ID"]) == ("Approve it?", process.id, "LEAD_77")
    done = {"TASK_ID": task["ID"], "STATUS": "yes", "COMMENT": "fine"}
    assert rest.result("bizproc.task.complete", done) is True
    assert process.wait().values == {"S": 1}
    assert process.answers["A1"]["Comment"] == "fine"
    (row,) = rest.result("bizproc.task.list", {"SELECT": ["ID", "STATUS"]})
    assert row["STATUS"] == "1"


@pytest.mark.parametrize(
    ("activity", "status", "accepted"),
    [
        ("ApproveActivity", 1, True),
        ("ApproveActivity", "no", True),
        ("ApproveActivity", 3, False),
        ("ReviewActivity", "ok", True),
        ("ReviewActivity", 1, False),
        ("RequestInformationActivity", 3, True),
        ("RequestInformationActivity", "cancel", False),
        ("RequestInformationOptionalActivity", 4, True),
        ("ApproveActivity", "perhaps", False),
        ("ApproveActivity", None, False),
    ],
)
def test_each_type_of_task_has_its_own_statuses(
    live_portal: Any, rest: Any, error_of: Any, activity: str, status: Any, accepted: bool
) -> None:
    process = _ask(live_portal, activity=activity)
    response = rest.webhook("bizproc.task.complete", {"TASK_ID": 1, "STATUS": status})
    if accepted:
        assert response.json()["result"] is True
    else:
        assert error_of(response) == (400, "ERROR_TASK_VALIDATION", "incorrect STATUS")
    assert process.finished is accepted


def test_required_fields_must_be_filled_in(live_portal: Any, rest: Any, error_of: Any) -> None:
    process = _ask(live_portal, activity="RequestInformationActivity", fields=(FIELD,))
    (task,) = rest.result("bizproc.task.list", {"SELECT": ["PARAMETERS"]})
    assert task["PARAMETERS"]["Fields"] == [FIELD]
    refused = rest.webhook("bizproc.task.complete", {"TASK_ID": 1, "STATUS": 3})
    assert error_of(refused)[:2] == (400, "ERROR_TASK_EXECUTION")
    rest.result("bizproc.task.complete", {"TASK_ID": 1, "STATUS": 3, "FIELDS": {"phone": "112"}})
    assert process.wait().answers["A1"]["phone"] == "112"


def test_a_task_is_completed_once_and_by_its_owner(live_portal: Any, rest: Any, error_of: Any) -> None:
    _ask(live_portal, user_id=2)
    done = {"TASK_ID": 1, "STATUS": 1}
    assert error_of(rest.webhook("bizproc.task.complete", done)) == (
        400,
        "ERROR_TASK_NOT_FOUND",
        "Task not found",
    )
    assert rest.employee("bizproc.task.complete", done).json()["result"] is True
    assert error_of(rest.employee("bizproc.task.complete", done))[1] == "ERROR_TASK_COMPLETED"
    assert error_of(rest.webhook("bizproc.task.complete", {"STATUS": 1}))[2] == "empty TASK_ID"


def test_an_employee_sees_his_own_tasks(live_portal: Any, rest: Any, error_of: Any) -> None:
    for user_id in (1, 2, 2):
        _ask(live_portal, user_id=user_id)
    assert rest.webhook("bizproc.task.list").json()["total"] == 3
    assert rest.employee("bizproc.task.list").json()["total"] == 2
    assert rest.webhook("bizproc.task.list", {"FILTER": {"user_id": 1}}).json()["total"] == 1
    refused = rest.employee("bizproc.task.list", {"FILTER": {"USER_ID": 1}})
    assert error_of(refused) == (400, "ACCESS_DENIED", "Access denied!")
    refused = rest.webhook("bizproc.task.list", {"SELECT": ["COLOUR"]})
    assert error_of(refused)[:2] == (400, "ERROR_SELECT_VALIDATION_FAILURE")


def test_a_task_can_be_delegated(live_portal: Any, rest: Any) -> None:
    _ask(live_portal, user_id=1)
    handed_over = {"TASK_IDS": [1], "FROM_USER_ID": 1, "TO_USER_ID": 2}
    assert rest.result("bizproc.task.delegate", handed_over) is True
    assert rest.employee("bizproc.task.complete", {"TASK_ID": 1, "STATUS": 1}).status_code == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"TASK_IDS": None}, "ERROR_TASK_VALIDATION"),
        ({"TASK_IDS": ["x"]}, "ERROR_TASK_VALIDATION"),
        ({"FROM_USER_ID": 9}, "ERROR_INVALID_USER_ID"),
        ({"TO_USER_ID": "x"}, "ERROR_INVALID_USER_ID"),
        ({"FROM_USER_ID": 2}, "ERROR_DELEGATION_NOT_ALLOWED"),
        ({"TASK_IDS": [1, 9]}, "ERROR_DELEGATION_NOT_ALLOWED"),
    ],
)
def test_a_wrong_delegation_changes_nothing(
    live_portal: Any, rest: Any, error_of: Any, changes: dict[str, Any], code: str
) -> None:
    _ask(live_portal, user_id=1)
    refused = rest.webhook(
        "bizproc.task.delegate", {"TASK_IDS": [1], "FROM_USER_ID": 1, "TO_USER_ID": 2, **changes}
    )
    assert error_of(refused)[:2] == (400, code)
    assert [task.user_id for task in live_portal.tasks] == [1]


def test_a_process_that_is_stopped_withdraws_its_tasks(live_portal: Any, rest: Any, error_of: Any) -> None:
    process = _ask(live_portal)
    rest.result("bizproc.workflow.terminate", {"ID": process.id})
    refused = rest.webhook("bizproc.task.complete", {"TASK_ID": 1, "STATUS": 1})
    assert error_of(refused)[1] == "ERROR_TASK_COMPLETED"
