"""What REST 3.0 says of the fields of its objects."""

from __future__ import annotations

from typing import Any

import pytest

FAMILIES = ("tasks.task", "tasks.task.access", "tasks.task.chat.message", "tasks.task.file")


@pytest.mark.parametrize("family", FAMILIES)
def test_fields_are_listed_and_told_one_by_one(rest: Any, family: str) -> None:
    items = rest.api_result(f"{family}.field.list")["items"]
    assert {"name", "type", "filterable", "sortable", "editable", "multiple"} < set(items[0])
    for item in items[:3]:
        assert rest.api_result(f"{family}.field.get", {"name": item["name"]}) == {"item": item}


def test_what_the_fields_say_holds(rest: Any) -> None:
    rest.portal.limits = False
    rest.portal.add_records("task", 1)
    items = rest.api_result("tasks.task.field.list")["items"]
    for name in (item["name"] for item in items if item["filterable"]):
        assert rest.api_result("tasks.task.list", {"filter": [[name, 1]]})
    for name in (item["name"] for item in items if item["sortable"]):
        assert rest.api_result("tasks.task.list", {"order": {name: "ASC"}})["items"] == [{"id": 1}]
    task = rest.api_result("tasks.task.get", {"id": 1})["item"]
    assert set(task) == {item["name"] for item in items if item["type"] != "object" or item["name"] in task}
    values = {"int": 1, "string": "x", "bool": True, "array": [], "object": "2026-12-31T23:59:59+02:00"}
    for item in items:
        fields = {item["name"]: values[item["type"]]}
        changed = rest.api("tasks.task.update", {"id": 1, "fields": fields})
        assert (changed.status_code == 200) is item["editable"], item


def test_a_description_is_as_short_as_one_likes(rest: Any) -> None:
    short = rest.api_result("tasks.task.field.list", {"select": ["name", "type"]})["items"]
    assert {"name": "title", "type": "string"} in short


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("field.get", {}, "EXCEPTION_VALIDATION_REQUESTVALIDATIONEXCEPTION"),
        ("field.get", {"name": "colour"}, "REALISATION_EXCEPTION_FIELDNOTFOUNDEXCEPTION"),
        ("field.list", {"select": ["colour"]}, "EXCEPTION_UNKNOWNDTOPROPERTYEXCEPTION"),
        ("field.list", {"select": "name"}, "EXCEPTION_INVALIDSELECTEXCEPTION"),
    ],
)
def test_refusals_are_the_documented_ones(rest: Any, method: str, params: Any, code: str) -> None:
    for family in FAMILIES:
        assert rest.api_error(f"{family}.{method}", params) == (400, code)
