"""The limits, kept to the brim on a clock that the test moves."""

import asyncio
import functools
import threading

import pytest

from airflow_provider_b24.exceptions import OperationTimeLimitError, RateLimitError
from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, Coalescer, Webhook
from airflow_provider_b24.sandbox import Clock, SandboxPortal


class MovedClock:
    """Client and portal on one clock, which moves when the client sleeps."""

    def __init__(self, tariff: str = "standard") -> None:
        self.clock = Clock(frozen=True)
        self.portal = SandboxPortal(clock=self.clock, tariff=tariff)
        self.lock = threading.Lock()
        self.started = self.clock.now()

    def now(self) -> float:
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.clock.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    @property
    def passed(self) -> float:
        return self.clock.now() - self.started

    def statuses(self) -> list[int | None]:
        return [request.status for request in self.portal.requests]


@pytest.fixture
def moved():
    made = MovedClock()
    with made.portal:
        yield made


@pytest.fixture
def client(moved):
    webhook = Webhook.from_url(moved.portal.webhook.url)
    with Bitrix24Client(webhook, clock=moved.now, sleep=moved.sleep, chance=lambda: 0.0) as client:
        yield client


def test_a_burst_and_then_the_leak_rate_and_never_a_refusal(client, moved):
    for _ in range(120):
        client.call("profile")

    assert moved.statuses() == [200] * 120
    assert (120 - 50) / 2 / moved.passed >= 0.95


def test_an_enterprise_portal_is_used_faster():
    moved = MovedClock("enterprise")
    with moved.portal:
        webhook = Webhook.from_url(moved.portal.webhook.url)
        with Bitrix24Client(webhook, tariff="enterprise", clock=moved.now, sleep=moved.sleep) as client:
            for _ in range(300):
                client.call("profile")

    assert moved.statuses() == [200] * 300
    assert (300 - 250) / 5 / moved.passed >= 0.9


def test_ten_thousand_calls_in_batches_use_the_limit(client, moved):
    outcomes = client.batch([("sandbox.echo", {"n": number}) for number in range(10_000)])

    assert [outcome.result["n"] for outcome in outcomes] == [str(number) for number in range(10_000)]
    assert moved.statuses() == [200] * 200


def test_another_program_at_this_address_costs_a_refusal_and_no_storm(client, moved):
    webhook = Webhook.from_url(moved.portal.webhook.url)
    # Another clock object, so that it has a bucket of its own as another process has.
    greedy = Bitrix24Client(webhook, clock=functools.partial(moved.now), sleep=moved.sleep)
    for _ in range(48):
        greedy.call("profile")
    before = len(moved.portal.requests)

    for _ in range(30):
        client.call("profile")

    refused = moved.statuses()[before:].count(503)
    assert 1 <= refused <= 3
    assert moved.statuses()[before:].count(200) == 30
    greedy.close()


