"""When a sensor pokes next: a method of Airflow's sensors that has no public name. The same in 3.0 to 3.4."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import BaseSensorOperator


class PunctualSensor(BaseSensorOperator):
    """Pokes at an instant that ``poke`` names in ``poke_again_by``, and not up to a ``poke_interval`` later."""

    poke_again_by: float | None = None
    """Unix time in seconds; ``None`` for as usual."""

    def _get_next_poke_interval(
        self, started_at: Any, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        interval = float(super()._get_next_poke_interval(started_at, run_duration, poke_count))
        if self.poke_again_by is None:
            return interval
        return max(min(interval, self.poke_again_by - time.time()), 0.0)
