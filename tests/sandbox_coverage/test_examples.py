"""The examples and the errors of the documentation's pages, sent to the portal."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from .examples_section import WHY, outcomes, seen, why
from .pages import Call, Refusal, read, shape
from .provocation import fits
from .replay import different


def test_examples_are_answered_as_their_pages_show() -> None:
    assert len(outcomes()) >= 557
    assert [outcome for outcome in outcomes() if outcome.differs and why(outcome) is None] == []


def test_what_is_said_of_examples_that_differ_is_still_so() -> None:
    told = {why(outcome) for outcome in outcomes() if outcome.differs}
    assert set(WHY.values()) == told


def test_nothing_that_is_wrong_in_a_call_makes_the_portal_fail() -> None:
    assert [(method.method, method.broken) for method in seen() if method.broken] == []


def test_documented_examples_of_errors_are_answered_with_their_status_and_code() -> None:
    # Those of others need rights that the portal does not tell apart, or are another method's; one is no error of any
    # method, one is told with status 200.
    found = Counter(how for method in seen() for _, how in method.examples)
    assert found["as shown"] >= 197
    left = {
        (method.method, refusal.text) for method in seen() for refusal, how in method.examples if how == "not"
    }
    assert {name for name, text in left if "Access denied" not in text} == {
        "bizproc.workflow.template.update",
        "crm.contact.company.items.get",
        "crm.deal.get",
        "crm.item.productrow.fields",
        "tasks.task.result.deleteFromComment",
    }


def test_a_page_is_read() -> None:
    page = """# Get It things.get

## Code Examples

- cURL (Webhook)

    ```bash
    curl -X POST -d '{"id":7,"name":"Some words","link":"https://a.example/b"}' \\
    https://**address**/rest/**user**/**code**/things.get
    ```

- cURL (OAuth)

    ```bash
    curl -X POST -d '{"id":7,"name":"Some words","link":"https://a.example/b","auth":"**token**"}' \\
    https://**address**/rest/things.get
    ```

- JS

    ```js
    call('things.get')
    ```

## Response Handling

```json
{"result": {"item": {"id": 7, "tags": ["a"], "by": null}}, "time": {}}
```

## Error Handling

HTTP status: **400**

```json
{"error": "NOT_FOUND", "error_description": "Not found"}
```

### Possible Error Codes

#|
|| **Code** | **Description** | **Value** ||
|| `NOT_FOUND` | Not found | There is none ||
|| `100` | Wrong value of `name` | It is wrong ||
|#
"""
    shown = read("things.get", page, "things.md")
    params = {"id": 7, "name": "text", "link": "https://handler.example/"}
    assert shown.calls == [Call(params, ["webhook", "application"])]
    assert shown.answers == [{"result": {"item": {"id": "number", "tags": ["string"], "by": "null"}}}]
    assert shown.refusals == [Refusal(400, "NOT_FOUND", "Not found")]
    assert shown.table == [Refusal(0, "NOT_FOUND", "Not found"), Refusal(0, "100", "Wrong value of *")]


@pytest.mark.parametrize(
    ("head", "row", "refusal"),
    [
        ("**Description** | **Value**", "Not found | There is none", Refusal(0, "*", "Not found")),
        ("**Code** | **Description**", "`Wrong id` | It is wrong", Refusal(0, "", "Wrong id")),
        ("**Code** | **Description**", "Empty | Row `#` is wrong", Refusal(0, "", "Row * is wrong")),
        ("**Status** | **Code** | **Text**", "`403` | `NO` | Not you", Refusal(403, "NO", "Not you")),
    ],
)
def test_a_table_of_errors_is_read(head: str, row: str, refusal: Refusal) -> None:
    page = f"## Error Handling\n\n### Possible Error Codes\n\n#|\n|| {head} ||\n|| {row} ||\n|#\n"
    assert read("things.get", page, "things.md").table == [refusal]


def test_a_page_of_rest3_is_read() -> None:
    page = """## Code Examples

- cURL (OAuth)

    ```bash
    curl -X POST -d '{"filter":[["id",">",7]],"auth":"**token**"}' https://**address**/rest/api/things.list
    ```

## Response Handling

## Error Handling

HTTP status: **400**

```json
{"error": {"code": "WRONG", "message": "Wrong", "validation": []}}
```

Error Code: `WRONG`

#|
|| **Field** | **Error Description** | **How to Fix** ||
|| `filter` | Field `#FIELD#` is wrong | Leave it out ||
|#

Error Code: `DENIED`

#|
|| **Field** | **Error Description** | **How to Fix** ||
|| `-` | Access denied | Ask ||
|#
"""
    shown = read("api/things.list", page, "things.md")
    assert shown.calls == [Call({"filter": [["id", ">", 7]]}, ["application"])]
    assert shown.refusals == [Refusal(400, "WRONG", "Wrong")]
    assert shown.table == [Refusal(0, "WRONG", "Field * is wrong"), Refusal(0, "DENIED", "Access denied")]
    assert read("things.list", page, "things.md").calls == []


@pytest.mark.parametrize(
    ("expected", "given", "found"),
    [
        ({"id": 1}, {"id": 2, "more": 1}, []),
        ({"id": 1}, {"id": "2"}, ["id: string, not number"]),
        ({"id": 1}, {}, ["id: missing"]),
        ({"id": None}, {"id": "x"}, []),
        ({"a": {"1": {"x": 1}}}, {"a": {"2": {"x": "1"}}}, ["a.*.x: string, not number"]),
        ({"a": {}}, {"a": []}, []),
        ({"a": [{"x": 1}]}, {"a": []}, ["a: no rows"]),
        ({"a": [{"x": 1}]}, {"a": [{"x": True}]}, ["a[].x: boolean, not number"]),
        ({"a": {"b": 1}}, {"a": "b"}, ["a: string, not object"]),
    ],
)
def test_shapes_are_compared(expected: Any, given: Any, found: list[str]) -> None:
    assert list(different(shape(expected), shape(given), "")) == found


@pytest.mark.parametrize(
    ("documented", "answered", "same"),
    [
        (Refusal(0, "", "Not found."), Refusal(400, "", "Not found"), True),
        (Refusal(403, "", "Not found"), Refusal(400, "", "Not found"), False),
        (Refusal(400, "A", "Not found"), Refusal(400, "B", "Not found"), False),
        (Refusal(0, "*", "Not found"), Refusal(400, "A", "Not found"), True),
        (Refusal(400, "A", "No * here"), Refusal(400, "A", "No such thing here"), True),
        (Refusal(400, "A", "No * here"), Refusal(400, "A", "No such thing"), False),
    ],
)
def test_refusals_are_compared(documented: Refusal, answered: Refusal, same: bool) -> None:
    assert fits(documented, answered) is same
