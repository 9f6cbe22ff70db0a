"""The record store behind the list methods."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_b24.sandbox.records import PAGE, RecordStore, RecordStores, find


@pytest.fixture
def people() -> RecordStore:
    store = RecordStore()
    for name, age in (("Ada", 36), ("Bob", 7), ("Cleo", 36), ("Dan", 100)):
        store.add({"NAME": name, "AGE": str(age)})
    return store


def _names(store: RecordStore, **how: Any) -> list[str]:
    return [row["NAME"] for row in store.page(**how).rows]


@pytest.mark.parametrize(
    ("filter_by", "names"),
    [
        ({}, ["Ada", "Bob", "Cleo", "Dan"]),
        ({"AGE": 36}, ["Ada", "Cleo"]),
        ({"=age": "36"}, ["Ada", "Cleo"]),
        ({"!AGE": 36}, ["Bob", "Dan"]),
        ({"!=AGE": [36, 7]}, ["Dan"]),
        ({">AGE": "36"}, ["Dan"]),
        ({">=AGE": "36"}, ["Ada", "Cleo", "Dan"]),
        ({"<AGE": 36}, ["Bob"]),
        ({"<=AGE": 36}, ["Ada", "Bob", "Cleo"]),
        ({"@NAME": ["Bob", "Dan"]}, ["Bob", "Dan"]),
        ({"%NAME": "D"}, ["Ada", "Dan"]),
        ({"NAME": "Ada", "AGE": 7}, []),
        ({"NOBODY": "x"}, []),
        ({">ID": 2}, ["Cleo", "Dan"]),
        ({">ID": "2", "AGE": 36}, ["Cleo"]),
    ],
)
def test_a_filter_compares_numbers_as_numbers(
    people: RecordStore, filter_by: dict[str, Any], names: list[str]
) -> None:
    assert _names(people, filter_by=filter_by) == names


def test_process_ids_are_compared_as_text_even_when_they_look_like_numbers() -> None:
    ids = ["12345678901234.00000001", "12345678901234.00000002", "12345678e12345.0", "nan", "1e5"]
    rows = [{"ID": number} for number in ids]
    for number in ids:
        assert find(rows, {"ID": number}, None) == [{"ID": number}]


def test_rows_come_in_the_order_asked_for(people: RecordStore) -> None:
    assert _names(people, order={"AGE": "DESC", "NAME": "asc"}) == ["Dan", "Ada", "Cleo", "Bob"]
    assert _names(people, order={"ID": "DESC"}, filter_by={">ID": 2}) == ["Dan", "Cleo"]


def test_only_the_selected_fields_are_returned(people: RecordStore) -> None:
    assert people.page(select=["id", "NAME"], filter_by={"NAME": "Bob"}).rows == [{"ID": "2", "NAME": "Bob"}]
    assert people.page(select=["*"], filter_by={"NAME": "Bob"}).rows == [
        {"ID": "2", "NAME": "Bob", "AGE": "7"}
    ]


def test_pages_hold_fifty_rows_and_lead_to_the_next() -> None:
    store = RecordStore("id", text_ids=False)
    for _ in range(120):
        store.add({})
    pages = [store.page(start=start) for start in (0, 50, 100)]
    assert [len(page.rows) for page in pages] == [PAGE, PAGE, 20]
    assert [page.next for page in pages] == [50, 100, None]
    assert {page.total for page in pages} == {120}
    assert pages[1].rows[0] == {"id": 51}


def test_the_fast_way_visits_every_row_once_and_counts_nothing() -> None:
    store = RecordStore()
    for _ in range(120):
        store.add({})
    seen: list[str] = []
    last = 0
    while rows := store.page(filter_by={">ID": last}, order={"ID": "ASC"}, start=-1).rows:
        seen += [row["ID"] for row in rows]
        last = int(rows[-1]["ID"])
    assert seen == [str(number) for number in range(1, 121)]
    assert store.page(start=-1).total is None
    assert store.page(filter_by={">ID": 0}, start=-1).next is None
    assert store.page(filter_by={">ID": 100}, start=0).total == 20


def test_a_record_may_bring_its_number_as_long_as_numbers_go_up() -> None:
    store = RecordStore()
    assert store.add({"ID": 10}) == 10
    assert store.add({}) == 11
    assert store.get(10) == {"ID": "10"}
    assert store.get(5) is None
    assert len(store) == 2
    with pytest.raises(ValueError, match="Numbers go up"):
        store.add({"ID": 11})


def test_item_types_share_one_store_until_they_have_their_own() -> None:
    stores = RecordStores()
    stores.add("item", 2)
    stores.add("item:147", [{"title": "own"}])
    assert len(stores.find("item:2")) == 2
    assert stores.find("item:147").page().rows == [{"title": "own", "id": 1}]


def test_a_kind_without_a_method_is_an_error() -> None:
    with pytest.raises(ValueError, match="choose lead"):
        RecordStores().find("unicorn")
