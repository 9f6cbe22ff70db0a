"""The portal's limits, counted without a portal."""

from __future__ import annotations

import pytest

from airflow_provider_b24.sandbox.clock import Clock
from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.limits import LeakyBuckets, OperatingTime


@pytest.fixture
def still_clock() -> Clock:
    return Clock(frozen=True, start=1_000_000.0)


def _pour(buckets: LeakyBuckets, source: str, times: int) -> int:
    refused = []
    for _ in range(times):
        try:
            buckets.pour(source)
        except RestError as error:
            refused.append((error.status, error.code))
    assert set(refused) <= {(503, "QUERY_LIMIT_EXCEEDED")}
    return times - len(refused)


@pytest.mark.parametrize(("tariff", "threshold", "rate"), [("standard", 50, 2), ("enterprise", 250, 5)])
def test_a_bucket_takes_a_burst_and_then_its_rate(
    still_clock: Clock, tariff: str, threshold: int, rate: int
) -> None:
    buckets = LeakyBuckets(still_clock, tariff)
    assert _pour(buckets, "a", threshold + 10) == threshold
    still_clock.advance(1)
    assert _pour(buckets, "a", 10) == rate
    still_clock.advance(3)
    assert _pour(buckets, "a", 100) == 3 * rate


def test_a_bucket_leaks_once_per_second_and_not_in_between(still_clock: Clock) -> None:
    buckets = LeakyBuckets(still_clock, "standard")
    _pour(buckets, "a", 50)
    still_clock.advance(0.9)
    assert _pour(buckets, "a", 1) == 0
    still_clock.advance(0.1)
    assert _pour(buckets, "a", 5) == 2
    still_clock.advance(0.5)
    assert _pour(buckets, "a", 1) == 0
    still_clock.advance(0.5)
    assert _pour(buckets, "a", 5) == 2


def test_who_keeps_to_the_rate_is_never_refused(still_clock: Clock) -> None:
    buckets = LeakyBuckets(still_clock, "standard")
    for _ in range(500):
        assert _pour(buckets, "a", 2) == 2
        still_clock.advance(1)


def test_every_source_has_its_own_bucket(still_clock: Clock) -> None:
    buckets = LeakyBuckets(still_clock, "standard")
    assert _pour(buckets, "a", 60) == 50
    assert _pour(buckets, "b", 60) == 50
    assert buckets.levels() == {"a": 50, "b": 50}


def test_an_idle_bucket_is_empty_again(still_clock: Clock) -> None:
    buckets = LeakyBuckets(still_clock, "standard")
    _pour(buckets, "a", 50)
    still_clock.advance(3600)
    assert _pour(buckets, "a", 60) == 50


def test_a_tariff_nobody_sells_is_an_error(still_clock: Clock) -> None:
    with pytest.raises(ValueError, match="standard, enterprise"):
        LeakyBuckets(still_clock, "gold")


def test_the_call_that_exceeds_the_operating_time_passes_and_the_next_does_not(still_clock: Clock) -> None:
    operating = OperatingTime(still_clock)
    for _ in range(25):
        operating.check("app", "crm.item.list")
        operating.spend("app", "crm.item.list", 20)
    with pytest.raises(RestError) as refused:
        operating.check("app", "crm.item.list")
    assert (refused.value.status, refused.value.code) == (429, "OPERATION_TIME_LIMIT")


def test_exactly_the_limit_does_not_exceed_it(still_clock: Clock) -> None:
    operating = OperatingTime(still_clock)
    operating.spend("app", "m", 480)
    operating.check("app", "m")


def test_other_methods_and_other_callers_go_on(still_clock: Clock) -> None:
    operating = OperatingTime(still_clock)
    operating.spend("app", "m", 500)
    operating.check("app", "other")
    operating.check("webhook", "m")


def test_a_basket_is_forgotten_ten_minutes_after_its_first_call(still_clock: Clock) -> None:
    operating = OperatingTime(still_clock)
    begun = still_clock.now()
    assert operating.spend("app", "m", 40) == (40, int(begun) + 600)
    still_clock.advance(120)
    assert operating.spend("app", "m", 460) == (500, int(begun) + 600)
    still_clock.advance(479)
    with pytest.raises(RestError):
        operating.check("app", "m")
    still_clock.advance(1)
    operating.check("app", "m")
    assert operating.spend("app", "m", 0) == (460, int(begun) + 720)


def test_a_quick_call_costs_nothing(still_clock: Clock) -> None:
    assert OperatingTime(still_clock).spend("app", "m", 0.02)[0] == 0
