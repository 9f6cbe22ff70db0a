"""The sandbox stands alone: a misunderstanding elsewhere must not hide in its own mirror."""

from __future__ import annotations

import subprocess
import sys


def test_the_sandbox_imports_neither_airflow_nor_the_rest_of_the_package() -> None:
    program = (
        "import sys, airflow_provider_b24.sandbox, airflow_provider_b24.sandbox.inspection, "
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
