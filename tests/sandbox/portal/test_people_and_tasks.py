"""Employees, departments and tasks."""

from __future__ import annotations

from typing import Any

import pytest


def test_a_task_lives_from_add_to_delete(live_portal: Any, rest: Any, error_of: Any) -> None:
    fields = {
        "TITLE": "Call back",
        "RESPONSIBLE_ID": 2,
        "AUDITORS": [1],
        "DEADLINE": "2026-03-01T10:00:00+00:00",
    }
    task = rest.result("tasks.task.add", {"fields": fields})["task"]
    assert (task["id"], task["title"], task["status"], task["priority"]) == ("1", "Call back", "2", "1")
    assert (task["responsibleId"], task["responsible"]["name"], task["createdBy"]) == (
        "2",
        "Emil Employee",
        "1",
    )
    assert (task["auditors"], list(task["auditorsData"])) == (["1"], ["1"])
    assert task["action"]["start"] is True
    changed = rest.result("tasks.task.update", {"taskId": 1, "fields": {"TITLE": "Call again"}})["task"]
    assert (changed["title"], changed["deadline"]) == ("Call again", "2026-03-01T10:00:00+00:00")
    done = rest.result("tasks.task.complete", {"taskId": 1})["task"]
    assert (done["status"], done["closedBy"], done["action"]["complete"]) == ("5", "1", False)
    assert rest.result("tasks.task.renew", {"taskId": 1})["task"]["closedDate"] == ""
    assert rest.result("tasks.task.delegate", {"taskId": 1, "userId": 1})["task"]["responsibleId"] == "1"
    picked = rest.result("tasks.task.get", {"taskId": 1, "select": ["TITLE"]})["task"]
    assert set(picked) == {"id", "title", "favorite", "group", "action"}
    assert rest.result("tasks.task.delete", {"taskId": 1}) == {"task": True}
    assert rest.result("tasks.task.get", {"taskId": 1}) == []
    assert error_of(rest.webhook("tasks.task.defer", {"taskId": 1}))[:2] == (400, "1048582")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"RESPONSIBLE_ID": 1}, "Task title is not specified<br>"),
        ({"TITLE": "x", "RESPONSIBLE_ID": ""}, "Responsible person not specified<br>"),
        ({"TITLE": "x", "RESPONSIBLE_ID": 99}, 'User specified in the "Responsible" field not found<br>'),
        ({"TITLE": "x", "STATUS": 9}, "Incorrect status<br>"),
        ({"TITLE": "x", "PARENT_ID": 9}, 'Task specified in the "Parent Task" field not found<br>'),
    ],
)
def test_a_task_that_cannot_be_is_refused(rest: Any, error_of: Any, fields: Any, text: str) -> None:
    assert error_of(rest.webhook("tasks.task.add", {"fields": fields})) == (400, "ERROR_CORE", text)


def test_tasks_form_no_circle(rest: Any, error_of: Any) -> None:
    rest.portal.add_records("task", [{"TITLE": "a"}, {"TITLE": "b", "PARENT_ID": 1}])
    for parent, text in (
        (2, "Creating cyclic links in tasks is prohibited<br>"),
        (1, "Cannot bind the node to itself<br>"),
    ):
        refused = error_of(rest.webhook("tasks.task.update", {"taskId": 1, "fields": {"PARENT_ID": parent}}))
        assert refused == (400, "ERROR_CORE", text)


def test_tasks_are_found_by_what_their_page_documents(rest: Any, error_of: Any) -> None:
    records = [
        {"TITLE": "Call Ada", "STATUS": "5", "TAGS": ["sales"]},
        {"TITLE": "Call Bob", "PARENT_ID": 1, "FAVORITE": "Y"},
        {"TITLE": "Write", "DEADLINE": "2026-03-01T10:00:00+00:00"},
    ]
    rest.portal.add_records("task", records)

    def found(filter_by: Any, **how: Any) -> list[str]:
        reply = rest.result("tasks.task.list", {"filter": filter_by, "select": ["ID"], **how})
        return [task["id"] for task in reply["tasks"]]

    assert found({}) == ["3", "2", "1"]
    assert found({"TITLE": "Call%"}) == ["2", "1"]
    assert found({"!TITLE": "Call%"}) == ["3"]
    assert found({"REAL_STATUS": 5}) == found({"TAG": "sales"}) == ["1"]
    assert found({"ONLY_ROOT_TASKS": "Y"}) == ["3", "1"]
    assert found({"::SUBFILTER-PARAMS": {"FAVORITE": "Y"}}) == ["2"]
    assert found({"<DEADLINE": "2026-04-01"}) == ["3"]
    assert found({"ID": [1, 2]}, order={"TITLE": "desc"}) == ["2", "1"]
    for filter_by in ({"%TITLE": "Call"}, {"=ID": 1}, {"NOBODY": 1}, {"DESCRIPTION": "x"}):
        assert error_of(rest.webhook("tasks.task.list", {"filter": filter_by}))[:2] == (400, "0")
    assert error_of(rest.webhook("tasks.task.list", {"order": {"DESCRIPTION": "asc"}})) == (
        400,
        "0",
        "Invalid sorting key (internal error)",
    )


