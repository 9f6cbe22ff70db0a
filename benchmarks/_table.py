"""Figures as a table: a row is printed as soon as it is measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence

LATENCY = ("median ms", "p99 ms", "slowest ms")


class Table:
    """A table on the terminal.

    :param columns: the first one names what is measured, the others are figures.
    """

    def __init__(self, *columns: str) -> None:
        self._widths = [max(44, len(columns[0])), *(max(10, len(column)) for column in columns[1:])]
        self.row(*columns)
        print("-" * (sum(self._widths) + 2 * len(columns)), flush=True)

    def row(self, what: str, *figures: float | str) -> None:
        """Print a row; figures that are no text are rounded to what can be read."""
        texts = [figure if isinstance(figure, str) else f"{figure:.{_digits(figure)}f}" for figure in figures]
        cells = [f"{text:>{width}}" for text, width in zip(texts, self._widths[1:], strict=True)]
        print("  ".join([f"{what:{self._widths[0]}}", *cells]), flush=True)


def latency(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Give the figures of `LATENCY`."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return ordered[len(ordered) // 2] * 1000, p99 * 1000, ordered[-1] * 1000


def progress(text: str) -> None:
    """Say how far it is, beside the table."""
    print(f"  {text}", file=sys.stderr, flush=True)


def _digits(figure: float) -> int:
    return 0 if isinstance(figure, int) or abs(figure) >= 1000 else 2 if abs(figure) < 10 else 1
