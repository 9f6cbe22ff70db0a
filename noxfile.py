"""Environments beside `.venv`: each Airflow on its Pythons, and the lowest versions that the metadata admits.

`make matrix` and `make lowest` call it. Nox finds the Pythons, makes the environments in `.nox`, and runs the rest when
something has failed; what is missing on a machine it names and leaves out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nox
from nox.command import CommandFailed

from airflow_provider_b24._airflow.versions import GAPS

nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"

if pyenv := shutil.which("pyenv"):
    # Its commands python3.12 and so on work for the versions that this variable names.
    found = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=True)
    os.environ["PYENV_VERSION"] = ":".join(found.stdout.split())

DOCS = Path(__file__).parent / "docs"
RESULTS = DOCS / "compatibility.json"
PAGE = DOCS / "compatibility.md"

PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@dataclass(frozen=True)
class Release:
    """A version of Airflow, and how it is tested.

    :param day: Everything is resolved as of this day: its providers are there, and nothing from after its time.
    :param pythons: What is run before a release of the provider.
    :param newer: `package=day` of what we need newer than that.
    """

    day: str
    pythons: tuple[str, ...]
    newer: tuple[str, ...] = ()


# The two newest on all Pythons. Of the others one, since code of ours that depends on both versions there is none; but
# 3.0.6 also on 3.12, which managed services run it on.
RELEASES = {
    "3.0.6": Release(
        "2025-08-30", ("3.11", "3.12"), newer=("apache-airflow-providers-common-compat=2026-01-18",)
    ),
    "3.1.8": Release("2026-03-13", ("3.11",)),
    "3.2.2": Release("2026-05-31", ("3.11",)),
    "3.3.2": Release("2026-09-18", PYTHONS),
    "3.4.0b2": Release("2026-10-28", PYTHONS),
}

# The official SDK comes with `make test` only: it has wishes of its own about what Airflow needs, too.
_WITHOUT_SDK = "--ignore=tests/sandbox/portal/test_official_sdk.py"
_PYTEST = ["--numprocesses", "auto", "-p", "no:cacheprovider"]
SUITES = {
    "demo": ["airflow-b24", "demo"],
    "unit": ["pytest", "tests/unit"],
    "sandbox": ["pytest", "tests/sandbox", _WITHOUT_SDK],
    "airflow": ["pytest", "tests/airflow", "-m", "not live"],
    "live": ["pytest", "tests/airflow", "-m", "live"],
}


def _pair(airflow: str, python: str) -> str:
    return f"{airflow}-python{python}"


def in_turn(number: int) -> str:
    """Give one of the releases that `.venv` does not have, for numbers that follow each other one after the other."""
    others = [airflow for airflow in RELEASES if airflow != version("apache-airflow")]
    return others[number % len(others)]


def _pairs() -> Iterator[Any]:
    for (airflow, release), python in product(RELEASES.items(), PYTHONS):
        tags = [airflow, "release"] if python in release.pythons else [airflow]
        yield nox.param(python, airflow, id=_pair(airflow, python), tags=tags)


@nox.session
@nox.parametrize(["python", "airflow"], list(_pairs()))
def matrix(session: nox.Session, airflow: str) -> None:
    """Run the demonstration and all tests on an Airflow as it was at its release; arguments select suites."""
    _install(session, airflow)
    pair = _pair(airflow, str(session.python))
    python = session.run("python", "-c", "import platform; print(platform.python_version())", silent=True)
    if python is None:
        session.skip("installed only")
    _run_all(session, session.posargs or SUITES, partial(record, pair, str(python).strip()))


@nox.session(python="3.11", reuse_venv=False)
def another(session: nox.Session) -> None:
    """Run the demonstration and the live tests on one more Airflow, whose turn it is by the number that is given."""
    [number] = session.posargs
    airflow = in_turn(int(number))
    session.log(f"It is the turn of Airflow {airflow}")
    _install(session, airflow)
    _run_all(session, ["demo", "live"], lambda *_: None)


@nox.session(venv_backend="none")
def compatibility(session: nox.Session) -> None:
    """Make the page of what works where from the last results."""
    PAGE.write_text(page(results()))
    session.log(f"{PAGE.relative_to(Path.cwd())}:\n\n{table(results())}")


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Run unit tests and those against the sandbox portal with the lowest versions that the metadata admits."""
    # The lowest Airflow does not say that its ObjectStoragePath needs a universal-pathlib of its time.
    storage = "universal-pathlib>=0.2.6,<0.3"
    session.install("--resolution", "lowest-direct", "--editable", ".", "--group", "test", storage)
    session.run("pytest", *_PYTEST, "tests/unit", "tests/sandbox", _WITHOUT_SDK)