def test_an_employee_is_added_changed_found_and_may_call(live_portal: Any, rest: Any, error_of: Any) -> None:
    number = rest.result("user.add", {"EMAIL": "cleo@portal.example", "NAME": "Cleo", "UF_DEPARTMENT": [1]})
    assert number == 3
    assert rest.result("user.update", {"ID": number, "WORK_POSITION": "Engineer"}) is True
    [user] = rest.result("user.get", {"FILTER": {"EMAIL": "CLEO@portal.example"}})
    assert (user["ID"], user["WORK_POSITION"], user["ACTIVE"], user["UF_DEPARTMENT"]) == (
        "3",
        "Engineer",
        True,
        [1],
    )
    webhook = live_portal.create_webhook(number)
    assert rest.http.post(webhook.url + "user.current").json()["result"]["NAME"] == "Cleo"
    assert error_of(rest.employee("user.add", {"EMAIL": "x@y.zz"}))[1:] == ("ERROR_CORE", "access_denied")
    for email, text in (
        ("no address", "wrong_email"),
        ("cleo@portal.example", "A user with this email already exists"),
    ):
        assert error_of(rest.webhook("user.add", {"EMAIL": email})) == (400, "ERROR_ARGUMENT", text)
    assert "PERSONAL_CITY" in rest.result("user.fields")


def test_employees_are_found_in_the_documented_ways(rest: Any, error_of: Any) -> None:
    rest.portal.add_user(name="Cleo", last_name="Clever")

    def found(method: str = "user.get", **params: Any) -> list[str]:
        return [user["ID"] for user in rest.result(method, params)]

    assert found(FILTER={"%LAST_NAME": "lev"}) == ["3"]
    assert found(FILTER={"!@ID": [1, 2]}) == ["3"]
    assert found(NAME="Ada") == found(FILTER={"NAME_SEARCH": "ada@"}) == ["1"]
    assert found(sort="NAME", order="DESC") == ["2", "3", "1"]
    assert found(FILTER={"ACTIVE": True, "UF_DEPARTMENT": 1}) == ["1", "2", "3"]
    assert found("user.search", FILTER={"NAME": "cl"}) == found("user.search", FIND="clever") == ["3"]
    assert found("user.search", UF_DEPARTMENT_NAME="sand") == ["1", "2", "3"]
    [user] = rest.result("user.get", {"ID": 3, "select": ["NAME", "NOTHING"]})
    assert user == {"NAME": "Cleo"}
    assert error_of(rest.webhook("user.get", {"FILTER": {"><ID": 1}}))[:2] == (400, "ERROR_ARGUMENT")


def test_what_employees_may_do(rest: Any) -> None:
    assert rest.result("user.access", {"ACCESS": ["G99"]}) is True
    assert rest.employee("user.access", {"ACCESS": ["U2"]}).json()["result"] is True
    assert rest.employee("user.access", {"ACCESS": ["U1", "G99"]}).json()["result"] is False
    names = rest.result("access.name", {"ACCESS": ["U1", "AU", "G77"]})
    assert {code: names[code]["name"] for code in names} == {"U1": "Ada Admin", "AU": "All authorized users"}
    assert rest.result("access.name") is False


def test_an_application_keeps_options_for_each_user(rest: Any, error_of: Any) -> None:
    assert rest.application("user.option.set", {"options": {"a": "1"}}).json()["result"] is True
    assert rest.application("user.option.get", {"option": "a"}).json()["result"] == "1"
    assert rest.employee("user.option.get").json()["result"] == {}
    assert error_of(rest.application("user.option.set"))[1] == "ArgumentNullException"
    assert error_of(rest.webhook("user.option.get"))[1:] == (
        "AccessException",
        "Application context required",
    )


def test_departments_form_a_tree(rest: Any, error_of: Any) -> None:
    assert rest.result("department.get") == [{"ID": "1", "NAME": "Sandbox", "SORT": 500}]
    number = rest.result("department.add", {"NAME": "Sales", "PARENT": 1, "UF_HEAD": 2, "SORT": 100})
    assert rest.result("department.get", {"NAME": "Sales"}) == [
        {"ID": "2", "NAME": "Sales", "SORT": 100, "PARENT": "1", "UF_HEAD": "2"}
    ]
    assert [one["ID"] for one in rest.result("department.get", {"sort": "SORT", "order": "ASC"})] == [
        "2",
        "1",
    ]
    assert rest.result("department.update", {"ID": number, "NAME": "Trade"}) is True
    for verb, params, text in (
        (
            "add",
            {"NAME": "Second root"},
            "There can only be one top-level department in the company structure",
        ),
        ("add", {"PARENT": 1}, "Department name not provided.<br>"),
        ("update", {"ID": 9}, "Department not found"),
        ("delete", {"ID": 9}, "Department not found"),
    ):
        assert error_of(rest.webhook(f"department.{verb}", params)) == (400, "ERROR_CORE", text)
    assert error_of(rest.employee("department.delete", {"ID": number}))[2] == "Access denied"
    assert rest.result("department.delete", {"ID": number}) is True
    assert rest.result("department.fields")["PARENT"] == "Parent"


def test_events_are_listed_by_scope(live_portal: Any, rest: Any) -> None:
    def events(**params: Any) -> list[str]:
        return rest.application("events", params).json()["result"]

    assert "ONCRMDEALUPDATE" in events(SCOPE="crm")
    assert events(SCOPE="user") == ["ONUSERADD"]
    assert {"ONAPPINSTALL", "ONTASKADD", "ONUSERADD"} <= set(events())
    live_portal.application.scope = ("bizproc",)
    assert events() == events(SCOPE="")
    assert "ONTASKADD" in events(FULL=True)


def test_names_of_employees_are_found_by_a_pattern(rest: Any) -> None:
    assert [user["NAME"] for user in rest.result("user.get", {"FILTER": {"NAME": "Em%"}})] == ["Emil"]
    assert rest.result("user.get", {"FILTER": {"NAME": "Em"}}) == []
