"""The pages *Calls* and *A call*."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from airflow_provider_b24._airflow.database import reading
from airflow_provider_b24.calls.browsing import Wanted, browse, count, count_by_state, dag_ids_on_record
from airflow_provider_b24.calls.inspection import CallDetails, inspect_call
from airflow_provider_b24.calls.listing import list_refusals
from airflow_provider_b24.calls.robots_at_hand import RobotsAtHand
from airflow_provider_b24.calls.table import call_table
from airflow_provider_b24.pages.query import SINCE_CHOICES, STATE_CHOICES, ListQuery, midnight
from airflow_provider_b24.pages.rendering import HEADERS, render, shown
from airflow_provider_b24.pages.timeline import timeline, who
from airflow_provider_b24.pages.visitors import Visitor, visitor
from airflow_provider_b24.receiver.answers import RefusedError
from airflow_provider_b24.rest.portal_pages import crm_item_url, process_url
from airflow_provider_b24.robots.call import Document

if TYPE_CHECKING:
    from airflow_provider_b24.calls.listing import Refusals

log = logging.getLogger(__name__)
router = APIRouter()

SignedIn = Annotated[Visitor, Depends(visitor)]

AT_ONCE = 50
_WAITING_SHOWN = 20
_MOST_COUNTED = 1000
_REFUSALS_OF = dt.timedelta(days=7)


@router.get("/")
def start(request: Request, _user: SignedIn) -> Response:
    """Go to the list of calls."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/calls", 302, HEADERS)


@router.get("/calls")
def show_calls(request: Request, user: SignedIn) -> Response:
    """Show calls, the newest first, and on top of the first page those that wait for a person."""
    query, now = ListQuery.parse(request.query_params), dt.datetime.now(dt.UTC)
    with reading() as session:
        dag_ids = dag_ids_on_record(session)
        visible = user.visible(dag_ids)
        wanted = query.wanted(visible, now)
        calls, following = browse(wanted, session, before=query.before, limit=AT_ONCE)
        waiting: list[Any] = []
        number = 0
        if query.before is None and not query.state:
            wait = replace(wanted, state="waiting")
            waiting, more = browse(wait, session, limit=_WAITING_SHOWN)
            number = count(wait, session, _MOST_COUNTED) if more else len(waiting)
        today = count_by_state(Wanted(visible=visible, since=midnight(now)), session)
    shown = {call.id for call in waiting}
    return render(
        request,
        "calls.html",
        query=query,
        calls=[call for call in calls if call.id not in shown],
        following=following,
        waiting=waiting,
        number_waiting=number,
        most_counted=_MOST_COUNTED,
        today=today,
        dag_ids=sorted(visible),
        hidden=len(dag_ids) - len(visible),
        state_choices=STATE_CHOICES,
        since_choices=SINCE_CHOICES,
        refusals=_refusals(user, now) if query.before is None else [],
        may_act=any(user.may_answer(dag_id) for dag_id in {call.dag_id for call in [*waiting, *calls]}),
        who=who,
    )


@router.get("/calls/{call_id}")
def show_call(call_id: str, request: Request, user: SignedIn) -> Response:
    """Show one call."""
    with reading() as session:
        call = inspect_call(call_id, session)
    if call is None or not user.may_see(call.report.dag_id):
        raise no_such_call()
    return _call_page(call, request, user)


@router.get("/waiting")
def tell_waiting(user: SignedIn) -> Response:
    """Tell programs as JSON which calls wait for a person, the newest first: for alarms."""
    with reading() as session:
        wanted = Wanted(visible=user.visible(dag_ids_on_record(session)), state="waiting")
        calls, more = browse(wanted, session, limit=_WAITING_SHOWN)
        number = count(wanted, session, _MOST_COUNTED) if more else len(calls)
    told = [
        {name: value if value is None else shown(value, name) for name, value in call.to_json().items()}
        for call in calls
    ]
    return JSONResponse({"number": number, "calls": told}, headers=HEADERS)


@router.get("/run")
def show_call_of_run(dag_id: str, run_id: str, request: Request, user: SignedIn) -> Response:
    """Show the call that has started a run: the tab on the run's own page."""
    call = _call_of_run(dag_id, run_id, user)
    return _no_call(request) if call is None else _call_page(call, request, user)


@router.get("/document")
def open_document(dag_id: str, run_id: str, request: Request, user: SignedIn) -> Response:
    """Go to the document in Bitrix24 of the call that has started a run, or to its process."""
    call = _call_of_run(dag_id, run_id, user)
    if call is None:
        return _no_call(request)
    document_url, process = _links(call)
    url = document_url or process
    if url is None:
        raise RefusedError(
            404,
            "no_connection",
            f"The connection {call.report.conn_id} cannot be used: its portal is not known.",
        )
    return RedirectResponse(url, 302, HEADERS)


def _call_of_run(dag_id: str, run_id: str, user: Visitor) -> CallDetails | None:
    if not user.may_see(dag_id):
        raise RefusedError(403, "forbidden", "You may not see the runs of this DAG.")
    own = (call_table.c.dag_id == dag_id, call_table.c.run_id == run_id)
    with reading() as session:
        call_id = session.scalar(sa.select(call_table.c.id).where(*own))
        return None if call_id is None else inspect_call(call_id, session)


def _no_call(request: Request) -> Response:
    return render(
        request,
        "message.html",
        title="No Bitrix24 call",
        text="No call of Bitrix24 has started this run, or it is not on record any more.",
    )


def no_such_call() -> RefusedError:
    """Say that there is no call; nor to someone who may not see it."""
    return RefusedError(
        404,
        "unknown_call",
        "There is no such call, it is not on record any more, or you may not see the runs of its DAG.",
    )


def _call_page(call: CallDetails, request: Request, user: Visitor) -> Response:
    document_url, process = _links(call)
    return render(
        request,
        "call.html",
        call=call,
        report=call.report,
        timeline=timeline(call),
        who=who,
        document_url=document_url,
        process_url=process,
        may_answer=call.is_open and user.may_answer(call.report.dag_id),
    )


def _links(call: CallDetails) -> tuple[str | None, str | None]:
    """Give the addresses of the document and the process in the portal, as far as they are known."""
    try:
        portal = RobotsAtHand().connection(call.report.conn_id).portal_url
    except Exception as error:  # a secrets backend may raise anything, and its words may hold secrets
        log.info("Connection %r cannot be used: %s", call.report.conn_id, type(error).__name__)
        return None, None
    document = Document(*call.report.document.split("/", 2))
    url = None
    if document.entity_type_id is not None and document.item_id is not None:
        url = crm_item_url(portal, document.entity_type_id, document.item_id)
    return url, process_url(portal, call.report.process)


def _refusals(user: Visitor, now: dt.datetime) -> list[Refusals]:
    refusals = list_refusals(now - _REFUSALS_OF)
    visible = {
        conn_id: user.may_see_connection(conn_id or None) for conn_id in {one.conn_id for one in refusals}
    }
    return [one for one in refusals if visible[one.conn_id]]
