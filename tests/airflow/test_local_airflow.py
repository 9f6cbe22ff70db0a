"""A local Airflow keeps going when one of its parts does not."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from airflow_provider_b24.testing.airflow_api import wait_until

if TYPE_CHECKING:
    from airflow_provider_b24.testing.local_airflow import LocalAirflow

SECONDS = 180


@pytest.mark.filterwarnings("ignore:Airflow's triggerer has ended")
def test_a_triggerer_that_is_killed_is_started_again_and_its_tasks_go_on(live_airflow: LocalAirflow) -> None:
    run_id = live_airflow.trigger("sleepers", run_id="sleeps")
    live_airflow.wait_for_task("sleepers", run_id, "sleep", ["deferred"], SECONDS)
    killed = live_airflow.processes()["triggerer"]

    for process in killed:
        os.kill(process, signal.SIGKILL)

    assert wait_until(lambda: bool(set(live_airflow.processes()["triggerer"]) - set(killed)), SECONDS)
    live_airflow.wait_for_run("sleepers", run_id, timeout=SECONDS)
