"""The reference pages: they are those that the code makes, and what the code does not list is in a guide."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from airflow_provider_b24.calls.table import STATES
from airflow_provider_b24.exceptions import InstallationRefusedError
from airflow_provider_b24.hooks.connection_type import CONN_FIELDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("references", DOCS / "references.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


references = load()


def calls_in(folder: str) -> list[tuple[str, ast.Call]]:
    """Every call in the code below a folder of the package, with the name of what is called."""
    found = []
    for file in (ROOT / "airflow_provider_b24" / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                function = node.func
                name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                found.append((name, node))
    return found


def texts(call: ast.Call) -> list[str]:
    return [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def rows(*pages: str) -> str:
    """The rows of the tables of some pages."""
    lines = [line for page in pages for line in (DOCS / page).read_text(encoding="utf-8").splitlines()]
    return "\n".join(line for line in lines if line.startswith("|"))


def test_the_pages_are_as_the_code_makes_them_and_there_is_no_other() -> None:
    made = references.pages()
    there = {file.name: file.read_text(encoding="utf-8") for file in (DOCS / "reference").iterdir()}

    assert there.keys() == made.keys()
    assert [name for name, text in made.items() if there[name] != text] == [], "run `make references`"


def test_the_file_for_the_airflow_registry_is_as_the_code_makes_it() -> None:
    assert (ROOT / ".airflow-registry.yaml").read_text(encoding="utf-8") == references.registry(), (
        "run `make references`"
    )


def test_every_metric_that_the_code_reports_is_listed() -> None:
    reported = {
        text
        for name, call in calls_in("")
        if name in {"incr", "timing", "gauge"}
        for text in texts(call)
        if text.startswith("bitrix24.")
    }
    listed = {name for module, _ in references.METRICS.values() for name, *_ in references.metrics_of(module)}

    assert listed == reported


def test_every_state_of_a_call_is_explained() -> None:
    explained = rows("calls.md")

    assert [state for state in STATES if f"| `{state}` |" not in explained] == []


def test_every_field_of_a_connection_is_explained() -> None:
    explained = rows("connection.md")

    assert [field for field in CONN_FIELDS if f"| `{field}` |" not in explained] == []


def test_every_exception_is_explained() -> None:
    kinds = [kind for kind in references.error_kinds() if kind is not InstallationRefusedError]
    explained = rows("rest.md")

    assert [kind.__name__ for kind in kinds if f"`{kind.__name__}`" not in explained] == []


def test_every_refusal_of_the_receiver_is_explained() -> None:
    said = {
        text
        for name, call in calls_in("receiver") + calls_in("installation")
        if name in {"RefusedError", "refusal"}
        for text in texts(call)
        if re.fullmatch("[a-z_]+", text)
    }
    said |= set(re.findall("``([a-z_]+)``", InstallationRefusedError.__doc__ or "")) - {"code"}
    explained = rows("receiver.md", "external-results.md", "installation.md")

    assert "forged" in said
    assert [word for word in sorted(said) if f"`{word}`" not in explained] == []
