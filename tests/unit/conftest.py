"""What unit tests share."""

from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def serde() -> ModuleType:
    """Airflow's serializer of XComs and the arguments of triggers, which has moved."""
    try:
        from airflow.sdk import serde
    except ImportError:
        from airflow.serialization import serde
    return serde
