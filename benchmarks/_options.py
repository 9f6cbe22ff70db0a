"""The size of a measurement: as the README's figures are measured, or so small that it only shows that it runs."""

from __future__ import annotations

import argparse
import sys
from typing import NamedTuple


class Size(NamedTuple):
    """How much is done.

    :param small: with ``--small``.
    """

    full: float
    small: float
    meaning: str


def parser(description: str | None, **sizes: Size) -> argparse.ArgumentParser:
    """Give a command line with ``--small`` and an option for each of the sizes."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--small", action="store_true", help="see that it runs; the figures mean nothing")
    small = "--small" in sys.argv
    for name, size in sizes.items():
        found.add_argument(
            f"--{name}",
            type=type(size.full),
            default=size.small if small else size.full,
            help=f"{size.meaning} (%(default)s)",
        )
    return found
