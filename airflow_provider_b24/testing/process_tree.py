"""A command and everything it starts, ended together: nothing outlives the block that started it.

Airflow's processes make process groups of their own (every task does), and `airflow standalone` leaves its
children running when it is killed. So the command runs under a keeper: a tiny process that adopts every
orphan below it and ends them all as soon as the pipe to its owner closes, which the operating system does even
when the owner is killed.
Linux only: it reads `/proc` and uses `PR_SET_CHILD_SUBREAPER`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 4.0
"""How long processes may take to end by themselves before they are killed."""


@dataclass(frozen=True)
class ProcessInfo:
    """One running process: what it is called now (Airflow renames its own) and who started it."""

    pid: int
    parent: int
    title: str


def descendants(root: int) -> list[ProcessInfo]:
    """List all processes that were started below `root`, at any depth; zombies are left out.

    :param root: process id whose children are asked for; it is not in the list itself.
    """
    children: dict[int, list[ProcessInfo]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            # The name in parentheses may hold spaces; the fields of interest come after the last one.
            state, parent = folder.joinpath("stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                title = folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                process = ProcessInfo(int(folder.name), int(parent), title.strip())
                children.setdefault(process.parent, []).append(process)
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += [process.pid for process in below]
    return found


class ProcessTree:
    """A running command with all that it started.

    :param command: program and arguments.
    :param env: its whole environment.
    :param output: file that receives what all of them print.
    :param cwd: working directory.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], output: Path, cwd: Path) -> None:
        with output.open("ab") as sink:
            self._keeper = subprocess.Popen(  # noqa: S603 - the caller's own command, no shell
                [sys.executable, "-m", __name__, *command],
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                # Ctrl-C in the owner's terminal must not reach Airflow before the owner has had its turn.
                start_new_session=True,
            )
        if self._keeper.stdin is None:  # cannot be: it was asked for
            raise RuntimeError("the keeper was started without a pipe")
        self._lifeline = self._keeper.stdin

    def exit_code(self) -> int | None:
        """`None` while the command runs, afterwards its exit code."""
        return self._keeper.poll()

    def processes(self) -> list[ProcessInfo]:
        """List what runs below at this moment."""
        return descendants(self._keeper.pid)

    def start(self, command: Sequence[str]) -> None:
        """Start one more command in this tree, for example a part that was killed."""
        self._lifeline.write(json.dumps(list(command)).encode() + b"\n")
        self._lifeline.flush()

    def stop(self) -> None:
        """End every process of the tree; returns when the last one is gone. Harmless when called twice."""
        with contextlib.suppress(BrokenPipeError):
            self._lifeline.close()
        self._keeper.wait()


def _keep(command: Sequence[str]) -> int:
    """Run the command until it ends or the owner lets go, then leave nothing behind."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        main = subprocess.Popen(list(command), stdin=subprocess.DEVNULL)  # noqa: S603
        return _serve(main.pid)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_all()


def _serve(main: int) -> int:
    """Start what the owner orders; returns when `main` has ended (its exit code) or the owner is gone (0)."""
    orders = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.5)
        if readable:
            received = os.read(0, 65536)
            if not received:
                return 0
            *complete, orders = (orders + received).split(b"\n")
            for line in complete:
                subprocess.Popen(json.loads(line), stdin=subprocess.DEVNULL)  # noqa: S603
        code = _reap(main)
        if code is not None:
            return code


def _reap(main: int) -> int | None:
    """Bury the dead; the exit code of `main` if it was among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if dead[0] == main:
                code = os.waitstatus_to_exitcode(dead[1])
    return code


def _end_all() -> None:
    asked: set[int] = set()
    deadline = time.monotonic() + GRACE_SECONDS
    while alive := descendants(os.getpid()):
        late = time.monotonic() > deadline
        for process in alive:
            if late or process.pid not in asked:
                asked.add(process.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL if late else signal.SIGTERM)
        _reap(0)
        time.sleep(0.05)
    _reap(0)


def _terminated(_signum: int, _frame: object) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    # The owner decides when this ends, by closing the pipe; being terminated means the same.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(_keep(sys.argv[1:]))
