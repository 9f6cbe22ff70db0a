"""The application that Airflow's API server mounts at ``/bitrix24-pages``, apart from the public receiver."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from airflow_provider_b24._airflow.database import DatabaseHangsError
from airflow_provider_b24.pages import acting, calls, connections, robots
from airflow_provider_b24.pages.rendering import render
from airflow_provider_b24.pages.visitors import NotSignedInError
from airflow_provider_b24.receiver.answers import RefusedError, anonymous

if TYPE_CHECKING:
    from starlette.responses import Response

log = logging.getLogger(__name__)


def create_app() -> FastAPI:
    """Make the pages. Every route but that of style and script asks who looks."""
    app = FastAPI(title="Bitrix24 pages", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.include_router(calls.router)
    app.include_router(acting.router)
    app.include_router(robots.router)
    app.include_router(connections.router)
    handlers: dict[Any, Any] = {
        NotSignedInError: _sign_in,
        RefusedError: _refusal,
        RequestValidationError: _malformed,
        HTTPException: _no_such_page,
        SQLAlchemyError: _no_database,
        DatabaseHangsError: _no_database,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    return app


async def _sign_in(request: Request, error: NotSignedInError) -> Response:
    return render(
        request,
        "message.html",
        401,
        title="Sign in",
        text="These pages are for people who are signed in to Airflow.",
        login_url=error.login_url,
    )


async def _refusal(request: Request, error: RefusedError) -> Response:
    return _message(request, error.status, error.message)


async def _malformed(request: Request, _error: RequestValidationError) -> Response:
    return _message(request, 400, "Something is missing in the address.")


async def _no_such_page(request: Request, error: HTTPException) -> Response:
    return _message(request, error.status_code, "There is no such page.")


async def _no_database(request: Request, error: Exception) -> Response:
    log.error("A page cannot be shown, Airflow's database does not answer: %s", anonymous(error))
    return _message(
        request,
        503,
        "Airflow's database does not answer, or has no tables for calls yet; the API server's log says more.",
    )


def _message(request: Request, status: int, text: str) -> Response:
    return render(request, "message.html", status, title="Bitrix24", text=text)
