"""Every script in `benchmarks/` runs, in a small size, and prints its figures. What they are is not looked at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
DATABASES = ("sqlite", "postgresql")
A_ROW = re.compile(r"^\S.*?(  +[\d.]+%?)+( |$)", re.MULTILINE)
"""What was measured, and figures."""


def cases() -> Iterator[tuple[str, ...]]:
    """All scripts there are; those that measure databases, with each of them."""
    for script in sorted(FOLDER.glob("[a-z]*.py")):
        if re.search(r"\b_databases\b", script.read_text()):
            yield from ((script.name, "--database", database) for database in DATABASES)
        else:
            yield (script.name,)


@pytest.mark.parametrize("command", list(cases()), ids=" ".join)
def test_it_runs_and_prints_figures(command: tuple[str, ...]) -> None:
    script, *options = command

    done = subprocess.run(
        [sys.executable, FOLDER / script, "--small", *options], capture_output=True, text=True, check=False
    )

    if "NoPostgreSqlError" in done.stderr and not os.environ.get("CI"):
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert A_ROW.search(done.stdout), done.stdout
    for database in set(options) & set(DATABASES):
        assert f"\n{database}" in done.stdout
