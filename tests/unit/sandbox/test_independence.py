"""The sandbox stands alone: a misunderstanding elsewhere must not hide in its own mirror."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import airflow_provider_b24.sandbox


def test_the_sandbox_imports_neither_airflow_nor_the_rest_of_the_package() -> None:
    program = (
        "import sys, airflow_provider_b24.sandbox, airflow_provider_b24.sandbox.control, "
        "airflow_provider_b24.sandbox.serve\n"
        "print(*sorted(m for m in sys.modules if m.partition('.')[0] in ('airflow', 'airflow_provider_b24')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "airflow_provider_b24.sandbox.portal" in loaded
    assert [name for name in loaded if not name.startswith("airflow_provider_b24.sandbox")] == [
        "airflow_provider_b24"
    ]


def test_no_module_of_the_sandbox_needs_itself_not_even_for_types() -> None:
    root = Path(airflow_provider_b24.sandbox.__file__).parent
    paths = {_module(path.relative_to(root)): path for path in root.rglob("*.py")}
    needs = {module: _imports(path, set(paths)) - {module} for module, path in paths.items()}
    assert needs["airflow_provider_b24.sandbox.portal"]
    TopologicalSorter(needs).prepare()  # raises CycleError, which names the circle


def _module(path: Path) -> str:
    return ".".join(["airflow_provider_b24.sandbox", *path.with_suffix("").parts]).removesuffix(".__init__")


def _imports(path: Path, modules: set[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{name.name}" for name in node.names}
            found |= whole & modules or {node.module} & modules
    return found
