"""Which pairs of Airflow and Python `make matrix` runs, and the page that it makes from their results."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from airflow_provider_b24._airflow.versions import TESTED

ROOT = Path(__file__).parents[2]
NOX = [sys.executable, "-m", "nox", "--session", "matrix"]
CLEAN = {name: value for name, value in os.environ.items() if name not in ("AIRFLOW", "MAKEFLAGS", "PYTHON")}
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def noxfile() -> ModuleType:
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["noxfile"] = module  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


def nox(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NOX, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, env=CLEAN | env
    )


def selected(*variables: str) -> set[str]:
    """The pairs that `make matrix` would run with these variables."""
    make = ["make", "--dry-run", "matrix", *variables]
    dry = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True, env=CLEAN)
    [arguments] = re.findall(r"nox --session matrix (.*?);", dry.stdout)
    listed = json.loads(nox(*arguments.split(), "--list", "--json").stdout)
    return {session["session"] for session in listed}


@pytest.mark.parametrize(
    ("variables", "pairs"),
    [
        (["AIRFLOW=3.2.2", "PYTHON=python3.12"], {"matrix(3.2.2-python3.12)"}),
        (["PYTHON=python3.12"], {f"matrix({one}-python3.12)" for one in ("3.0.6", "3.3.2", "3.4.0b2")}),
        (["AIRFLOW=3.1.8"], {f"matrix(3.1.8-python3.{minor})" for minor in (11, 12, 13, 14)}),
        (["AIRFLOW=2.11.0"], set()),
    ],
)
def test_variables_select_pairs(variables: list[str], pairs: set[str]) -> None:
    assert selected(*variables) == pairs


def test_what_the_matrix_runs_is_what_the_provider_believes_to_be_tested(noxfile: ModuleType) -> None:
    assert tuple(noxfile.RELEASES) == TESTED


def test_before_a_release_every_airflow_is_run_and_the_newest_two_on_every_python(
    noxfile: ModuleType,
) -> None:
    pairs = selected()

    assert {f"matrix({airflow}-python3.11)" for airflow in noxfile.RELEASES} <= pairs
    newest = list(noxfile.RELEASES)[-2:]
    assert {f"matrix({airflow}-python{python})" for airflow in newest for python in noxfile.PYTHONS} <= pairs


def test_a_python_that_is_not_there_is_named_and_left_out(noxfile: ModuleType) -> None:
    other = next(python for python in noxfile.PYTHONS if python != HERE)

    ran = nox("--tags", "3.3.2", "--python", other, "--install-only", PATH="/nowhere")

    assert f"Python interpreter {other} not found" in ran.stdout + ran.stderr


def test_airflows_have_their_turn_beside_the_one_that_make_test_uses(noxfile: ModuleType) -> None:
    turns = [noxfile.in_turn(number) for number in range(2 * len(noxfile.RELEASES))]

    assert set(turns) == set(noxfile.RELEASES) - {version("apache-airflow")}


def test_a_report_is_counted(noxfile: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_all.py").write_text(
        """
import pytest
@pytest.fixture
def broken(): raise RuntimeError
def test_one(): pass
def test_two(): pass
def test_fails(): assert False
def test_breaks(broken): pass
def test_is_skipped(): pytest.skip("not here")
"""
    )
    report = tmp_path / "report.xml"
    pytest_ = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        str(tmp_path),
    ]
    subprocess.run(pytest_, cwd=tmp_path, capture_output=True, check=False)

    assert noxfile.count(report) == {"passed": 2, "failed": 2, "skipped": 1}


@pytest.fixture
def record(noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put results into an empty record."""
    monkeypatch.setattr(noxfile, "RESULTS", tmp_path / "compatibility.json")

    def record(pair: str, python: str, suite: str, **counts: int) -> None:
        noxfile.record(pair, python, suite, {"passed": 0, "failed": 0, "skipped": 0} | counts)

    return record


def test_a_suite_that_runs_again_replaces_its_own_result_only(
    noxfile: ModuleType, record: Callable[..., None]
) -> None:
    record("3.1.8-python3.11", "3.11.7", "unit", passed=1)
    record("3.2.2-python3.11", "3.11.7", "unit", passed=2)
    record("3.2.2-python3.11", "3.11.7", "live", failed=3)
    record("3.2.2-python3.11", "3.11.8", "live", passed=4)

    passed = {
        pair: {suite: row[suite]["passed"] for suite in noxfile.SUITES if suite in row}
        for pair, row in noxfile.results().items()
    }
    assert passed == {"3.1.8-python3.11": {"unit": 1}, "3.2.2-python3.11": {"unit": 2, "live": 4}}
    assert noxfile.results()["3.2.2-python3.11"]["python"] == "3.11.8"


def test_the_table_has_what_was_run_and_names_what_was_not(
    noxfile: ModuleType, record: Callable[..., None]
) -> None:
    record("3.1.8-python3.11", "3.11.7", "demo", passed=1)
    record("3.1.8-python3.11", "3.11.7", "unit", passed=1234, failed=5, skipped=6)
    record("3.2.2-python3.13", "3.13.0", "sandbox", passed=7)

    table = noxfile.table(noxfile.results())

    assert "| 3.1.8 | 3.11.7 | 1 passed | 1,234 passed, 5 failed, 6 skipped | not run |" in table
    assert "| 3.2.2 | 3.13.0 | not run | not run | 7 passed |" in table
    assert "Not run: 3.0.6 on Python 3.11, 3.0.6 on Python 3.12, 3.2.2 on Python 3.11, 3.3.2" in table


def test_the_page_is_made_from_the_results(noxfile: ModuleType) -> None:
    assert noxfile.PAGE.read_text() == noxfile.page(noxfile.results()), "nox --session compatibility makes it"


def test_the_ci_workflow_runs_every_pair_of_a_release(noxfile: ModuleType) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    pairs = workflow["jobs"]["matrix"]["strategy"]["matrix"]["include"]

    assert [(pair["airflow"], pair["python"]) for pair in pairs] == [
        (airflow, python) for airflow, release in noxfile.RELEASES.items() for python in release.pythons
    ]
