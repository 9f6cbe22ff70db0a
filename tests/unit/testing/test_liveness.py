"""When a part of a local Airflow is started again. That it then goes on is tested in tests/airflow."""

import signal
import subprocess
import sys

import pytest
import requests

from airflow_provider_b24.testing.liveness import (
    LOOK_SECONDS,
    PARTS,
    SECONDS_TO_RECOVER,
    SECONDS_TO_START,
    Liveness,
)


class Airflow:
    """One whose parts are processes that only sleep."""

    def __init__(self):
        self.silent = []
        self.started = []
        self.away = False
        self._parts = {part: [self._sleeper()] for part in PARTS}

    def _sleeper(self):
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def processes(self):
        return {part: [p.pid for p in parts if p.poll() is None] for part, parts in self._parts.items()}

    def unhealthy(self):
        if self.away:
            raise requests.ConnectionError
        return list(self.silent)

    def start_part(self, part):
        self.started.append(part)
        self._parts[part].append(self._sleeper())

    def tail(self, lines, part):
        return f"{part} | OperationalError: no disk"

    def end(self, *parts):
        for part in parts or PARTS:
            for process in self._parts[part]:
                process.kill()
                process.wait()

    def is_dead(self, pid):
        [process] = [p for parts in self._parts.values() for p in parts if p.pid == pid]
        return process.wait(10) == -signal.SIGKILL


@pytest.fixture
def airflow():
    airflow = Airflow()
    yield airflow
    airflow.end()


@pytest.fixture
def look_for(airflow):
    """Let time pass, looking now and then."""
    now = [0.0]

    def clock():
        now[0] += 0.001  # as a real one, it never says the same twice
        return now[0]

    liveness = Liveness(airflow, clock=clock)

    def look_for(seconds):
        until = now[0] + seconds
        while now[0] < until:
            liveness.look()
            now[0] += LOOK_SECONDS

    return look_for


def test_a_part_that_takes_long_to_be_heard_of_for_the_first_time_is_left_alone(airflow, look_for):
    airflow.silent = ["scheduler", "triggerer", "dag_processor"]
    look_for(10 * SECONDS_TO_RECOVER)
    airflow.silent = []
    look_for(LOOK_SECONDS)
    assert airflow.started == []


def test_a_part_that_is_not_there_yet_is_left_alone(airflow, look_for):
    airflow.end("api-server")
    airflow.away = True
    look_for(300)
    assert airflow.started == []


def test_a_part_that_ends_before_airflow_is_up_is_started_again(airflow, look_for):
    airflow.away = True
    look_for(LOOK_SECONDS)
    airflow.end("triggerer")
    with pytest.warns(UserWarning, match="triggerer has ended and was started again"):
        look_for(LOOK_SECONDS)
    assert airflow.started == ["triggerer"]


def test_parts_that_run_and_are_heard_of_are_left_alone(airflow, look_for):
    before = airflow.processes()
    look_for(300)
    assert (airflow.started, airflow.processes()) == ([], before)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_has_ended_is_started_again_at_once_and_its_last_words_are_shown(airflow, look_for, part):
    look_for(LOOK_SECONDS)
    airflow.end(part)
    with pytest.warns(
        UserWarning, match=rf"{part} has ended and was started again(.|\n)*{part} . OperationalError"
    ):
        look_for(LOOK_SECONDS)
    look_for(300)
    assert airflow.started == [part]


def test_a_part_that_ends_again_and_again_is_started_once_a_minute(airflow, look_for):
    look_for(LOOK_SECONDS)

    def end_and_look():
        for _ in range(int(3 * SECONDS_TO_START / LOOK_SECONDS)):
            airflow.end("triggerer")
            look_for(LOOK_SECONDS)

    with pytest.warns(UserWarning, match="has ended"):
        end_and_look()
    assert airflow.started == ["triggerer"] * 3


def test_a_part_that_hangs_is_killed_and_started_again(airflow, look_for):
    look_for(LOOK_SECONDS)
    [hanging] = airflow.processes()["dag-processor"]
    airflow.silent = ["dag_processor"]
    look_for(SECONDS_TO_RECOVER)
    assert airflow.started == []
    with pytest.warns(UserWarning, match="dag-processor was not heard of any more"):
        look_for(LOOK_SECONDS)
    airflow.silent = []
    look_for(300)
    assert airflow.started == ["dag-processor"]
    assert airflow.is_dead(hanging)


def test_a_part_that_recovers_by_itself_is_left_alone(airflow, look_for):
    look_for(LOOK_SECONDS)
    for _ in range(5):
        airflow.silent = ["scheduler"]
        look_for(SECONDS_TO_RECOVER)
        airflow.silent = []
        look_for(LOOK_SECONDS)
    assert airflow.started == []


def test_an_api_server_that_does_not_answer_says_nothing_about_the_others(airflow, look_for):
    airflow.away = True
    look_for(300)
    assert airflow.started == []
