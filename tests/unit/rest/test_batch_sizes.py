"""Requests get smaller when they take too long, and larger again."""

import pytest

from airflow_provider_b24.rest.batch_sizes import BatchSizes


@pytest.mark.parametrize("size", [0, 51])
def test_a_batch_has_1_to_50_calls(size):
    with pytest.raises(ValueError, match="1 to 50"):
        BatchSizes(size)


def test_a_request_that_failed_is_halved_down_to_single_calls():
    sizes, seen = BatchSizes(), []
    while not seen or seen[-1] > 1:
        seen.append(sizes.of("a"))
        sizes.failed(["a"], seen[-1])
    assert seen == [50, 25, 12, 6, 3, 1]


def test_other_methods_keep_their_size():
    sizes = BatchSizes()
    sizes.failed(["slow", "Slower"], 50)
    assert [sizes.of(method) for method in ("slow", "SLOWER", "quick")] == [25, 25, 50]


def test_it_grows_again_while_responses_are_quick_and_not_beyond_what_it_may():
    sizes, seen = BatchSizes(20), []
    sizes.failed(["a"], 10)
    for _ in range(12):
        seen.append(sizes.of("a"))
        sizes.succeeded(["a"], seen[-1], seconds=1, timeout=60)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (5, 20)


def test_it_settles_where_a_response_takes_half_its_timeout():
    sizes = BatchSizes()
    for _ in range(30):
        size = sizes.of("a")
        sizes.succeeded(["a"], size, seconds=2.0 * size, timeout=60)
    assert 12 <= sizes.of("a") <= 16


def test_a_single_slow_call_can_be_joined_by_another_only_step_by_step():
    sizes = BatchSizes()
    sizes.failed(["a"], 2)
    sizes.succeeded(["a"], 1, seconds=50, timeout=60)
    assert sizes.of("a") == 1


def test_a_request_that_was_not_full_says_nothing_about_a_larger_one():
    sizes = BatchSizes()
    sizes.failed(["a"], 50)
    sizes.succeeded(["a"], 3, seconds=0.1, timeout=60)
    assert sizes.of("a") == 25
