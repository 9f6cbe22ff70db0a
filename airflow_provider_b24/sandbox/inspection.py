"""Pages and requests for people and the command line: what happens in the portal, and how to cause it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse

from airflow_provider_b24.sandbox.state import describe, describe_process
from airflow_provider_b24.sandbox.steps import steps_from_json

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.method import Portal


def create_app(portal: Portal) -> FastAPI:
    """Return the application that serves everything but REST and OAuth."""
    app = FastAPI(title="Bitrix24 sandbox portal", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return _page(portal)

    @app.get("/sandbox/state")
    async def state() -> dict[str, Any]:
        return describe(portal)

    # Annotations are strings here and FastAPI resolves them in this module: `Request` must stay imported.
    @app.post("/sandbox/processes", status_code=201)
    async def start_process(request: Request) -> dict[str, Any]:
        body = await _body(request)
        document_id = body.get("document_id", ["crm", "CCrmDocumentLead", "LEAD_77"])
        if not (
            isinstance(document_id, list)
            and len(document_id) == 3
            and all(isinstance(part, str) for part in document_id)
        ):
            raise HTTPException(400, "document_id must be a list of three strings")
        values = body.get("values", {})
        if not isinstance(values, dict):
            raise HTTPException(400, "values must be an object")
        try:
            steps = steps_from_json(body.get("steps"))
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        module, entity, element = document_id
        return describe_process(portal.start_process(steps, (module, entity, element), values))

    @app.post("/sandbox/clock")
    async def advance(request: Request) -> dict[str, float]:
        body = await _body(request)
        seconds = body.get("advance")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
            raise HTTPException(400, "advance must be a number of seconds, not negative")
        portal.clock.advance(seconds)
        return {"now": portal.clock.now()}

    return app


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise HTTPException(400, "The body must be JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "The body must be a JSON object")
    return body


def _page(portal: Portal) -> str:
    methods, methods3 = (
        "".join(f"<li><code>{escape(name)}</code></li>" for name in sorted(known))
        for known in (portal.methods, portal.methods3)
    )
    processes = "".join(
        f"<tr><td><code>{escape(process.id)}</code></td><td>{escape(process.status)}</td>"
        f"<td>{escape(process.document_id[2])}</td></tr>"
        for process in portal.processes.values()
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Bitrix24 sandbox portal</title>
<h1>Bitrix24 sandbox portal</h1>
<p>A stand-in for one machine. It holds no real data, and its secrets are worth nothing elsewhere.</p>
<dl>
<dt>Webhook<dd><code>{escape(portal.webhook.url)}</code>
<dt>Application<dd><code>{escape(portal.application.client_id)}</code>
<dt>Authorization server<dd><code>{escape(portal.oauth_url)}</code>
<dt>State<dd><a href="/sandbox/state">/sandbox/state</a> (JSON)
<dt>Start a process<dd><code>POST /sandbox/processes</code>
<dt>Move the clock<dd><code>POST /sandbox/clock</code> <code>{{"advance": 60}}</code>
</dl>
<h2>Processes</h2>
<table>{processes or "<tr><td>none yet</td></tr>"}</table>
<h2>Methods</h2>
<ul>{methods}</ul>
<h2>Methods of REST 3.0</h2>
<ul>{methods3}</ul>
</html>"""
