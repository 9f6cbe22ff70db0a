"""What this package adds to Airflow itself: the receiver's routes, the work on calls, the macro for result URLs."""

from __future__ import annotations

from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_b24.sensors.result_reference import result_url


@cache
def _receiver() -> Any:
    from airflow_provider_b24.receiver.app import create_app

    return create_app()


def _serving() -> Any:
    from airflow.configuration import conf

    from airflow_provider_b24.receiver.serving import Serving

    where = conf.get("bitrix24", "dispatcher", fallback="api_server")
    return Serving(_receiver(), dispatches=where == "api_server")


class _MountedReceiver:
    """Makes the application where it is asked for: in the API server, not in every worker that loads plugins."""

    def __get__(self, instance: object, owner: type | None = None) -> list[dict[str, Any]]:
        return [{"app": _receiver(), "url_prefix": "/bitrix24", "name": "Bitrix24 receiver"}]


class _WorkOnCalls:
    """Names the middleware without importing it: only the API server needs what it needs."""

    def __get__(self, instance: object, owner: type | None = None) -> list[dict[str, Any]]:
        from airflow_provider_b24.receiver.serving import ServingWithTheServer

        return [
            {
                "name": "Bitrix24 receiver: the work on calls",
                "middleware": ServingWithTheServer,
                "kwargs": {"serving": _serving},
            }
        ]


class Bitrix24Plugin(AirflowPlugin):
    """Mounts the receiver, works on calls with the API server, gives templates ``macros.bitrix24.result_url(ti)``."""

    name = "bitrix24"
    macros = [result_url]  # noqa: RUF012
    fastapi_apps = _MountedReceiver()
    fastapi_root_middlewares = _WorkOnCalls()