def test_threads_and_loops_share_the_bucket(moved):
    webhook = Webhook.from_url(moved.portal.webhook.url)

    def blocking():
        with Bitrix24Client(webhook, clock=moved.now, sleep=moved.sleep) as client:
            for _ in range(20):
                client.call("profile")

    async def in_a_loop():
        async with AsyncBitrix24Client(webhook, clock=moved.now, sleep=moved.asleep) as client:
            await asyncio.gather(*(client.call("profile") for _ in range(4)))

    threads = [threading.Thread(target=blocking) for _ in range(2)]
    threads.append(threading.Thread(target=lambda: asyncio.run(in_a_loop())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert moved.statuses() == [200] * 44


def test_no_room_before_the_deadline_fails_at_once(client, moved):
    for _ in range(50):
        client.call("profile")

    with pytest.raises(RateLimitError) as caught:
        client.call("profile", deadline=0.3)
    assert caught.value.retry_after == pytest.approx(1.0)
    assert len(moved.portal.requests) == 50


def test_a_method_over_its_operating_time_waits_while_others_go_on(client, moved):
    client.call("sandbox.work", {"SECONDS": 490})
    client.call("profile")
    assert moved.passed == 0

    with pytest.raises(OperationTimeLimitError) as caught:
        client.call("sandbox.work", {"SECONDS": 1}, deadline=300)
    assert caught.value.retry_after == pytest.approx(600, abs=2)
    assert moved.passed == 0

    client.call("sandbox.work", {"SECONDS": 1})
    assert moved.passed == pytest.approx(600, abs=2)
    assert moved.statuses() == [200, 200, 200]


def test_a_refusal_for_operating_time_is_waited_out(moved):
    webhook = Webhook.from_url(moved.portal.webhook.url)
    client = Bitrix24Client(webhook, clock=moved.now, sleep=moved.sleep, operating_limit=None)
    client.call("sandbox.work", {"SECONDS": 490})

    outcomes = client.batch(
        [("sandbox.work", {"SECONDS": 1}), ("profile", {}), ("sandbox.work", {"SECONDS": 1})]
    )

    assert [outcome.result for outcome in outcomes][::2] == [1, 1]
    assert moved.passed == pytest.approx(600, abs=2)
    client.close()


@pytest.mark.parametrize("bill", ["calls", "batch"])
def test_numbers_out_of_a_batch_close_no_method(client, moved, bill):
    moved.portal.operating_bill = bill
    [one, _] = client.batch([("sandbox.work", {"SECONDS": 490}), ("profile", {})])
    assert one.time.operating >= 480

    if bill == "batch":
        # What was billed to the batch is not billed to its calls.
        client.call("sandbox.work", {"SECONDS": 1})
        client.call("profile")
        assert moved.passed == 0
    else:
        client.call("sandbox.work", {"SECONDS": 1})
        assert moved.passed == pytest.approx(600, abs=61), "asked again every minute, for nothing is known"


def test_a_batch_that_is_closed_itself_is_waited_for(client, moved):
    moved.portal.operating_bill = "batch"
    client.batch([("sandbox.work", {"SECONDS": 490}), ("profile", {})])
    assert moved.statuses() == [200]

    outcomes = client.batch([("profile", {}), ("profile", {})])

    assert [outcome.result["ID"] for outcome in outcomes] == ["1", "1"]
    assert moved.passed == pytest.approx(600, abs=2)
    assert moved.statuses() == [200, 429, 200]


def test_a_batch_that_stays_closed_beyond_the_deadline_says_until_when(client, moved):
    moved.portal.operating_bill = "batch"
    client.batch([("sandbox.work", {"SECONDS": 490}), ("profile", {})])

    outcomes = client.batch([("crm.lead.add", {"fields": {"TITLE": "x"}})] * 2, deadline=30)

    assert {type(outcome) for outcome in outcomes} == {OperationTimeLimitError}
    assert outcomes[0].retry_after == pytest.approx(600, abs=2)
    assert (outcomes[0].retryable, outcomes[0].ambiguous) == (True, False)


def test_a_list_is_read_while_its_batches_are_closed(client, moved):
    moved.portal.operating_bill = "batch"
    moved.portal.add_records("lead", 300)
    client.batch([("sandbox.work", {"SECONDS": 490}), ("profile", {})])

    assert len(list(client.iterate("crm.lead.list"))) == 300


def test_many_callers_in_one_loop_share_requests(moved):
    webhook = Webhook.from_url(moved.portal.webhook.url)

    async def main():
        async with AsyncBitrix24Client(webhook, clock=moved.now, sleep=moved.asleep) as client:
            coalescer = Coalescer(client, linger=0.02)
            replies = await asyncio.gather(
                *(coalescer.call("sandbox.echo", {"n": number}) for number in range(130)),
                coalescer.call("no.such.method"),
                return_exceptions=True,
            )
            await coalescer.close()
            return replies

    *replies, error = asyncio.run(main())

    assert [reply.result["n"] for reply in replies] == [str(number) for number in range(130)]
    assert error.code == "ERROR_METHOD_NOT_FOUND"
    assert [request.method for request in moved.portal.requests] == ["batch"] * 3