def _install(session: nox.Session, airflow: str) -> None:
    """Install the provider with an Airflow, and everything as it was at the release of that."""
    release = RELEASES[airflow]
    newer = [f"--exclude-newer-package={package}" for package in release.newer]
    as_of = ["--exclude-newer", release.day, *newer]
    session.install(*as_of, "--editable", ".", f"apache-airflow=={airflow}", "--group", "test")


def _run_all(
    session: nox.Session, suites: Iterable[str], record: Callable[[str, dict[str, int]], None]
) -> None:
    """Run suites, each to its end, and say which have failed."""
    failed = []
    for suite in suites:
        counts = _run(session, suite)
        session.log(f"{suite}: {_said(counts)}")
        record(suite, counts)
        if counts["failed"]:
            failed.append(suite)
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def _run(session: nox.Session, suite: str) -> dict[str, int]:
    """Run a suite to its end, and count."""
    report = Path(session.create_tmp()) / f"{suite}.xml"
    report.unlink(missing_ok=True)
    command, *arguments = SUITES[suite]
    if command == "pytest":
        arguments += [*_PYTEST, f"--junitxml={report}"]
    try:
        session.run(command, *arguments)
    except CommandFailed:
        succeeded = False
    else:
        succeeded = True
    counts = count(report) if report.exists() else {"passed": int(succeeded), "failed": 0, "skipped": 0}
    if not succeeded:  # whatever the report says: it is there only if pytest came to its end
        counts["failed"] = counts["failed"] or 1
    return counts


def count(report: Path) -> dict[str, int]:
    """Count what a JUnit report has; what broke in a test's set-up or collection has failed."""
    [suite] = ElementTree.parse(report).getroot().iter("testsuite")
    tests, failures, errors, skipped = (
        int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    return {"passed": tests - failed - skipped, "failed": failed, "skipped": skipped}


def results() -> dict[str, Any]:
    """Give the last result of each pair that is still among the releases."""
    known = {_pair(airflow, python) for airflow, python in product(RELEASES, PYTHONS)}
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {pair: row for pair, row in rows.items() if pair in known}


def record(pair: str, python: str, suite: str, counts: dict[str, int]) -> None:
    """Put the result of a suite in the place of its last one."""
    rows, today = results(), datetime.now(UTC).date().isoformat()
    rows[pair] = rows.get(pair, {}) | {"python": python, "day": today, suite: counts}
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {word}" for word, number in counts.items() if number)


def table(rows: dict[str, Any]) -> str:
    """Give a Markdown table of results, and below it the pairs of a release that have none."""
    lines = ["| Airflow | Python | Demo | Unit | Sandbox | With Airflow | Live | Day |", "| --- " * 8 + "|"]
    missing = []
    for (airflow, release), python in product(RELEASES.items(), PYTHONS):
        if row := rows.get(_pair(airflow, python)):
            suites = (_said(row[suite]) if suite in row else "not run" for suite in SUITES)
            cells = [airflow, row["python"], *suites, row["day"]]
            lines.append(f"| {' | '.join(cells)} |")
        elif python in release.pythons:
            missing.append(f"{airflow} on Python {python}")
    text = "\n".join(lines) + "\n"
    return text + (f"\nNot run: {', '.join(missing)}.\n" if missing else "")


def page(rows: dict[str, Any]) -> str:
    """Give the page of the documentation."""
    return f"""# Compatibility

The last results of `make matrix`, which makes this page: demonstration and tests on each Airflow, with everything else
as it was at that Airflow's release. *Sandbox*: against the sandbox portal. *With Airflow*: with Airflow's database.
*Live*: with a whole Airflow that runs.

{table(rows)}
## What older versions lack

`airflow-b24 doctor` says it of the Airflow that it finds. With one that is older than these, or of a later series (such
as 3.5 after 3.4), a line in the log of each process says that it was not tested.

{gaps()}"""


def gaps() -> str:
    """Give a Markdown table of what the provider cannot do with older versions."""
    lines = ["| Before Airflow | |", "| --- | --- |"]
    lines += [f"| {'.'.join(map(str, gap.since))} | {gap.what} |" for gap in GAPS]
    return "\n".join(lines) + "\n"
