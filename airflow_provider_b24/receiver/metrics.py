"""Airflow metrics of the receiver.

==============================  =======  ============================================================
``bitrix24.receiver.requests``  counter  requests, with the tags ``route`` (``robot_call``,
                                         ``result``, ``failure``, ``heartbeat``, ``event``,
                                         ``install``, ``oauth_start``, ``oauth_callback``) and
                                         ``status`` (HTTP)
``bitrix24.receiver.duration``  timer    from a request to its response, with the tag ``route``
==============================  =======  ============================================================
"""

from __future__ import annotations

from datetime import timedelta

from airflow_provider_b24._airflow.metrics import harmless, server_stats


def count_request(route: str, status: int, seconds: float) -> None:
    """Count and time a request.

    :param route: what was asked for, without identifiers.
    """
    with harmless():
        server_stats().incr("bitrix24.receiver.requests", tags={"route": route, "status": str(status)})
        server_stats().timing("bitrix24.receiver.duration", timedelta(seconds=seconds), tags={"route": route})
