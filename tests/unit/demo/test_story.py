"""How the demonstration fails and ends; that it succeeds is shown by running it."""

import io
import signal
from pathlib import Path

import pytest
from rich.console import Console

from airflow_provider_b24.demo import story
from airflow_provider_b24.demo.story import Demo
from airflow_provider_b24.sandbox import SandboxPortal
from airflow_provider_b24.testing.local_airflow import LocalAirflow, LocalAirflowError


class Stage:
    """A demonstration whose Airflow does not start, and what it printed."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        def start(airflow: LocalAirflow, progress: object) -> None:
            airflow.output.write_text("the last line\n")
            raise error

        monkeypatch.setattr(LocalAirflow, "start", start)
        monkeypatch.setattr(story.tempfile, "mkdtemp", lambda prefix: self._make_home())
        self.home = tmp_path / "home"
        self.printed = io.StringIO()
        self.demo = Demo(Console(file=self.printed, width=200))

    def _make_home(self) -> str:
        self.home.mkdir()
        return str(self.home)


def test_a_failure_is_a_bad_exit_code_with_the_reason_and_the_last_log_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, monkeypatch, LocalAirflowError("Airflow was not ready within 120 s"))

    code = stage.demo.run(keep=False)

    assert code == 1
    printed = stage.printed.getvalue()
    assert "FAILED: Airflow was not ready within 120 s" in printed
    assert "the last line" in printed
    assert f"logs are left in {stage.home}" in printed
    assert stage.home.exists()


def test_being_terminated_ends_it_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, monkeypatch, SystemExit(143))

    with pytest.raises(SystemExit):
        stage.demo.run(keep=False)

    assert not stage.home.exists()


def test_ctrl_c_ends_it_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, monkeypatch, KeyboardInterrupt())

    code = stage.demo.run(keep=False)

    assert code == 130
    assert not stage.home.exists()
    assert "FAILED" not in stage.printed.getvalue()


def test_ctrl_c_while_the_stage_is_set_leaves_no_trace_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, monkeypatch, AssertionError("it should not get here"))

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SandboxPortal, "__enter__", interrupted)

    with pytest.raises(KeyboardInterrupt):
        stage.demo.run(keep=False)

    assert not stage.home.exists()
    assert "logs are left" not in stage.printed.getvalue()


def test_signals_are_handled_afterwards_as_they_were_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]

    Stage(tmp_path, monkeypatch, KeyboardInterrupt()).demo.run(keep=False)

    assert [signal.getsignal(number) for number in numbers] == before
