"""List methods in the three shapes results have."""

from __future__ import annotations

from typing import Any

import pytest

SHAPES = [
    ("lead", "crm.lead.list", {}, None, "ID", "1"),
    ("item:147", "crm.item.list", {"entityTypeId": 147}, "items", "id", 1),
    ("task", "tasks.task.list", {"order": {"ID": "ASC"}}, "tasks", "id", "1"),
]
shapes = pytest.mark.parametrize(("kind", "method", "params", "inside", "id_field", "first"), SHAPES)


@shapes
def test_pages_lead_through_the_whole_list(
    live_portal: Any,
    rest: Any,
    kind: str,
    method: str,
    params: dict[str, Any],
    inside: str | None,
    id_field: str,
    first: Any,
) -> None:
    assert live_portal.add_records(kind, 101) == list(range(1, 102))
    rows: list[dict[str, Any]] = []
    start: int | None = 0
    while start is not None:
        reply = rest.webhook(method, {**params, "start": start}).json()
        rows += reply["result"][inside] if inside else reply["result"]
        assert reply["total"] == 101
        start = reply.get("next")
    assert [int(row[id_field]) for row in rows] == list(range(1, 102))
    assert rows[0][id_field] == first


@shapes
def test_the_fast_way_counts_nothing(
    live_portal: Any,
    rest: Any,
    kind: str,
    method: str,
    params: dict[str, Any],
    inside: str | None,
    id_field: str,
    first: Any,
) -> None:
    live_portal.add_records(kind, 101)
    seen: list[int] = []
    while True:
        reply = rest.webhook(
            method,
            {
                **params,
                "filter": {f">{id_field}": seen[-1] if seen else 0},
                "order": {id_field: "ASC"},
                "select": [id_field],
                "start": -1,
            },
        ).json()
        rows = reply["result"][inside] if inside else reply["result"]
        assert not {"total", "next"} & set(reply)
        if not rows:
            break
        # A task's group comes unasked.
        assert all(set(row) - {"group"} == {id_field} for row in rows)
        seen += [int(row[id_field]) for row in rows]
    assert seen == list(range(1, 102))


def test_records_can_be_given(live_portal: Any, rest: Any) -> None:
    live_portal.add_records("lead", [{"TITLE": "a", "STATUS_ID": "NEW"}, {"TITLE": "b", "STATUS_ID": "WON"}])
    found = rest.result("crm.lead.list", {"filter": {"STATUS_ID": "WON"}, "select": ["TITLE"]})
    assert found == [{"ID": "2", "TITLE": "b"}]


def test_a_lead_is_added_and_got(live_portal: Any, rest: Any) -> None:
    number = rest.result("crm.lead.add", {"fields": {"TITLE": "New", "ID": 77}})
    assert number == 1
    lead = rest.result("crm.lead.get", {"id": number})
    assert (lead["ID"], lead["TITLE"], lead["STATUS_ID"]) == ("1", "New", "NEW")
    assert rest.webhook("crm.lead.get", {"id": 2}).status_code == 400


def test_items_need_their_type(rest: Any) -> None:
    assert rest.webhook("crm.item.list").status_code == 400
    assert rest.result("crm.item.list", {"entityTypeId": 1}) == {"items": []}
