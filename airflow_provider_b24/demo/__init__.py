"""The whole loop on one machine, as a story: a robot calls, a DAG works and waits, the process gets its answer."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_b24.demo.story import run

__all__ = ["example_dags", "run"]


def example_dags() -> Path:
    """Find the folder of example DAGs: in a checkout, else where the wheel put them."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "example_dags"
    return checkout if checkout.is_dir() else package / "example_dags"
