"""How the dispatcher that is a process of its own ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

WORKING = """
import os, signal, sys, threading
from types import SimpleNamespace
from airflow_provider_b24.calls import database, dispatcher, dispatcher_command

class Signalled(threading.Event):
    def clear(self):
        with self._cond:
            os.kill(os.getpid(), getattr(signal, sys.argv[1]))
            self._flag = False

threading.Event = Signalled
database.make_tables = lambda: None
stop = lambda: print("has ended", flush=True)
dispatcher.Dispatcher = lambda: SimpleNamespace(turn=lambda: False, stop=stop)
sys.exit(dispatcher_command.run(None))
"""


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_it_ends_in_whatever_moment_it_is_told_to(number):
    """Here while the lock of an event is held."""
    ended = subprocess.run(
        [sys.executable, "-c", WORKING, number], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, "has ended" in ended.stdout) == (0, True)
