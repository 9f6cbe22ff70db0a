"""What this package adds to Airflow itself: the receiver, pages, the work on calls, the macro for result URLs."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_b24.sensors.result_reference import result_url


@cache
def _receiver() -> Any:
    from airflow_provider_b24.receiver.app import create_app

    return create_app()


@cache
def _pages() -> Any:
    from airflow_provider_b24.pages.app import create_app

    return create_app()


def _serving() -> Any:
    from airflow.configuration import conf

    from airflow_provider_b24.receiver.serving import Serving

    where = conf.get("bitrix24", "dispatcher", fallback="api_server")
    return Serving(_receiver(), dispatches=where == "api_server")


class _MountedApplications:
    """Makes the applications where they are asked for: in the API server, not in every worker that loads plugins.

    Two, because what proxies publish is the receiver, and never the pages.
    """

    def __get__(self, instance: object, owner: type | None = None) -> list[dict[str, Any]]:
        return [
            {"app": _receiver(), "url_prefix": "/bitrix24", "name": "Bitrix24 receiver"},
            {"app": _pages(), "url_prefix": "/bitrix24-pages", "name": "Bitrix24 pages"},
        ]


class _Views:
    """Says where Airflow's UI (3.1 and later) shows the pages."""

    def __init__(self) -> None:
        self._views: list[dict[str, Any]] | None = None

    def __get__(self, instance: object, owner: type | None = None) -> list[dict[str, Any]]:
        if self._views is None:  # the same list each time: Airflow takes out of it what it refuses
            from airflow.configuration import conf

            path = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
            self._views = _views(f"{path}/bitrix24-pages")
        return self._views


def _views(pages: str) -> list[dict[str, Any]]:
    return [
        {
            "name": "Calls",
            "href": f"{pages}/calls",
            "destination": "nav",
            "url_route": "bitrix24_calls",
            "category": "Bitrix24",
        },
        {
            "name": "Robots",
            "href": f"{pages}/robots",
            "destination": "nav",
            "url_route": "bitrix24_robots",
            "category": "Bitrix24",
        },
        {
            "name": "Connections",
            "href": f"{pages}/connections",
            "destination": "nav",
            "url_route": "bitrix24_connections",
            "category": "Bitrix24",
        },
        {
            "name": "Bitrix24 call",
            "href": f"{pages}/run?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "bitrix24_call",
            "applies_to": {"dag.tags.name": ["bitrix24"]},  # read by 3.4; before, every run has the tab
        },
    ]


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
    """Mounts the receiver and the pages, works on calls with the API server.

    Templates get ``macros.bitrix24.result_url(ti)``.
    """

    name = "bitrix24"
    macros = [result_url]  # noqa: RUF012
    fastapi_apps = _MountedApplications()
    external_views = _Views()
    fastapi_root_middlewares = _WorkOnCalls()
