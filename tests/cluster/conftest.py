"""Where the cluster's tests run: they take minutes, so they must be asked for, or run in CI."""

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
    in_ci = bool(os.environ.get("CI"))
    if not asked_for and not in_ci:
        pytest.skip("it takes minutes: `make cluster`, or `make test ARGS=tests/cluster`")
    try:
        missing_programs()
    except MissingProgramError as error:
        if in_ci:
            raise
        pytest.skip(str(error))
