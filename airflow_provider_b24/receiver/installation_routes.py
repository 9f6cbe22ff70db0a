"""The routes that Bitrix24 posts installations to: events, and the page in its frame."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request  # noqa: TC002 - FastAPI resolves annotations here at run time
from fastapi.responses import JSONResponse, Response

from airflow_provider_b24.receiver.answers import RefusedError
from airflow_provider_b24.receiver.install_page import page, refusal_page
from airflow_provider_b24.receiver.installation import Installations, is_event
from airflow_provider_b24.receiver.portals import find_connection

if TYPE_CHECKING:
    from airflow_provider_b24.receiver.desk import Desk
    from airflow_provider_b24.receiver.installation import Taken


def add_installation_routes(app: FastAPI, desk: Desk, installations: Installations) -> None:
    """Add ``POST /{conn_id}/events`` and ``POST /{conn_id}/install``."""

    async def event(conn_id: str, body: bytes) -> Response:
        answer = await desk.in_thread(partial(installations.take_event, conn_id, body))
        return JSONResponse(dict(answer.body), answer.status)

    @app.post("/{conn_id}/events")
    async def take_event(conn_id: str, request: Request) -> Response:
        """Take an event of the application's own life: installed, updated, uninstalled, tested."""

        async def work() -> Response:
            return await event(conn_id, await desk.body_of(request))

        return await desk.do("event", work, _as_json)

    @app.post("/{conn_id}/install")
    async def open_page(conn_id: str, request: Request) -> Response:
        """Show the page that finishes the installation; take the event of an application without pages."""

        async def work() -> Response:
            body = await desk.body_of(request)
            if await desk.in_thread(partial(is_event, body)):
                return await event(conn_id, body)
            try:
                taken = await desk.in_thread(partial(installations.take_page, conn_id, body))
            except RefusedError as error:
                # A refusal, too, is read by a person in the portal's frame.
                return refusal_page(error, await desk.in_thread(partial(_portal_url, conn_id)))
            return _installed(taken)

        return await desk.do("install", work, _as_json)


def _portal_url(conn_id: str) -> str | None:
    found = find_connection(conn_id)
    return found.portal_url if found else None


def _installed(taken: Taken) -> Response:
    return page(
        "Airflow is connected",
        [
            f"The application is installed. Airflow's connection {taken.connection.conn_id} uses it on behalf of "
            f"{taken.connected.user}.",
            *taken.problems,
            "Robots appear after airflow-b24 robots apply.",
        ],
        portal_url=taken.connection.portal_url,
        finish=True,
    )


def _as_json(error: RefusedError) -> Response:
    return JSONResponse(error.body, error.status)
