"""Metrics reach Airflow's backend also in a process in which Airflow itself has not made one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

REPORT = """
import sys, types

class Client:
    def __init__(self, *_, **__): pass
    def __getattr__(self, kind): return lambda *said, **_: print("told", kind, *said[:2])

sys.modules["statsd"] = types.SimpleNamespace(StatsClient=Client, UnixSocketStatsClient=Client)  # not installed here

from datetime import timedelta
from airflow_provider_b24.calls import metrics
metrics.count_held()
metrics.show_open(7)
metrics.count_started("score", timedelta(seconds=2))
"""


@pytest.fixture
def reported() -> list[str]:
    """What a process of its own reports, whose configuration switches StatsD on."""
    asked = subprocess.run(
        [sys.executable, "-c", REPORT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "AIRFLOW__METRICS__STATSD_ON": "True"},
    )
    return [line.removeprefix("told ") for line in asked.stdout.splitlines() if "bitrix24." in line]


def test_a_process_that_airflow_has_not_prepared_reports(reported: list[str]) -> None:
    assert reported == [
        "incr bitrix24.robot_calls.held 1",
        "gauge bitrix24.robot_calls.open 7",
        "incr bitrix24.robot_calls.started 1",
        "timing bitrix24.robot_calls.start_delay 0:00:02",
    ]
