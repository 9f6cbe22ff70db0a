"""How often strangers may make the receiver ask a portal."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_b24.installation import budgets
from airflow_provider_b24.installation.budgets import Budgets
from airflow_provider_b24.receiver.answers import RefusedError

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when somebody sleeps."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock, sleep = Clock(), asyncio.sleep
    clock.sleep_without_passing_time = lambda _: sleep(0)

    async def pass_time(seconds):
        clock.now += seconds
        await sleep(0)

    monkeypatch.setattr(budgets, "time", clock)
    monkeypatch.setattr(budgets.asyncio, "sleep", pass_time)
    return clock


@pytest.fixture
def no_waiting(monkeypatch):
    monkeypatch.setattr(budgets, "LONGEST_WAIT", -1.0)


async def attempts(these, *key, of=100):
    """Count how many attempts there are right now."""
    admitted = 0
    for _ in range(of):
        try:
            await these.spend(*key)
        except RefusedError:
            continue
        admitted += 1
    return admitted


async def test_an_address_has_some_attempts_and_gets_new_ones_slowly(clock, no_waiting):
    these = Budgets()
    assert await attempts(these, "crm", "event", "192.0.2.1") == 10
    with pytest.raises(RefusedError, match="too_many"):
        await these.spend("crm", "event", "192.0.2.1")
    clock.now += 5
    assert await attempts(these, "crm", "event", "192.0.2.1") == 2
    clock.now += 3600
    assert await attempts(these, "crm", "event", "192.0.2.1") == 10


@pytest.mark.parametrize(
    "other",
    [
        ("crm", "event", "192.0.2.2"),
        ("crm", "page", "192.0.2.1"),
        ("crm2", "event", "192.0.2.1"),
        ("crm", "event", "2001:db8::1"),
        ("crm", "event", ""),
    ],
)
async def test_each_address_kind_and_connection_has_its_own(clock, no_waiting, other):
    these = Budgets()
    await attempts(these, "crm", "event", "192.0.2.1")
    assert await attempts(these, *other) == 10


async def test_all_addresses_of_an_ipv6_network_have_one(clock, no_waiting):
    these = Budgets()
    assert await attempts(these, "crm", "event", "2001:db8::1") == 10
    assert await attempts(these, "crm", "event", "2001:db8::ffff:2") == 0
    assert await attempts(these, "crm", "event", "2001:db8:0:1::1") == 10


async def test_what_is_kept_is_bounded(clock, no_waiting, monkeypatch):
    monkeypatch.setattr(budgets, "ADDRESSES", 100)
    these = Budgets()
    for number in range(1000):
        await these.spend("crm", "event", f"stranger {number} " * 1000)
    assert len(these) == 100


async def test_the_newest_of_those_that_wait_goes_first(clock):
    these = Budgets()
    await attempts(these, "crm", "event", "192.0.2.1", of=10)
    done = []

    async def spend(name):
        await these.spend("crm", "event", "192.0.2.1")
        done.append(name)

    await asyncio.gather(*(spend(name) for name in range(3)))
    assert done == [2, 1, 0]


async def test_only_some_wait_and_the_oldest_makes_room(clock, monkeypatch):
    these = Budgets()
    await attempts(these, "crm", "event", "192.0.2.1", of=10)
    sleep = clock.sleep_without_passing_time
    monkeypatch.setattr(budgets.asyncio, "sleep", sleep)
    waiting = [asyncio.ensure_future(these.spend("crm", "event", "192.0.2.1")) for _ in range(100)]
    for _ in range(10):
        await sleep(0)
    assert [one.done() for one in waiting] == [True] * 90 + [False] * 10
    assert all(isinstance(one.exception(), RefusedError) for one in waiting[:90])
    for one in waiting:
        one.cancel()


async def test_who_has_gone_does_not_keep_others_waiting(clock):
    these = Budgets()
    await attempts(these, "crm", "event", "192.0.2.1", of=10)
    gone = asyncio.ensure_future(these.spend("crm", "event", "192.0.2.1"))
    still = asyncio.ensure_future(these.spend("crm", "event", "192.0.2.1"))
    newest = asyncio.ensure_future(these.spend("crm", "event", "192.0.2.1"))
    await asyncio.wait({gone, still, newest}, timeout=0)
    newest.cancel()
    await asyncio.gather(gone, still)
