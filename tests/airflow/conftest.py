"""What tests need of Airflow: a metadata database and a receiver in this process, or one real Airflow for all."""

from __future__ import annotations

import pytest

from .fixtures.dags import *
from .fixtures.databases import *
from .fixtures.installation import *
from .fixtures.live import *
from .fixtures.receiver import *

SHARED = ("mortal_airflow", "live_airflow")
"""Each is an Airflow for several tests, which one worker runs one after another."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, which are the tests that wait for an Airflow."""

    def shared(item: pytest.Item) -> str:
        return next((name for name in SHARED if name in getattr(item, "fixturenames", ())), "")

    for item in items:
        if name := shared(item):
            item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=lambda item: SHARED.index(name) if (name := shared(item)) else len(SHARED))
