"""Waiting for external results in a real Airflow: with its scheduler, its triggerer and its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
import requests

if TYPE_CHECKING:
    from airflow_provider_b24.testing.local_airflow import LocalAirflow

DAG_ID = "external_results"
MODES = ("deferrable", "poke", "reschedule")
WAITING = ("deferred", "running", "up_for_reschedule", "scheduled", "queued")
SECONDS = 180


def post(url: str, body: Any) -> int:
    return requests.post(url, json=body, timeout=30).status_code


def return_value(airflow: LocalAirflow, run_id: str, task_id: str, map_index: int = -1) -> Any:
    path = f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    return airflow.request("GET", path, map_index=map_index, stringify="false")["value"]


@pytest.fixture(scope="module")
def finished_run(live_airflow: LocalAirflow) -> str:
    """A run whose tasks waited until they really waited, then got their results."""
    run_id = live_airflow.trigger(DAG_ID, run_id="waits")
    live_airflow.wait_for_task(DAG_ID, run_id, "wait_deferrable", ["deferred"], SECONDS)
    live_airflow.wait_for_task(DAG_ID, run_id, "wait_each", ["deferred"], SECONDS)
    for mode in MODES:
        task = live_airflow.wait_for_task(DAG_ID, run_id, f"wait_{mode}", WAITING, SECONDS)
        assert task["state"] != "success"
        live_airflow.wait_for_task(DAG_ID, run_id, f"hand_out_{mode}", ["success"], SECONDS)
        url = return_value(live_airflow, run_id, f"hand_out_{mode}")
        assert post(url + "/heartbeat", None) == 202
        assert post(url, {"score": 7, "by": mode}) == 202
    first, second = (return_value(live_airflow, run_id, "hand_out_each", index) for index in (0, 1))
    assert post(first, {"score": 0}) == 202
    assert post(second + "/fail", {"message": "no paper"}) == 202
    live_airflow.wait_for_run(DAG_ID, run_id, timeout=SECONDS)
    return run_id


@pytest.mark.parametrize("mode", MODES)
def test_the_result_is_what_the_waiting_task_returns(
    live_airflow: LocalAirflow, finished_run: str, mode: str
) -> None:
    assert return_value(live_airflow, finished_run, f"wait_{mode}") == {"score": 7, "by": mode}


def test_a_result_that_comes_while_its_url_is_still_being_handed_out_is_kept(
    live_airflow: LocalAirflow, finished_run: str
) -> None:
    assert return_value(live_airflow, finished_run, "wait_early") == {"score": 1}


def test_mapped_tasks_wait_for_one_result_each(live_airflow: LocalAirflow, finished_run: str) -> None:
    assert return_value(live_airflow, finished_run, "wait_each", 0) == {"score": 0}
    path = f"dags/{DAG_ID}/dagRuns/{finished_run}/taskInstances/wait_each/1"
    assert live_airflow.request("GET", path)["state"] == "skipped"


def test_clearing_the_task_that_handed_the_url_out_begins_anew(
    live_airflow: LocalAirflow, finished_run: str
) -> None:
    old_url = return_value(live_airflow, finished_run, "hand_out_deferrable")
    assert post(old_url, {"score": 8}) == 409
    live_airflow.request(
        "POST",
        f"dags/{DAG_ID}/clearTaskInstances",
        {
            "dag_run_id": finished_run,
            "task_ids": ["hand_out_deferrable"],
            "include_downstream": True,
            "only_failed": False,
            "dry_run": False,
        },
    )
    live_airflow.wait_for_task(DAG_ID, finished_run, "wait_deferrable", ["deferred"], SECONDS)
    assert post(return_value(live_airflow, finished_run, "hand_out_deferrable"), {"score": 9}) == 202
    live_airflow.wait_for_run(DAG_ID, finished_run, timeout=SECONDS)
    assert return_value(live_airflow, finished_run, "wait_deferrable") == {"score": 9}


def test_no_reference_shows_in_what_the_receiver_and_the_tasks_log(
    live_airflow: LocalAirflow, finished_run: str
) -> None:
    url = return_value(live_airflow, finished_run, "hand_out_poke")
    logs = {
        # Not of the scheduler: the copy of tasks' logs that it prints is not masked by Airflow.
        "receiver": unquote(live_airflow.tail(1_000_000, "api-server")),  # uvicorn quotes `***`
        "task": live_airflow.task_log(DAG_ID, finished_run, "hand_out_poke"),
    }
    for log in logs.values():
        assert "/bitrix24/results/***" in log
        assert url.rpartition("/")[2] not in log
