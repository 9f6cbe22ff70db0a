"""`airflow-b24 dev` beside a real Airflow: what a person sees who tries his robots at a portal."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from airflow_provider_b24.sandbox import CallRobot, Process, SandboxPortal, SetField
from airflow_provider_b24.sandbox.steps import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_b24.testing.local_airflow import LocalAirflow

SECONDS = 120
PREFIX = "ann"
SCORE = f"dev.{PREFIX}.example_score_lead"


class Dev:
    """The command, as somebody has started it in a terminal.

    :param output: the file that has what it prints.
    """

    def __init__(self, airflow: LocalAirflow, output: Path, *options: str) -> None:
        self.airflow, self.output = airflow, output
        self.process = self._start(*options, "--prefix", PREFIX)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "airflow_provider_b24.cli", "dev", *arguments]
        with self.output.open("wb") as file:
            return subprocess.Popen(command, env=self.airflow.env, stdout=file, stderr=file)

    @property
    def printed(self) -> str:
        return self.output.read_text()

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until a line of what is printed matches."""
        ends = time.monotonic() + SECONDS
        while (found := re.search(pattern, self.printed, re.MULTILINE)) is None:
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < ends, f"{pattern} is not in:\n{self.printed}"
            time.sleep(0.2)
        return found

    def ends(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@pytest.fixture
def dev(live_airflow: LocalAirflow, tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def start(*options: str) -> Dev:
        started.append(Dev(live_airflow, tmp_path / f"dev{len(started)}.txt", *options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.ends()


def codes(portal: SandboxPortal) -> set[str]:
    return {robot.code for robot in portal.robots}


def scored(portal: SandboxPortal) -> Process:
    """A process whose robot is that of this machine."""
    return portal.start_process(
        [
            CallRobot(SCORE, {"budget": 60000, "source": "web"}, name="Scoring"),
            SetField("VERDICT", Answer("Scoring", "verdict")),
        ]
    )


def test_a_process_is_answered_by_the_robot_of_the_prefix_and_the_call_is_shown_and_sent_again(
    live_airflow: LocalAirflow, live_portal: SandboxPortal, dev: Callable[..., Dev]
) -> None:
    before = codes(live_portal)
    running = dev(live_airflow.url)
    running.says(r"^way back: The portal has posted a test event, and the receiver has accepted it\.$")
    running.says("^Calls are shown as they come")
    assert before < codes(live_portal)
    assert {code for code in codes(live_portal) - before if not code.startswith(f"dev.{PREFIX}.")} == set()

    process = scored(live_portal)
    process.wait(SECONDS)
    assert process.values["VERDICT"] == "hot"
    line = running.says(
        r'^\d\d:\d\d:\d\d  (\w{8})  example_score_lead  \S+  answered by reply after [\d.]+ s  \{"score": 60, .*$'
    )

    again = subprocess.run(
        [sys.executable, "-m", "airflow_provider_b24.cli", "dev", "--again", line[1]],
        env=live_airflow.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    running.says(r'  not-awaited: the run is success  it would be \{"score": 60, "verdict": "hot"\}$')
    assert [answer.process_id for answer in live_portal.answers].count(process.id) == 1

    assert running.ends() == 0, running.printed
    assert codes(live_portal) == before
    assert not [
        one
        for one in live_portal.events.bindings(live_portal.application.client_id)
        if one.event == "ONAPPTEST"
    ]


@pytest.mark.parametrize("how", ["the next start", "--clean"])
def test_what_a_crash_leaves_is_removed(
    how: str, live_airflow: LocalAirflow, live_portal: SandboxPortal, dev: Callable[..., Dev]
) -> None:
    before = codes(live_portal)
    killed = dev(live_airflow.url)
    killed.says("^Calls are shown as they come")
    killed.ends(signal.SIGKILL)
    assert SCORE in codes(live_portal)
    if how == "--clean":
        cleaning = dev("--clean")
        assert cleaning.process.wait(SECONDS) == 0, cleaning.printed
    else:
        following = dev(live_airflow.url)
        following.says("^Calls are shown as they come")
        assert following.ends(signal.SIGTERM) == 0, following.printed
    assert codes(live_portal) == before


def test_an_address_that_does_not_lead_here_registers_nothing_and_says_what_to_do(
    live_airflow: LocalAirflow, live_portal: SandboxPortal, dev: Callable[..., Dev]
) -> None:
    before = codes(live_portal)
    wrong = dev(live_portal.url)
    assert wrong.process.wait(SECONDS) == 1
    assert f"{live_portal.url}/bitrix24/health answers with HTTP 404, not as healthy." in wrong.printed
    assert "The tunnel has to lead to the port of Airflow's API server" in wrong.printed
    assert codes(live_portal) == before
