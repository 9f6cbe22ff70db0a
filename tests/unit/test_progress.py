"""What a command is at is shown to people at terminals, and to nobody else."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from airflow_provider_b24.progress import progress

with progress("Reading the DAG files") as show:
    show("Asking the portal " + "for long " * 40)
print("the table")
"""


def at_a_terminal(**env: str) -> str:
    """Give what a person at a terminal of 60 columns sees on the standard error output."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, env={**os.environ, "COLUMNS": "60", **env}, stdout=subprocess.PIPE, stderr=theirs, check=True
    )
    os.close(theirs)
    assert done.stdout == b"the table\n"
    with open(ours, "rb", buffering=0) as terminal:
        try:
            return terminal.read(4096).decode()
        except OSError:  # Linux: nothing was written
            return ""


def test_each_step_takes_the_place_of_the_last_and_the_end_wipes_it() -> None:
    shown = at_a_terminal(TERM="xterm")
    first, second, end = shown.split("\r")
    assert first == "\x1b[KReading the DAG files …"
    assert second.startswith("\x1b[KAsking the portal for long")
    assert len(second.removeprefix("\x1b[K")) == 59
    assert end == "\x1b[K"


def test_a_terminal_that_cannot_wipe_is_left_alone() -> None:
    assert at_a_terminal(TERM="dumb") == ""


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_nothing_gets_into_a_file(tmp_path: Path, term: str) -> None:
    with (tmp_path / "log").open("w") as log:
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={**os.environ, "TERM": term}, stderr=log, check=True
        )
    assert (tmp_path / "log").read_text() == ""
