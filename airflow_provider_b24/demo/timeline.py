"""What happened, when, and in whose log to read more: told while it happens, and once more at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

REMIND_SECONDS = 15.0
COLOURS = {"Bitrix24": "cyan", "Airflow": "green", "worker": "magenta"}


@dataclass(frozen=True, order=True)
class Moment:
    """One thing that happened.

    :param at: Unix time.
    :param who: `Bitrix24`, `Airflow` or `worker`.
    :param where: file or page with the details.
    """

    at: float
    who: str
    what: str
    where: str = ""


class Timeline:
    """Collects moments; tells the progress of what takes time."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.moments: list[Moment] = []
        self._began = time.monotonic()

    def add(self, at: float, who: str, what: str, where: object = "") -> None:
        """Note what happened at a certain time; the moments need not come in order."""
        self.moments.append(Moment(at, who, what, str(where)))

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show that something is under way, and then how long it took; what takes long is said again and again.

        The block is given a function to say what is being waited for.
        """
        began = time.monotonic()
        under_way = what
        over = threading.Event()

        def remind() -> None:
            while not over.wait(REMIND_SECONDS):
                self._say(f"{under_way} …")

        def waiting(detail: str) -> None:
            nonlocal under_way
            under_way = f"{what}: {detail}"
            status.update(f"{under_way} …")

        if not self.console.is_terminal:
            self._say(f"{what} …")
        with self.console.status(f"{what} …") as status:
            reminder = threading.Thread(target=remind, daemon=True)
            reminder.start()
            try:
                yield waiting
            finally:
                over.set()
                reminder.join()
        self._say(f"{what}: {time.monotonic() - began:.1f} s")

    def _say(self, text: str) -> None:
        self.console.print(f"[{time.monotonic() - self._began:5.1f} s] {text}", markup=False)

    def show(self) -> None:
        """Print all moments in order."""
        from rich.markup import escape
        from rich.table import Table

        moments = sorted(self.moments)
        start = moments[0].at if moments else 0
        table = Table(
            title=f"What happened after {clock_time(start)}", title_justify="left", show_lines=False
        )
        table.add_column("s", justify="right")
        table.add_column("who")
        table.add_column("what", overflow="fold")
        table.add_column("more in", overflow="fold", style="dim")
        for moment in moments:
            colour = COLOURS.get(moment.who, "")
            table.add_row(
                f"{moment.at - start:.2f}",
                f"[{colour}]{moment.who}[/]",
                escape(moment.what),
                escape(moment.where),
            )
        self.console.print(table)


def clock_time(at: float) -> str:
    """Write a Unix time as the wall clock shows it."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def unix_time(iso: str | None) -> float | None:
    """Read a time as Airflow's API writes it."""
    return datetime.fromisoformat(iso).timestamp() if iso else None
