"""Calls from a real triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import SandboxPortal
    from airflow_provider_b24.testing.local_airflow import LocalAirflow

DAG_ID = "deferred_calls"
SECONDS = 180


@pytest.fixture(scope="module")
def run(live_airflow: LocalAirflow) -> str:
    """A run whose tasks have all ended."""
    run_id = live_airflow.trigger(DAG_ID)
    for task in ("call", "batch", "rows", "creating"):
        live_airflow.wait_for_task(DAG_ID, run_id, task, ["success"], SECONDS)
    live_airflow.wait_for_task(DAG_ID, run_id, "refused", ["failed"], SECONDS)
    return run_id


def test_results_arrive_as_from_a_worker(live_airflow: LocalAirflow, run: str) -> None:
    assert live_airflow.xcom(DAG_ID, run, "call")["ID"] == "1"
    me, [found] = live_airflow.xcom(DAG_ID, run, "batch")
    assert me["ID"] == found["ID"] == "1"
    assert [row["ID"] for row in live_airflow.xcom(DAG_ID, run, "rows")] == ["1", "2"]


def test_what_must_not_be_made_twice_is_made_once(
    live_airflow: LocalAirflow, live_portal: SandboxPortal, run: str
) -> None:
    number = live_airflow.xcom(DAG_ID, run, "creating")
    assert live_portal.records("lead").get(number)["TITLE"] == "once"
    assert sum("once" in str(request.parameters) for request in live_portal.requests) == 1
