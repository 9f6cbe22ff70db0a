"""The table of records behind the list methods, and what filters mean."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

import pytest

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.schemas import schema_of
from airflow_provider_b24.sandbox.records.table import PAGE, Table, columns, find

FAMILIES = {
    "CRM": filters.CRM,
    "CRM_LEAD": filters.CRM_LEAD,
    "ITEM": filters.ITEM,
    "TASK": filters.TASK,
    "USER": filters.USER,
    "DEPARTMENT": filters.DEPARTMENT,
    "BIZPROC": filters.BIZPROC,
    "OFFLINE": filters.OFFLINE,
}
EVERY_SIGN = ("", "=", "!", "!=", ">", ">=", "<", "<=", "@", "!@", "%", "=%", "%=", "!%", "!=%", "!%=")


@pytest.fixture
def leads() -> Table:
    table = Table(schema_of("lead"))
    rows: list[Mapping[str, Any]] = [
        {"NAME": "Ada", "OPPORTUNITY": 36.0, "STATUS_ID": "NEW", "DATE_CREATE": "2026-01-01T10:00:00+00:00"},
        {"NAME": "Bob", "OPPORTUNITY": 7.0, "STATUS_ID": "WON", "DATE_CREATE": "2026-01-02T10:00:00+03:00"},
        {"NAME": "Cleo", "OPPORTUNITY": 36.0, "STATUS_ID": "NEW", "COMPANY_ID": 5},
        {"NAME": "Dan", "OPPORTUNITY": 100.0, "STATUS_ID": "IN_PROCESS", "COMPANY_ID": 12},
    ]
    for row in rows:
        table.add(row)
    return table


def _names(table: Table, family: filters.Family = filters.ITEM, **how: Any) -> list[str]:
    return [row["NAME"] for row in table.page(family, **how)[0]]


@pytest.mark.parametrize(
    ("filter_by", "names"),
    [
        ({}, ["Ada", "Bob", "Cleo", "Dan"]),
        ([], ["Ada", "Bob", "Cleo", "Dan"]),
        ({"OPPORTUNITY": 36}, ["Ada", "Cleo"]),
        ({"=opportunity": "36.00"}, ["Ada", "Cleo"]),
        ({"!OPPORTUNITY": 36}, ["Bob", "Dan"]),
        ({"!=OPPORTUNITY": [36, 7]}, ["Dan"]),
        ({">OPPORTUNITY": "36"}, ["Dan"]),
        ({">=OPPORTUNITY": "36"}, ["Ada", "Cleo", "Dan"]),
        ({"<OPPORTUNITY": 36}, ["Bob"]),
        ({"<=OPPORTUNITY": 36}, ["Ada", "Bob", "Cleo"]),
        ({"@NAME": ["Bob", "dan"]}, ["Bob", "Dan"]),
        ({"!@ID": [1, 2]}, ["Cleo", "Dan"]),
        ({"!@NAME": ["Bob", "Dan"]}, ["Ada", "Cleo"]),
        ({"%NAME": "D"}, ["Ada", "Dan"]),
        ({"%NAME": "."}, []),
        ({"%OPPORTUNITY": "3"}, ["Ada", "Cleo"]),
        ({"=%ID": "4"}, ["Dan"]),
        ({"!%NAME": "d"}, ["Bob", "Cleo"]),
        ({"=%NAME": "d%"}, ["Dan"]),
        ({"%=NAME": "%o"}, ["Cleo"]),
        ({"=%NAME": "_a_"}, ["Dan"]),
        ({"!=%NAME": "%a%"}, ["Bob", "Cleo"]),
        ({"!%=NAME": "b%"}, ["Ada", "Cleo", "Dan"]),
        ({"NAME": "Da%"}, []),
        ({"NAME": "Ada", "OPPORTUNITY": 7}, []),
        ({"COMPANY_ID": None}, ["Ada", "Bob"]),
        ({"!COMPANY_ID": ""}, ["Cleo", "Dan"]),
        ({">COMPANY_ID": 5}, ["Dan"]),
        ({"<COMPANY_ID": 100}, ["Cleo", "Dan"]),
        ({">DATE_CREATE": "2026-01-02"}, ["Bob"]),
        ({"<DATE_CREATE": "02.01.2026"}, ["Ada"]),
        ({"=DATE_CREATE": "2026-01-02T07:00:00Z"}, ["Bob"]),
        ({"OPENED": "y"}, ["Ada", "Bob", "Cleo", "Dan"]),
        ({"OPENED": "N"}, []),
        ({"OPENED": "Y"}, ["Ada", "Bob", "Cleo", "Dan"]),
        ({"ID": [4, "1", 9]}, ["Ada", "Dan"]),
        ({"@id": [3, 4], "<id": 4}, ["Cleo"]),
        ({">ID": 2}, ["Cleo", "Dan"]),
        ({">ID": "2", "OPPORTUNITY": 36}, ["Cleo"]),
        ({">=ID": 2, "<ID": 4}, ["Bob", "Cleo"]),
        ({"!ID": 1, "stageId": "NEW"}, ["Cleo"]),
        ({"0": {"logic": "OR", "NAME": "Bob", "0": {"NAME": "Ada", "ID": 1}}}, ["Ada", "Bob"]),
        ({"1": {"logic": "and", "STATUS_ID": "NEW", "ID": 3}}, ["Cleo"]),
        ({"logic": "OR", "0": {"NAME": "Dan"}, "1": {"NAME": "Ada"}}, ["Ada", "Dan"]),
        ([{"logic": "OR", "0": {"NAME": "Dan"}, "1": {"NAME": "Ada"}}], ["Ada", "Dan"]),
        ({"0": [{"STATUS_ID": "NEW"}, {"ID": 1}]}, ["Ada"]),
    ],
)
def test_a_filter_means_what_the_documentation_says(leads: Table, filter_by: Any, names: list[str]) -> None:
    assert _names(leads, filter_by=filter_by) == names
    # The same rows where the way to them is another: newest first, and without counting.
    assert _names(leads, filter_by=filter_by, order={"ID": "DESC"}) == names[::-1]
    assert _names(leads, filter_by=filter_by, start=-1) == names


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sign", [*EVERY_SIGN, "><", "<>", "?", "~", "==", "!!"])
def test_an_operator_that_a_family_does_not_document_is_refused(leads: Table, family: str, sign: str) -> None:
    rules = FAMILIES[family]
    if sign in rules.operators:
        leads.page(rules, filter_by={f"{sign}ID": 1})
        return
    with pytest.raises(RestError) as refused:
        leads.page(rules, filter_by={f"{sign}ID": 1})
    assert refused.value.status == 400
    assert "is not allowed in filter" in refused.value.description


def test_families_have_the_operators_of_their_pages() -> None:
    assert set(EVERY_SIGN) == filters.ITEM.operators == filters.USER.operators == filters.CRM_LEAD.operators
    assert set(EVERY_SIGN) - {"!%", "!=%", "!%="} == filters.CRM.operators
    assert {"", "!", "<", "<=", ">", ">="} == filters.TASK.operators
    assert {"", "=", "!", "!=", "<", "<=", ">", ">="} == filters.BIZPROC.operators
    assert {""} == filters.DEPARTMENT.operators


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ({"filter_by": {"NOBODY": 1}}, "INVALID_ARG_VALUE", "field 'NOBODY' is not allowed in filter"),
        ({"filter_by": {"><ID": 1}}, "INVALID_ARG_VALUE", "field '<ID' is not allowed in filter"),
        ({"filter_by": {"<>ID": 1}}, "INVALID_ARG_VALUE", "field '>ID' is not allowed in filter"),
        ({"filter_by": {"ID": "many"}}, "INVALID_ARG_VALUE", "field 'ID' has invalid value"),
        ({"filter_by": {">DATE_CREATE": "soon"}}, "INVALID_ARG_VALUE", "'DATE_CREATE' has invalid value"),
        ({"filter_by": {"%NAME": [["a"]]}}, "INVALID_ARG_VALUE", "field 'NAME' has invalid value"),
        ({"filter_by": {"0": {"logic": "XOR", "ID": 1}}}, "INVALID_ARG_VALUE", "'logic' has invalid value"),
        ({"filter_by": "ID"}, "INVALID_ARG_VALUE", "Parameter 'filter' must be array"),
        ({"order": {"NOBODY": "ASC"}}, "INVALID_ARG_VALUE", "field 'NOBODY' is not allowed in order"),
        ({"order": {"ID": "up"}}, "INVALID_ARG_VALUE", "But got 'up' for field 'ID'"),
        ({"order": {"PHONE": "ASC"}}, "INVALID_ARG_VALUE", "field 'PHONE' is not allowed in order"),
    ],
)
def test_what_cannot_be_read_is_refused(leads: Table, how: dict[str, Any], code: str, text: str) -> None:
    with pytest.raises(RestError) as refused:
        leads.page(filters.ITEM, **how)
    assert (refused.value.status, refused.value.code) == (400, code)
    assert text in refused.value.description


def test_older_methods_take_what_is_no_number_for_0_and_know_no_or(leads: Table) -> None:
    assert _names(leads, filters.CRM, filter_by={">OPPORTUNITY": "much"}) == ["Ada", "Bob", "Cleo", "Dan"]
    with pytest.raises(RestError, match="Failed to get list"):
        leads.page(filters.CRM, filter_by={"0": {"logic": "OR", "ID": 1}})


def test_process_ids_are_compared_as_text_even_when_they_look_like_numbers() -> None:
    ids = ["12345678901234.00000001", "12345678901234.00000002", "12345678e12345.0", "nan", "1e5"]
    rows = [{"ID": number} for number in ids]
    for number in ids:
        assert find(rows, {"ID": number}, None, filters.BIZPROC, columns(ID="string")) == [{"ID": number}]


def test_rows_come_in_the_order_asked_for(leads: Table) -> None:
    by_money = {"OPPORTUNITY": "DESC", "NAME": "desc"}
    assert _names(leads, order=by_money) == ["Dan", "Cleo", "Ada", "Bob"]
    assert _names(leads, order={"COMPANY_ID": "asc"}) == ["Ada", "Bob", "Cleo", "Dan"]
    assert _names(leads, order={"ID": "DESC"}, filter_by={">ID": 2}) == ["Dan", "Cleo"]
    assert _names(leads, default_order={"ID": "DESC"}) == ["Dan", "Cleo", "Bob", "Ada"]


def test_pages_hold_fifty_rows_and_lead_to_the_next() -> None:
    table = Table(schema_of("item:147"))
    for _ in range(120):
        table.add({})
    pages = [table.page(filters.ITEM, start=start) for start in (0, 50, 100)]
    assert [len(rows) for rows, _, _ in pages] == [PAGE, PAGE, 20]
    assert [following for _, _, following in pages] == [50, 100, None]
    assert {total for _, total, _ in pages} == {120}
    assert pages[1][0][0] == {"ID": 51}
    assert table.page(filters.ITEM, start=-1)[1:] == (None, None)
    assert table.page(filters.ITEM, filter_by={">ID": 100})[1:] == (20, None)


def test_a_page_sees_what_was_written_since_the_last_one(leads: Table) -> None:
    wanted: dict[str, Any] = {"filter_by": {"STATUS_ID": "NEW"}}
    assert leads.page(filters.ITEM, **wanted)[1] == 2
    number = leads.add({"NAME": "Eve", "STATUS_ID": "NEW"})
    assert _names(leads, **wanted) == ["Ada", "Cleo", "Eve"]
    leads.update(number, {"STATUS_ID": "WON"})
    assert _names(leads, **wanted) == ["Ada", "Cleo"]
    leads.delete(1)
    assert _names(leads, **wanted) == ["Cleo"]
    assert (len(leads), list(leads), leads.get(1)) == (4, [2, 3, 4, 5], None)


def test_indexes_follow_every_write(leads: Table) -> None:
    chance = random.Random(20260301)
    stages = ("NEW", "WON", "JUNK")
    for _ in range(300):
        numbers = list(leads)
        act = chance.choice(("add", "update", "update", "delete")) if len(numbers) > 3 else "add"
        if act == "add":
            leads.add({"STATUS_ID": chance.choice(stages)}, chance.choice((None, leads.next_number + 2)))
        elif act == "update":
            leads.update(chance.choice(numbers), {"STATUS_ID": chance.choice(stages), "OPPORTUNITY": 1.0})
        else:
            leads.delete(chance.choice(numbers))
        wanted = chance.sample(stages, chance.choice((1, 2)))
        rows, total, _ = leads.page(filters.ITEM, filter_by={"@STATUS_ID": wanted, "<OPPORTUNITY": 1000})
        expected = [number for number in leads if leads.row(number).get("STATUS_ID", "NEW") in wanted]
        assert ([row["ID"] for row in rows], total) == (expected[:PAGE], len(expected))


def test_numbers_are_given_once_and_may_be_chosen(leads: Table) -> None:
    assert leads.add({}, 77) == 77
    assert leads.add({}, 50) == 50
    leads.delete(77)
    assert leads.add({}) == 78
    assert list(leads) == [1, 2, 3, 4, 50, 78]
    for taken in (50, 0):
        with pytest.raises(ValueError, match="can be no new lead"):
            leads.add({}, taken)


def test_every_way_through_a_hundred_thousand_records_is_quick() -> None:
    table = Table(schema_of("item:147"))
    for index in range(100_000):
        table.add({"TITLE": f"Item {index}", "OPPORTUNITY": float(index % 100)})
    ways: list[dict[str, Any]] = [
        {"start": 50_000},
        {"filter_by": {">ID": 99_000}, "order": {"ID": "ASC"}, "start": -1},
        {"filter_by": {"<ID": 90_000}, "order": {"ID": "DESC"}, "start": -1},
        {"filter_by": {"OPPORTUNITY": 7}, "start": 900},
        {"order": {"TITLE": "DESC"}, "start": 99_950},
    ]
    for how in ways:
        assert len(table.page(filters.ITEM, **how)[0]) == PAGE
        began = time.perf_counter()
        for _ in range(20):
            table.page(filters.ITEM, **how)
        # A look at every record takes fifty times as long.
        assert time.perf_counter() - began < 0.2, how


def test_a_kind_without_a_method_is_an_error() -> None:
    for kind in ("unicorn", "item", "item:x", "item:3"):
        with pytest.raises(ValueError, match="choose lead"):
            schema_of(kind)
