"""Airflow's metrics in the processes of the server, and how they are kept from breaking what they measure.

======  =====================================================================================================
3.0-3.2 ``airflow.stats.Stats``
3.3     ``airflow.observability.stats`` with ``incr``, ``timing``, ``gauge``; the task SDK has an instance of its own,
        which the API server does not initialize.
======  =====================================================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

log = logging.getLogger(__name__)


@cache
def server_stats() -> Any:
    """Give what the API server and commands report metrics to."""
    try:
        from airflow.observability import stats
    except ImportError:
        from airflow.stats import Stats

        return Stats
    return stats


@contextmanager
def harmless() -> Iterator[None]:
    """Keep what goes wrong with a metric from what is measured: a backend may be down or set up wrongly."""
    try:
        yield
    except Exception as error:
        _warn_once(type(error).__name__)


@cache
def _warn_once(kind: str) -> None:
    # Once for each kind of failure: there is a metric for each request.
    log.warning("Metrics cannot be reported to Airflow (%s); the work goes on without them.", kind)
