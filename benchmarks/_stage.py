"""A portal and a real Airflow with the example DAGs, connected: what the benchmarks of the loop run on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_b24.demo import example_dags
from airflow_provider_b24.sandbox import SandboxPortal
from airflow_provider_b24.testing.local_airflow import LocalAirflow
from airflow_provider_b24.testing.sandbox_connection import oauth_connection


@contextmanager
def stage() -> Iterator[tuple[SandboxPortal, LocalAirflow]]:
    with SandboxPortal() as portal, LocalAirflow(example_dags()) as airflow:
        airflow.add_connection("bitrix24_default", oauth_connection(portal))
        command = [sys.executable, "-m", "airflow_provider_b24.cli", "robots", "apply", "--yes"]
        subprocess.run(command, env=airflow.env, check=True, capture_output=True)
        yield portal, airflow
