"""What is for tests of users must not need what only some of them have. That the fixtures work: tests/airflow."""

import subprocess
import sys

import pytest

WITHOUT_PYTEST = """
import sys
sys.modules["pytest"] = None
import airflow_provider_b24.testing.{module}
"""


@pytest.mark.parametrize("module", ["airflow_api", "local_airflow", "sandbox_connection"])
def test_only_the_fixtures_need_pytest(module: str) -> None:
    program = WITHOUT_PYTEST.format(module=module)

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_fixtures_do_need_pytest() -> None:
    program = WITHOUT_PYTEST.format(module="fixtures")

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert "import of pytest halted" in done.stderr
