"""Airflow's home folder. The same in 3.0 to 3.4."""

from __future__ import annotations

from pathlib import Path


def airflow_home() -> Path:
    """Name the folder."""
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME)
