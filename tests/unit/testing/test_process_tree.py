"""What is started in a process tree ends with it, whatever the processes do to get away."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_b24.testing.airflow_api import wait_until
from airflow_provider_b24.testing.process_tree import ProcessTree

# A child in its own session, a grandchild whose parent is gone, and one that ignores being asked to end.
RUNAWAYS = "setsid sleep 301 & (sleep 302 &) ; trap '' TERM; sleep 303"


def alive(*seconds: int) -> list[str]:
    """The `sleep` processes of these tests that run at this moment."""
    listing = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 1) for line in listing.splitlines()]
    return [args for state, args in lines if args in {f"sleep {s}" for s in seconds} and state[0] != "Z"]


def soon(condition: Callable[[], bool]) -> bool:
    return wait_until(condition, timeout=15, poll=0.05)


def start(tmp_path: Path, command: list[str]) -> ProcessTree:
    return ProcessTree(command, env=dict(os.environ), output=tmp_path / "output", cwd=tmp_path)


def test_everything_below_ends_even_what_left_its_group_or_ignores_the_signal(tmp_path: Path) -> None:
    tree = start(tmp_path, ["sh", "-c", RUNAWAYS])
    assert soon(lambda: len(alive(301, 302, 303)) == 3)

    tree.stop()

    assert alive(301, 302, 303) == []


def test_everything_below_ends_when_the_owner_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from airflow_provider_b24.testing.process_tree import ProcessTree\n"
        "here = Path(sys.argv[1])\n"
        "ProcessTree(['sh', '-c', 'setsid sleep 311 & sleep 312'], env=dict(os.environ), output=here / 'o', cwd=here)\n"
        "sys.stdin.read()"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE)
    assert soon(lambda: len(alive(311, 312)) == 2)

    owner.kill()
    owner.communicate()

    assert soon(lambda: alive(311, 312) == [])


def test_when_the_command_ends_by_itself_the_rest_ends_too(tmp_path: Path) -> None:
    tree = start(tmp_path, ["sh", "-c", "sleep 321 & echo told; exit 7"])

    assert soon(lambda: tree.exit_code() is not None)

    assert tree.exit_code() == 7
    assert alive(321) == []
    assert (tmp_path / "output").read_text() == "told\n"
    tree.stop()


def test_a_part_can_be_started_again_and_ends_with_the_rest(tmp_path: Path) -> None:
    tree = start(tmp_path, ["sleep", "331"])
    try:
        tree.start(["sleep", "332"])
        assert soon(lambda: {p.title for p in tree.processes()} == {"sleep 331", "sleep 332"})
    finally:
        tree.stop()
    assert alive(331, 332) == []


@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGTERM, 341), (signal.SIGKILL, 343)])
def test_a_killed_process_is_no_longer_listed(tmp_path: Path, number: signal.Signals, seconds: int) -> None:
    tree = start(tmp_path, ["sh", "-c", f"sleep {seconds}; sleep {seconds + 1}"])
    try:
        assert soon(lambda: len(alive(seconds)) == 1)
        (sleeping,) = [process for process in tree.processes() if process.title == f"sleep {seconds}"]
        os.kill(sleeping.pid, number)
        assert soon(lambda: f"sleep {seconds}" not in {process.title for process in tree.processes()})
    finally:
        tree.stop()
    assert alive(seconds, seconds + 1) == []
