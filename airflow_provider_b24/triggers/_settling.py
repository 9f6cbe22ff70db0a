"""How long a task that was just deferred is left alone."""

from __future__ import annotations

import asyncio
import time

SETTLING_SECONDS = 5.0
"""Seconds after its deferral during which nothing resumes a task.

The scheduler hears of the end of the deferring process after the task is deferred already. If the task runs
again by then, the scheduler takes the old process's end for the new one's, and fails the task
(https://github.com/apache/airflow/issues/72716).
"""


async def settled(since: float) -> None:
    """Wait until a task may be resumed.

    :param since: when its trigger began, by ``time.monotonic()``.
    """
    await asyncio.sleep(max(0.0, since + SETTLING_SECONDS - time.monotonic()))
