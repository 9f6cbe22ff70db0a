"""The clock tests move."""

from __future__ import annotations

import time

import pytest

from airflow_provider_b24.sandbox.clock import Clock


def test_a_clock_shows_real_time_until_it_is_moved() -> None:
    clock = Clock()
    assert abs(clock.now() - time.time()) < 5
    clock.advance(3600)
    assert clock.now() >= time.time() + 3595


def test_a_frozen_clock_moves_only_when_it_is_moved() -> None:
    clock = Clock(frozen=True, start=1000)
    assert clock.now() == 1000
    clock.advance(0.5)
    assert clock.now() == 1000.5


def test_a_clock_begins_where_it_is_told() -> None:
    assert 1000 <= Clock(start=1000).now() < 1060


def test_a_clock_does_not_go_backwards() -> None:
    with pytest.raises(ValueError, match="forward"):
        Clock().advance(-1)


def test_listeners_hear_of_every_move_until_they_leave() -> None:
    clock = Clock(frozen=True, start=0)
    heard: list[float] = []

    def listener() -> None:
        heard.append(clock.now())

    clock.add_listener(listener)
    clock.advance(1)
    clock.advance(2)
    clock.remove_listener(listener)
    clock.remove_listener(listener)
    clock.advance(4)
    assert heard == [1, 3]
