"""Airflow metrics of what goes over the wire.

========================  =======  ====================================================================
``bitrix24.calls``        counter  HTTP requests, with the tag ``method``
``bitrix24.request``      timer    how long each took, with the tag ``method``
``bitrix24.batches``      counter  requests that carried a batch
``bitrix24.batch_calls``  counter  calls that travelled in them
``bitrix24.retries``      counter  repeated requests, with the tag ``cause`` (``rate_limit``,
                                   ``operating_time``, ``transport``, ``server``, ``locked``,
                                   ``expired_token``, ``credentials``, ``moved``)
``bitrix24.waited``       timer    waits before a request, with the tag ``cause`` (``rate_limit``,
                                   ``operating_time``, ``retry``)
``bitrix24.refreshes``    counter  token pairs fetched from the authorization server
========================  =======  ====================================================================

All carry the tag ``portal``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow_provider_b24._airflow.metrics import harmless
from airflow_provider_b24.rest.observer import Observer


class AirflowMetrics(Observer):
    """Reports to Airflow's ``Stats``.

    :param portal: host of the portal, for the tag.
    """

    def __init__(self, portal: str) -> None:
        from airflow.providers.common.compat.sdk import Stats

        self._stats = Stats
        self._tags = {"portal": portal}

    def on_request(
        self,
        method: str,
        portal: str,
        duration: float,
        attempt: int,
        status: int | None,
        operating: float | None,
    ) -> None:
        """Count and time a request."""
        tags = self._tags | {"method": method}
        with harmless():
            self._stats.incr("bitrix24.calls", tags=tags)
            self._stats.timing("bitrix24.request", timedelta(seconds=duration), tags=tags)

    def on_retry(self, cause: str) -> None:
        """Count a repetition."""
        with harmless():
            self._stats.incr("bitrix24.retries", tags=self._tags | {"cause": cause})

    def on_wait(self, seconds: float, cause: str) -> None:
        """Time a wait."""
        tags = self._tags | {"cause": cause}
        with harmless():
            self._stats.timing("bitrix24.waited", timedelta(seconds=seconds), tags=tags)

    def on_refresh(self) -> None:
        """Count a refresh."""
        with harmless():
            self._stats.incr("bitrix24.refreshes", tags=self._tags)

    def on_batch(self, size: int) -> None:
        """Count a batch and its calls."""
        with harmless():
            self._stats.incr("bitrix24.batches", tags=self._tags)
            self._stats.incr("bitrix24.batch_calls", count=size, tags=self._tags)
