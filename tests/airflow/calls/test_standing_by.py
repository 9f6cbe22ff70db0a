"""On SQLite one dispatcher works at a time."""

from __future__ import annotations

from airflow_provider_b24.calls.dispatcher import Dispatcher

DATABASES = ("sqlite",)


def test_the_others_stand_by_and_one_takes_over(robot, call_robot):
    first, second = Dispatcher(), Dispatcher()
    first.turn()
    called = call_robot(robot)
    assert (second.turn(), called.state) == (False, "received")
    first.stop()
    second.turn()
    assert called.state == "running"
    second.stop()
