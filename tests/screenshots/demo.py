"""Draw `airflow-b24 demo` as it goes, as an animated SVG: a part of ``make screenshots``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "demo.svg"
COLUMNS = 92
LINE = 20
MARGIN = 16
BEFORE = 0.6
"""Seconds between the steps before the process starts; how long they took is in their text."""

_STEP = re.compile(r"\[[ \d.]+ s\] (?P<text>.+: \d+\.\d s)$")
_COLOURS = {"Bitrix24": "#7ee787", "Airflow": "#79c0ff", "worker": "#ffa657"}


class Row(NamedTuple):
    """A line of the terminal.

    :param at: seconds after which it appears.
    :param who: whose it is, for the colour.
    """

    at: float
    who: str
    text: str


def main() -> int:
    """Run the demonstration and draw it."""
    command = [sys.executable, "-m", "airflow_provider_b24.cli", "demo"]
    done = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "240"},
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        return done.returncode
    PICTURE.write_text(draw(rows(done.stdout.splitlines())), encoding="utf-8")
    print(PICTURE.name)
    return 0


def rows(lines: Iterable[str]) -> list[Row]:
    """Read what the demonstration has printed: its steps, and its table of what happened with their seconds."""
    lines = [line.rstrip() for line in lines]
    steps = [found["text"] for line in lines if (found := _STEP.search(line))]
    shown = [Row(0, "", "$ airflow-b24 demo")]
    shown += [Row(number * BEFORE, "", text) for number, text in enumerate(steps[:2], 1)]
    begins = shown[-1].at + BEFORE
    for second, who, what in _happened(lines):
        first, *rest = textwrap.wrap(what, COLUMNS - 18)
        shown.append(Row(begins + second, who, f"{second:5.2f} s  {who:<8}  {first}"))
        shown += [Row(begins + second, who, f"{'':17}  {more}") for more in rest]
    shown.append(Row(shown[-1].at + BEFORE, "", lines[-1]))
    return shown


def _happened(lines: Iterable[str]) -> Iterator[tuple[float, str, str]]:
    entry: tuple[float, str, str] | None = None
    for line in lines:
        if not line.startswith("│"):
            continue
        second, who, what = (cell.strip() for cell in line.split("│")[1:4])
        if second:
            if entry:
                yield entry
            entry = float(second), who, what
        elif entry and what:
            entry = *entry[:2], f"{entry[2]} {what}"
    if entry:
        yield entry


def draw(shown: list[Row]) -> str:
    """Make the picture; whoever wants no motion sees all of it at once."""
    height = len(shown) * LINE + 2 * MARGIN
    text = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + (number + 0.75) * LINE:.0f}" fill="{_COLOURS.get(row.who, "#e6edf3")}" '
        f'style="animation-delay:{row.at:.2f}s" xml:space="preserve">{escape(row.text)}</text>'
        for number, row in enumerate(shown)
    )
    width = COLUMNS * 8.5 + 2 * MARGIN
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">
<title>airflow-b24 demo</title>
<style>
text {{ font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
@media (prefers-reduced-motion: no-preference) {{ text {{ opacity: 0; animation: appear 0.2s forwards; }} }}
@keyframes appear {{ to {{ opacity: 1; }} }}
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
{text}
</svg>
"""


if __name__ == "__main__":
    sys.exit(main())
