"""A time limit of Airflow that is over while a portal may be doing what must not be done twice."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowTaskTimeout


class MaybeDoneError(AirflowTaskTimeout):
    """The task's time was over during a call that would create something a second time; it may have been done."""
