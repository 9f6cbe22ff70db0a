"""The thread that works on calls: nothing ends it but being told to."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy.exc import OperationalError

from airflow_provider_b24.calls.background import Background

SECONDS = 30


@pytest.fixture
def start():
    """Start a thread that does steps; it has ended after the test."""
    running = []

    def begin(*steps, pause=0.01):
        background = Background(steps, pause)
        running.append(background)
        background.start()
        return background

    yield begin
    for background in running:
        background.stop()


class Repeated:
    """A step that can be waited for."""

    def __init__(self, times, result=False, fails=0, error=RuntimeError):
        self.enough, self.left, self.result = threading.Event(), times, result
        self.fails, self.error = fails, error

    def __call__(self):
        self.left -= 1
        if self.left <= 0:
            self.enough.set()
        if self.fails:
            self.fails -= 1
            raise self.error
        return self.result and self.left > 0


def test_steps_are_done_again_and_again(start):
    step = Repeated(5)
    start(step)
    assert step.enough.wait(SECONDS)


def test_while_there_is_more_to_do_there_is_no_pause(start):
    step = Repeated(50, result=True)
    start(step, pause=3600)
    assert step.enough.wait(SECONDS)


def test_it_can_be_woken(start):
    first, second = Repeated(1), Repeated(2)
    background = start(first, second, pause=3600)
    assert first.enough.wait(SECONDS)
    background.wake()
    assert second.enough.wait(SECONDS)


def test_a_step_that_fails_is_tried_again_and_does_not_hold_up_the_others(start, caplog):
    failing, other = Repeated(3, fails=2, error=RuntimeError("with the secret")), Repeated(3)
    start(failing, other)
    assert failing.enough.wait(SECONDS)
    assert other.enough.wait(SECONDS)
    assert "The work on calls failed, it is tried again: RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_a_database_that_is_away_is_said_to_be(start, caplog):
    failing = Repeated(2, fails=1, error=OperationalError("INSERT secret", {}, ConnectionRefusedError()))
    start(failing)
    assert failing.enough.wait(SECONDS)
    assert "Airflow's database is away, calls wait" in caplog.text
    assert "secret" not in caplog.text


def test_it_is_started_once_and_ends_after_what_it_is_doing(start):
    began, may_end, ended = threading.Event(), threading.Event(), []

    def slow():
        began.set()
        may_end.wait(SECONDS)
        ended.append(threading.current_thread())
        return False

    background = start(slow, pause=3600)
    background.start()
    assert began.wait(SECONDS)
    may_end.set()
    background.stop()
    assert len(ended) == 1
    assert not ended[0].is_alive()
