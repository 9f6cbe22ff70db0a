"""Where the cluster's tests run: they take minutes and both cores, so they must be asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.cluster import MissingProgramError, missing_programs

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def a_cluster_can_be_run(request: pytest.FixtureRequest) -> None:
    """Skip where it is not asked for, or something is missing; in CI nothing may be missing."""
    asked_for = any(
        Path(argument.split("::")[0]).resolve() == HERE
        or HERE in Path(argument.split("::")[0]).resolve().parents
        for argument in request.config.args
    )
    if not asked_for:
        pytest.skip("it takes minutes: `make cluster`, or `make test ARGS=tests/cluster`")
    try:
        missing_programs()
    except MissingProgramError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
