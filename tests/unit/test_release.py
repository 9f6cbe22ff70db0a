"""What a release consists of besides code: one version everywhere, and a workflow that runs what is said here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

from airflow_provider_b24 import __version__
from airflow_provider_b24.get_provider_info import get_provider_info

ROOT = Path(__file__).parents[2]


def read_yaml(path: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / path).read_text(encoding="utf-8")))


def test_citation_and_changelog_name_the_version() -> None:
    [newest, *_] = re.findall(
        r"^## \[(.+)\]$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert read_yaml("CITATION.cff")["version"] == newest == __version__


def test_no_option_is_newer_than_the_version() -> None:
    options = get_provider_info()["config"]["bitrix24"]["options"]
    newest = max((option["version_added"] for option in options.values()), key=Version)

    assert Version(newest) <= Version(__version__)


def test_the_ci_workflow_runs_what_this_repository_says() -> None:
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]

    assert ".ci/run" in commands
    assert any(command.startswith("make matrix ") for command in commands)
