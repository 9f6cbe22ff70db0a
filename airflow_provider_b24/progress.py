"""What a command is at, in the last line of a terminal, while whoever has called it waits."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_WIPE = "\x1b[K"


@contextmanager
def progress(first: str) -> Iterator[Callable[[str], None]]:
    """Show on the standard error output what is being done, and wipe it at the end of the block.

    Where that is no terminal, nothing is shown: there it would get between the lines of a log.

    :param first: what is done first.
    :return: shows what is done next.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") in (None, "dumb"):
        yield lambda _: None
        return

    def show(text: str) -> None:
        room = shutil.get_terminal_size().columns - 1
        # Back to the beginning of the line: what a DAG file or Airflow prints meanwhile goes over it.
        sys.stderr.write(f"{_WIPE}{f'{text} …'[:room]}\r")
        sys.stderr.flush()

    show(first)
    try:
        yield show
    finally:
        sys.stderr.write(_WIPE)
        sys.stderr.flush()
