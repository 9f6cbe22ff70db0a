"""Which Airflow this is: for what differs by version and cannot be seen otherwise."""

from __future__ import annotations

from functools import cache


@cache
def airflow_version() -> tuple[int, int]:
    """Give the first two numbers of Airflow's version, such as ``(3, 4)``."""
    from airflow import __version__

    major, minor = __version__.split(".")[:2]
    return int(major), int(minor)
