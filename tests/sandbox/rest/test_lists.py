"""Lists against the sandbox, in both clients."""

import asyncio

import pytest

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client
from airflow_provider_b24.sandbox import AnswerHtml, DropConnection


def blocking(webhook, method, params, options, **settings):
    with Bitrix24Client(webhook, **settings) as client:
        return list(client.iterate(method, params, **options))


def in_a_loop(webhook, method, params, options, **settings):
    async def run():
        async with AsyncBitrix24Client(webhook, **settings) as client:
            return [record async for record in client.iterate(method, params, **options)]

    return asyncio.run(run())


@pytest.fixture(params=[blocking, in_a_loop])
def read(request, portal_webhook, quick, free_clock):
    sleep = free_clock.sleep if request.param is blocking else free_clock.asleep

    def run(method, params=None, **options):
        settings = {"patience": quick, "clock": free_clock, "sleep": sleep}
        return request.param(portal_webhook, method, params, options, **settings)

    return run


@pytest.mark.parametrize(
    ("count", "requests"), [(0, 1), (1, 1), (50, 1), (100, 1), (101, 2), (2600, 2), (5230, 4)]
)
def test_each_record_comes_once_and_in_order(read, portal, count, requests):
    portal.add_records("lead", count)

    assert [int(record["ID"]) for record in read("crm.lead.list")] == list(range(1, count + 1))
    assert len(portal.requests) == requests


@pytest.mark.parametrize(
    ("kind", "method", "params"),
    [("item:147", "crm.item.list", {"entityTypeId": 147}), ("task", "tasks.task.list", {})],
)
def test_results_nested_under_a_key(read, portal, kind, method, params):
    portal.add_records(kind, 777)

    records = read(method, params)

    assert [int(record.get("id") or record["ID"]) for record in records] == list(range(1, 778))
    assert len(portal.requests) == 2


def test_methods_that_cannot_filter_by_id(read, portal):
    for _ in range(120):
        portal.add_user()

    records = read("user.get")

    assert [int(record["ID"]) for record in records] == sorted(portal.callers.users)
    assert len(portal.requests) == 2


def test_select_and_filter_stay(read, portal):
    portal.add_records(
        "lead", [{"TITLE": f"t{number}", "STAGE": "NEW" if number % 3 else "OLD"} for number in range(600)]
    )

    records = read("crm.lead.list", {"select": ["TITLE"], "filter": {"STAGE": "OLD"}})

    assert [record["TITLE"] for record in records] == [f"t{number}" for number in range(0, 600, 3)]


def test_a_limit(read, portal):
    portal.add_records("lead", 1000)

    assert len(read("crm.lead.list", limit=60)) == 60


@pytest.mark.parametrize("fault", [AnswerHtml(503), AnswerHtml(502), DropConnection()], ids=repr)
def test_reading_survives_faults(read, portal, fault):
    portal.add_records("lead", 3000)
    portal.faults.add(fault, "batch", times=2)

    assert len(read("crm.lead.list")) == 3000


def test_a_refusal_is_an_error(read):
    with pytest.raises(Bitrix24Error, match=r"no\.such\.list at"):
        read("no.such.list")


def test_reading_can_be_left(portal, portal_webhook, quick, fresh_clock):
    portal.add_records("lead", 3000)

    with Bitrix24Client(portal_webhook, patience=quick, clock=fresh_clock) as client:
        first = next(iter(client.iterate("crm.lead.list")))
        assert first["ID"] == "1"
        assert client.call("profile").result["ID"] == "1"
    assert len(portal.requests) == 2


def pages_blocking(webhook, method, params, options, **settings):
    with Bitrix24Client(webhook, **settings) as client:
        yield from client.pages(method, params, **options)


def pages_in_a_loop(webhook, method, params, options, **settings):
    """The pages of the client for an event loop, one by one."""
    client = AsyncBitrix24Client(webhook, **settings)
    pages = client.pages(method, params, **options)
    with asyncio.Runner() as runner:
        try:
            while True:
                yield runner.run(anext(pages))
        except StopAsyncIteration:
            return
        finally:
            runner.run(pages.aclose())
            runner.run(client.close())


@pytest.fixture(params=[pages_blocking, pages_in_a_loop])
def pages(request, portal_webhook, quick, free_clock):
    sleep = free_clock.sleep if request.param is pages_blocking else free_clock.asleep

    def run(method, params=None, **options):
        settings = {"patience": quick, "clock": free_clock, "sleep": sleep}
        return request.param(portal_webhook, method, params, options, **settings)

    return run


def test_pages_hold_the_records_that_a_reading_gives_one_by_one(pages, portal):
    portal.add_records("lead", 777)

    read = list(pages("crm.lead.list", limit=730))

    assert [int(record["ID"]) for page in read for record in page] == list(range(1, 731))
    assert all(1 <= len(page) <= 50 for page in read)


def test_no_page_is_asked_for_before_somebody_wants_it(pages, portal):
    portal.add_records("lead", 20_000)
    reading = pages("crm.lead.list")

    assert portal.requests == []
    next(reading)
    requests = len(portal.requests)
    assert requests == 1
    reading.close()
    assert len(portal.requests) == requests


def test_a_reading_that_broke_off_goes_on_behind_its_last_page(pages, portal):
    portal.add_records("lead", 6000)
    read = []

    def break_off():
        for page in pages("crm.lead.list"):
            read.extend(page)
            if len(read) > 2600:
                portal.faults.add(AnswerHtml(502), times=None)

    with pytest.raises(Bitrix24Error):
        break_off()
    assert len(read) < 6000
    portal.faults.clear()
    for page in pages("crm.lead.list", {"filter": {">ID": read[-1]["ID"]}}):
        read += page

    assert [int(record["ID"]) for record in read] == list(range(1, 6001))
