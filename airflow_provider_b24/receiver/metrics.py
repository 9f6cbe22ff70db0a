"""Airflow metrics of the receiver.

=================================  =======  =================================================================
``bitrix24.receiver.requests``     counter  requests, with the tags ``route`` and ``status`` (HTTP)
``bitrix24.receiver.duration``     timer    from the first byte of a request to its answer, tag ``route``
``bitrix24.receiver.spooled``      counter  calls kept in the spool because the database was away
``bitrix24.receiver.replayed``     counter  calls taken from the spool, tag ``outcome``
``bitrix24.receiver.spool_depth``  gauge    calls waiting in the spool of this machine
=================================  =======  =================================================================
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from airflow_provider_b24.hooks.metrics import harmless


@cache
def _stats() -> Any:
    # The API server initializes the core's instance; the task SDK has another one.
    try:
        from airflow.observability import stats
    except ImportError:
        from airflow.stats import Stats

        return Stats
    return stats


def count_request(route: str, status: int, seconds: float) -> None:
    """Count and time a request.

    :param route: what was asked for, without identifiers.
    """
    with harmless():
        _stats().incr("bitrix24.receiver.requests", tags={"route": route, "status": str(status)})
        _stats().timing("bitrix24.receiver.duration", timedelta(seconds=seconds), tags={"route": route})


def count_spooled() -> None:
    """Count a call that was kept."""
    with harmless():
        _stats().incr("bitrix24.receiver.spooled")


def count_replayed(outcome: str) -> None:
    """Count a call that left the spool."""
    with harmless():
        _stats().incr("bitrix24.receiver.replayed", tags={"outcome": outcome})


def show_spool_depth(depth: int) -> None:
    """Tell how many calls wait."""
    with harmless():
        _stats().gauge("bitrix24.receiver.spool_depth", depth)
