"""The timeline tells what happened in the order in which it happened."""

import io
import re

import pytest
from rich.console import Console

from airflow_provider_b24.demo.timeline import Timeline, unix_time
from airflow_provider_b24.testing.airflow_api import wait_until


@pytest.fixture
def printed() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def timeline(printed: io.StringIO) -> Timeline:
    return Timeline(Console(file=printed, width=120))


def test_moments_are_shown_in_order_with_seconds_since_the_first(
    timeline: Timeline, printed: io.StringIO
) -> None:
    timeline.add(102.5, "Bitrix24", "process completed", "page")
    timeline.add(100.0, "Airflow", "task [work] starts", "log")

    timeline.show()

    lines = [line for line in printed.getvalue().splitlines() if "Airflow" in line or "Bitrix24" in line]
    assert [line.split("│")[1].strip() for line in lines] == ["0.00", "2.50"]
    assert "task [work] starts" in lines[0]


def test_a_step_tells_how_long_it_took(timeline: Timeline, printed: io.StringIO) -> None:
    with timeline.step("Starting"):
        pass

    begun, done = printed.getvalue().splitlines()
    assert begun.endswith("Starting …")
    assert re.search(r"Starting: \d+\.\d s$", done)


def test_a_step_that_fails_is_not_told_as_done(timeline: Timeline, printed: io.StringIO) -> None:
    with pytest.raises(ValueError, match="boom"), timeline.step("Starting"):
        raise ValueError("boom")

    assert len(printed.getvalue().splitlines()) == 1


def test_airflows_times_are_read() -> None:
    assert unix_time("2026-11-23T01:48:45.500000Z") == 1795398525.5
    assert unix_time(None) is None


def test_a_step_that_takes_long_says_again_and_again_what_it_waits_for(
    timeline: Timeline, printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_b24.demo.timeline.REMIND_SECONDS", 0.01)

    def reminders() -> int:
        return printed.getvalue().count("Starting: waiting for the triggerer …")

    with timeline.step("Starting") as waiting:
        waiting("waiting for the triggerer")
        assert wait_until(lambda: reminders() > 2, timeout=30)
