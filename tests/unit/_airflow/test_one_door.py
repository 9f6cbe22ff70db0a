"""What Airflow does not promise is imported in one place: `ruff` refuses it everywhere else."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("ruff", reason="a check of this repository, not of the package")

ROOT = Path(__file__).parents[3]
PROMISED = {"configuration", "exceptions", "plugins_manager", "providers", "sdk", "triggers", "version"}
PROMISED_OF_SDK = {"bases", "exceptions", "log", "timezone", "types"}
VIOLATIONS = [
    "from airflow.models.xcom import XComModel",
    "from airflow.models import Variable",
    "import airflow.settings",
    "from airflow import settings",
    "from airflow.utils.session import create_session",
    "from airflow.utils.sqlalchemy import UtcDateTime",
    "from airflow.api_fastapi.app import get_auth_manager",
    "from airflow.jobs.job import Job",
    "from airflow.secrets.metastore import MetastoreBackend",
    "from airflow.serialization.serialized_objects import SerializedDAG",
    "from airflow.dag_processing.dagbag import DagBag",
    "from airflow.configuration import AIRFLOW_HOME",
    "from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS",
    "from airflow.sdk.definitions._internal.contextmanager import DagContext",
    "from airflow.sdk.bases.xcom import BaseXCom",
    "def in_a_function(): from airflow.models import Trigger",
    "if TYPE_CHECKING: from airflow.models.dag import DagModel",
    "def underscore(ti): return ti._ti_context_from_server",
]
PROMISES = [
    "from airflow.sdk import DAG, XComArg",
    "from airflow.sdk.log import mask_secret",
    "from airflow.configuration import conf",
    "from airflow.plugins_manager import AirflowPlugin",
    "from airflow.triggers.base import BaseTrigger",
    "from airflow.providers.common.compat.sdk import BaseHook",
]


def refused(lines: list[str], path: str) -> list[str]:
    """Give the lines that `ruff` refuses in a file of this repository."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=json"]
    done = subprocess.run(
        [*command, f"--stdin-filename={path}", "-"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    found = [one["location"]["row"] for one in json.loads(done.stdout) if one["code"] in ("TID251", "SLF001")]
    return [lines[row - 1] for row in sorted(set(found))]


@pytest.mark.parametrize("folder", ["calls", "receiver", "testing"])
def test_what_is_not_promised_is_refused(folder: str) -> None:
    assert refused(VIOLATIONS, f"airflow_provider_b24/{folder}/new.py") == VIOLATIONS


def test_it_may_be_used_behind_the_door() -> None:
    assert refused(VIOLATIONS, "airflow_provider_b24/_airflow/new.py") == []


def test_what_is_promised_may_be_used_everywhere() -> None:
    assert refused(PROMISES, "airflow_provider_b24/receiver/new.py") == []


@pytest.mark.parametrize(
    ("package", "promised"),
    [pytest.param("airflow", PROMISED, id="airflow"), pytest.param("airflow.sdk", PROMISED_OF_SDK, id="sdk")],
)
def test_no_part_of_airflow_is_forgotten(package: str, promised: set[str]) -> None:
    """Also where Airflow is newer than the list."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    banned = settings["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    folder = Path(str(importlib.import_module(package).__file__)).parent
    parts = {
        entry.stem
        for entry in folder.iterdir()
        if (entry.suffix == ".py" or (entry / "__init__.py").exists()) and not entry.stem.startswith("__")
    }
    assert {part for part in parts - promised if f"{package}.{part}" not in banned} == set()
