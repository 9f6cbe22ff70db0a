"""The control API, `/sandbox/…`, and the page on top of it: what happens in the portal, and how to cause it.

It is for the people of one machine: it asks for no credentials, and takes nothing that a page of another site sends.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response

from airflow_provider_b24.sandbox import bodies, notices, state
from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.steps import steps_from_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_b24.sandbox.method import Portal
    from airflow_provider_b24.sandbox.processes import Process
    from airflow_provider_b24.sandbox.queue_server import Call
    from airflow_provider_b24.sandbox.records.table import Table

_T = TypeVar("_T")
_PAGE = Path(__file__).with_name("page")
_FILES = {"page.css": "text/css", "page.js": "text/javascript"}
_POLICY = "default-src 'self'; img-src data:; frame-ancestors 'none'"


def create_app(portal: Portal) -> FastAPI:
    """Return the application that serves everything but REST and OAuth."""
    app = FastAPI(title="Bitrix24 sandbox portal", docs_url=None, redoc_url=None, openapi_url=None)

    # Annotations are strings here and FastAPI resolves them in this module: what they name must stay imported.
    @app.middleware("http")
    async def own_pages_only(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return JSONResponse({"detail": f"{origin} may not control this portal"}, 403)
        return await go_on(request)

    @app.exception_handler(RequestValidationError)
    async def not_understood(_: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"detail": bodies.complaint(error.errors())}, 400)

    @app.exception_handler(RestError)
    async def refused(_: Request, error: RestError) -> Response:
        return JSONResponse({"detail": error.description}, 400)

    @app.get("/")
    async def page() -> Response:
        return FileResponse(_PAGE / "page.html", headers={"Content-Security-Policy": _POLICY})

    @app.get("/sandbox/page/{name}")
    async def file(name: str) -> Response:
        if name not in _FILES:
            raise HTTPException(404, f"The page has no file {name}")
        return FileResponse(_PAGE / name, media_type=_FILES[name])

    @app.get("/sandbox/state")
    async def read_state(request: Request) -> Response:
        return _unless_known(request, state.describe(portal))

    @app.get("/sandbox/methods")
    async def methods() -> dict[str, list[str]]:
        return {"rest": sorted(portal.methods), "rest3": sorted(portal.methods3)}

    _add_processes(app, portal)
    _add_records(app, portal)
    _add_portal(app, portal)
    return app


def _add_processes(app: FastAPI, portal: Portal) -> None:
    def process_of(process_id: str) -> Process:
        return _found(portal.processes.get(process_id), f"process {process_id}")

    def call_of(number: int) -> Call:
        return _found(portal.queue_server.numbered(number), f"call {number}")

    @app.post("/sandbox/processes", status_code=201)
    async def start(body: bodies.NewProcess) -> dict[str, Any]:
        module, entity, element = body.document_id
        try:
            process = portal.start_process(
                steps_from_json(body.steps), (module, entity, element), body.values
            )
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        return state.describe_process(portal, process)

    @app.get("/company/personal/bizproc/{process_id}/")
    async def portals_own_page(process_id: str) -> Response:
        return RedirectResponse(f"/#process={process_of(process_id).id}", 302)

    @app.get("/sandbox/processes/{process_id}")
    async def read(process_id: str) -> dict[str, Any]:
        with portal.changed:
            return state.describe_process(portal, process_of(process_id))

    @app.post("/sandbox/processes/{process_id}/terminate")
    async def terminate(process_id: str) -> dict[str, Any]:
        with portal.changed:
            process = process_of(process_id)
            portal.engine.terminate(process, "Terminated on the portal's page")
            return state.describe_process(portal, process)

    @app.get("/sandbox/calls/{number}")
    async def call(number: int) -> dict[str, Any]:
        return state.describe_call(call_of(number), whole=True)

    @app.post("/sandbox/calls/{number}/again", status_code=201)
    async def again(number: int) -> dict[str, Any]:
        return state.describe_call(portal.repost(call_of(number)))

    @app.get("/sandbox/requests/{number}")
    async def request_received(number: int) -> dict[str, Any]:
        with portal.changed:
            known = _found(portal.journal.numbered(number), f"request {number} on record")
            return state.describe_request(known, whole=True)

    @app.post("/sandbox/tasks/{number}")
    async def decide(number: int, body: bodies.Decision) -> dict[str, Any]:
        with portal.changed:
            task = _found(portal.task_list.get(number), f"task {number}")
            parameters = {
                "TASK_ID": number,
                "STATUS": body.status,
                "COMMENT": body.comment,
                "FIELDS": body.fields,
            }
            portal.task_list.complete(task.user_id, parameters, portal.engine.task_done)
            return state.describe_task(portal, task)


def _add_records(app: FastAPI, portal: Portal) -> None:
    def table_of(kind: str) -> Table:
        if kind not in portal.store.kinds():
            raise HTTPException(404, f"The portal has no records of kind {kind}")
        return portal.store.table(kind)

    @app.get("/crm/{name}/details/{number}/")
    @app.get("/crm/type/{name}/details/{number}/")
    async def portals_own_page(name: str, number: int) -> Response:
        kind = f"item:{name}" if name.isdecimal() else name
        _found(table_of(kind).get(number), f"record {number} of kind {kind}")
        return RedirectResponse(f"/#{kind}={number}", 302)

    @app.get("/sandbox/board/{kind}")
    async def board(kind: str) -> dict[str, Any]:
        table_of(kind)
        try:
            return state.describe_board(portal, kind)
        except ValueError as error:
            raise HTTPException(404, str(error)) from None

    @app.get("/sandbox/records/{kind}")
    async def records(kind: str, after: int = 0) -> dict[str, Any]:
        with portal.changed:
            table = table_of(kind)
            numbers = [number for number in table if number > after][:50]
            return {"total": len(table), "records": [table.get(number) for number in numbers]}

    @app.post("/sandbox/records/{kind}", status_code=201)
    async def add(kind: str, body: bodies.NewRecords) -> dict[str, list[int]]:
        try:
            return {"ids": portal.add_records(kind, body.records)}
        except ValueError as error:
            raise HTTPException(400, str(error)) from None

    @app.patch("/sandbox/records/{kind}/{number}")
    async def change(kind: str, number: int, body: bodies.RecordChange) -> dict[str, Any]:
        with portal.changed:
            table = table_of(kind)
            _found(table.get(number), f"record {number} of kind {kind}")
            portal.store.change(kind, number, body.fields, 1, strict=True)
            return table.get(number) or {}

    @app.delete("/sandbox/records/{kind}/{number}")
    async def remove(kind: str, number: int) -> Response:
        with portal.changed:
            _found(table_of(kind).get(number), f"record {number} of kind {kind}")
            portal.store.remove(kind, number, 1)
        return _done()


def _add_portal(app: FastAPI, portal: Portal) -> None:
    @app.post("/sandbox/clock")
    async def advance(body: bodies.Move) -> dict[str, float]:
        portal.clock.advance(body.advance)
        return {"now": portal.clock.now()}

    @app.post("/sandbox/faults", status_code=201)
    async def plan(body: bodies.NewFault) -> list[dict[str, Any]]:
        portal.faults.add(bodies.fault_of(body), body.method, body.times, about=body.about)
        return [state.describe_fault(planned) for planned in portal.faults.planned()]

    @app.delete("/sandbox/faults")
    async def clear() -> Response:
        portal.faults.clear()
        return _done()

    @app.post("/sandbox/settings")
    async def switch(body: bodies.Settings) -> dict[str, Any]:
        with portal.changed:
            for name, value in body.model_dump(exclude_none=True).items():
                setattr(portal, name, value)
            settings: dict[str, Any] = state.describe(portal)["settings"]
            return settings

    @app.post("/sandbox/events", status_code=201)
    async def happen(body: bodies.Event) -> list[dict[str, Any]]:
        with portal.changed:
            calls = notices.happened(portal, body.event, body.data, 1)
            return [state.describe_call(call) for call in calls]

    @app.post("/sandbox/tokens/expire")
    async def expire() -> Response:
        portal.expire_access_tokens()
        return _done()

    @app.post("/sandbox/reset")
    async def reset() -> Response:
        portal.reset()
        return _done()


def _done() -> Response:
    return Response(status_code=204)


def _found(thing: _T | None, name: str) -> _T:
    if thing is None:
        raise HTTPException(404, f"The portal has no {name}")
    return thing


def _unless_known(request: Request, described: dict[str, Any]) -> Response:
    # A page asks every second; while nothing happens it is told just that. The clock alone is no news.
    frozen = described["ahead"] is None
    told = json.dumps(described | {"now": frozen and described["now"]}, default=str).encode()
    tag = f'"{hashlib.sha256(told).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-cache"})
    content = json.dumps(described, default=str)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    return Response(content, media_type="application/json", headers=headers)
