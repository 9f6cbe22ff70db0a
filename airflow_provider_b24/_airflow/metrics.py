"""Airflow's metrics in the processes of the server, and how they are kept from breaking what they measure.

=======  ====================================================================================================
3.0-3.1  ``airflow.stats.Stats``, which reads the configuration when it is first used.
3.2      ``airflow.observability.stats`` has ``Stats`` only. It tells nobody anything until a process has called
         its ``initialize``, and the API server does not.
3.3      ``airflow.observability.stats`` has ``incr``, ``timing`` and ``gauge``, too. The API server initializes
         them, a command of ours does not.
=======  ====================================================================================================

The task SDK has an instance of its own since 3.2. The paths for 3.0 to 3.2 may go when the provider needs 3.3.
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
    """Give what the API server and commands report metrics to, ready for it."""
    try:
        from airflow.observability import stats
    except ImportError:
        from airflow.stats import Stats

        return Stats
    return _initialized_functions(stats) if hasattr(stats, "incr") else _initialized_class(stats.Stats)


def _initialized_class(stats: Any) -> Any:
    """Airflow 3.2."""
    from airflow.observability.metrics import stats_utils

    if stats.factory is None:
        stats.initialize(factory=stats_utils.get_stats_factory(stats))  # type: ignore[call-arg]
    return stats


def _initialized_functions(stats: Any) -> Any:
    """Airflow 3.3 and later."""
    from airflow._shared.observability.metrics import stats as state
    from airflow.configuration import conf
    from airflow.observability.metrics import stats_utils

    if state._factory is None:
        stats.initialize(
            factory=stats_utils.get_stats_factory(),
            export_legacy_names=conf.getboolean("metrics", "legacy_names_on"),
        )
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
