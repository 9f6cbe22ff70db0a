"""The FastAPI application that is mounted at ``/bitrix24``: routes, and the border between async and blocking work.

Airflow does not authenticate requests to it. Every route proves its caller itself: robot calls by the portal's
application token, results by a signed reference.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from airflow_provider_b24._airflow.database import DatabaseHangsError, is_away
from airflow_provider_b24.calls.intake import DATABASE_SECONDS, Intake
from airflow_provider_b24.calls.spool import Spool, default_folder
from airflow_provider_b24.hooks.installations import on_installation_changed
from airflow_provider_b24.receiver import metrics, results
from airflow_provider_b24.receiver.access_log import ConcealedReferences
from airflow_provider_b24.receiver.answers import Answer, RefusedError, anonymous, unavailable
from airflow_provider_b24.receiver.bodies import MAX_BODY_BYTES, MAX_BODY_SECONDS, Bodies
from airflow_provider_b24.receiver.patience import Patience
from airflow_provider_b24.receiver.portals import Portals
from airflow_provider_b24.receiver.robot_calls import RobotCalls

log = logging.getLogger(__name__)

_THREADS = 8
_QUEUE = 200
_RESULT_SECONDS = 10.0

Work = Callable[[bytes], Awaitable[Answer]]


def create_app(
    *,
    spool_folder: Path | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_body_seconds: float = MAX_BODY_SECONDS,
    database_seconds: float = DATABASE_SECONDS,
) -> FastAPI:
    """Make the receiver.

    ``app.state.intake`` and ``app.state.portals`` are there for whoever serves the application.

    :param spool_folder: where calls are kept while the database is away; by default ``[bitrix24] spool_folder``.
    :param max_body_bytes: longest accepted body.
    :param max_body_seconds: longest time a body may take to arrive.
    :param database_seconds: how long a call waits for Airflow's database.
    """
    app = FastAPI(
        title="Bitrix24 receiver",
        description="Robot calls of Bitrix24 and results of external workers.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_middleware(ConcealedReferences)
    intake, portals = (
        Intake(Spool(spool_folder or default_folder()), database_seconds=database_seconds),
        Portals(),
    )
    robot_calls = RobotCalls(intake, portals)
    app.state.intake, app.state.portals = intake, portals
    on_installation_changed(portals.forget)
    bodies = Bodies(max_bytes=max_body_bytes, max_seconds=max_body_seconds)
    # Own threads: a database that hangs must not take those of Airflow's user interface.
    patience = Patience("bitrix24-receiver", threads=_THREADS, seconds=_RESULT_SECONDS, queue=_QUEUE)

    async def do(request: Request, route: str, work: Work) -> JSONResponse:
        began = time.monotonic()
        answer: Answer | RefusedError
        try:
            async with bodies.reading(request) as body:
                answer = await work(body)
        except RefusedError as refusal:
            answer = refusal
        except Exception as error:
            answer = _refusal_for(error)
        metrics.count_request(route, answer.status, time.monotonic() - began)
        return JSONResponse(dict(answer.body), answer.status)

    async def patiently(work: Callable[[bytes], Answer], body: bytes) -> Answer:
        try:
            return await patience.ado(partial(work, body))
        except DatabaseHangsError:
            log.error("Airflow's database hangs, or is too slow for all that is asked of it.")
            raise unavailable() from None

    @app.post("/{conn_id}/robots/{dag_id}", status_code=202)
    async def robot_call(conn_id: str, dag_id: str, request: Request) -> JSONResponse:
        """Put a robot call of Bitrix24 (form-encoded) on record."""
        return await do(request, "robot_call", partial(robot_calls.take, conn_id, dag_id))

    @app.post("/{conn_id}/robots/{dag_id}/{prefix}", status_code=202)
    async def dev_robot_call(conn_id: str, dag_id: str, prefix: str, request: Request) -> JSONResponse:
        """Put a call of a robot on record that `airflow-b24 dev` has registered under a prefix."""
        return await do(request, "robot_call", partial(robot_calls.take, conn_id, dag_id, prefix=prefix))

    @app.post("/results/{reference}", status_code=202)
    async def result(reference: str, request: Request) -> JSONResponse:
        """Take the result of an external worker, a JSON object."""
        return await do(request, "result", partial(patiently, partial(results.deliver_result, reference)))

    @app.post("/results/{reference}/fail", status_code=202)
    async def failure(reference: str, request: Request) -> JSONResponse:
        """Take the failure report of an external worker, ``{"message": "..."}``."""
        return await do(request, "failure", partial(patiently, partial(results.deliver_failure, reference)))

    @app.post("/results/{reference}/heartbeat", status_code=202)
    async def heartbeat(reference: str, request: Request) -> JSONResponse:
        """Take a sign of life of an external worker; the body is ignored."""

        def note(_body: bytes) -> Answer:
            return results.note_heartbeat(reference)

        return await do(request, "heartbeat", partial(patiently, note))

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Say that the receiver is up."""
        return {"status": "healthy"}

    # Imported here: what it needs of the receiver (refusals, bodies, connections) lies beside this module.
    from airflow_provider_b24.installation.routes import add_installation_routes

    add_installation_routes(app, _refusal_for, bodies)

    @app.exception_handler(HTTPException)
    async def no_such_route(_request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 405:
            refusal = RefusedError(405, "wrong_method", "The receiver knows this route by another method.")
        else:
            refusal = RefusedError(error.status_code, "unknown_route", "The receiver has no such route.")
        return JSONResponse(refusal.body, refusal.status, headers=error.headers)

    return app


def _refusal_for(error: Exception) -> RefusedError:
    if is_away(error):
        log.error("A request cannot be done, Airflow's database is away: %s", anonymous(error))
        return unavailable()
    log.error("A request failed: %s", anonymous(error))
    return RefusedError(500, "internal", "The receiver failed; its log says more.")
