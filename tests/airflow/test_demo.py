"""The demonstration is ended while its Airflow starts: nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_provider_b24.testing.airflow_api import wait_until

SECONDS = 120

pytestmark = pytest.mark.live


def processes_of(folder: Path) -> list[str]:
    """The processes that have something to do with a folder, by their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder).encode() in process.joinpath("environ").read_bytes():
                found.append(process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode())
    return [title for title in found if title]


def end(demo: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send a signal, and again as people do: Python drops what it raises while an object is cleaned up."""
    for _ in range(SECONDS // 20):
        demo.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            return demo.communicate(timeout=20)[0]
    pytest.fail("the demonstration goes on")


@pytest.mark.parametrize(
    ("ended_by", "ignored", "code"),
    [
        (signal.SIGINT, "", 130),
        (signal.SIGINT, "INT", 130),  # as shells start what runs in the background
        (signal.SIGTERM, "INT TERM", 143),
    ],
)
def test_it_ends_what_it_has_started(
    tmp_path: Path, ended_by: signal.Signals, ignored: str, code: int
) -> None:
    ignoring = f"trap '' {ignored}; " if ignored else ""
    demo = subprocess.Popen(
        ["sh", "-c", f'{ignoring}exec "$@"', "sh", sys.executable, "-m", "airflow_provider_b24.cli", "demo"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert wait_until(lambda: any("airflow scheduler" in p for p in processes_of(tmp_path)), SECONDS)
        printed = end(demo, ended_by)
    finally:
        demo.kill()

    assert demo.returncode == code
    assert "FAILED" not in printed
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
