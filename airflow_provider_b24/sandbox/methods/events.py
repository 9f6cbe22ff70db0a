"""`event.*`: subscriptions, and the offline queue for machines nobody can call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox import notices
from airflow_provider_b24.sandbox.errors import RestError, access_denied
from airflow_provider_b24.sandbox.events import EVENTS, QUEUE_COLUMNS, Binding, event_exists
from airflow_provider_b24.sandbox.method import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.table import cut, find
from airflow_provider_b24.sandbox.timing import iso_date

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.callers import Application


def _events(call: MethodCall) -> list[str]:
    call.application()
    if "SCOPE" in call.params:
        return list(EVENTS.get(call.text("SCOPE").lower(), ()))
    return [
        event
        for scope, events in EVENTS.items()
        if not scope or scope in call.caller.scope or call.flag("FULL")
        for event in events
    ]


def _auth_type(call: MethodCall, verb: str) -> int:
    user = call.caller.user
    if user.admin:
        return call.integer("AUTH_TYPE")
    if "AUTH_TYPE" in call.params and call.integer("AUTH_TYPE") != user.id:
        raise access_denied(
            f"Access denied! Event {verb} with AUTH_TYPE requires administrator access rights"
        )
    return user.id


def _offline(call: MethodCall, verb: str) -> bool:
    offline = call.text("EVENT_TYPE").lower() == "offline"
    if offline and not call.caller.user.admin:
        raise access_denied(f"Access denied! Offline events {verb} requires administrator access rights")
    return offline


def _bind(call: MethodCall) -> bool:
    application = call.application()
    event = call.text("EVENT").upper()
    if not event_exists(event):
        raise RestError(400, "ERROR_EVENT_NOT_FOUND", "Event not found")
    offline = _offline(call, "binding")
    handler = call.text("HANDLER")
    if not offline and not handler.startswith(("http://", "https://")):
        raise RestError(400, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL")
    auth_type = _auth_type(call, "binding")
    for known in call.portal.events.bindings(application.client_id):
        same = (known.event, known.handler, known.auth_type, known.offline)
        if same == (event, handler, auth_type, offline):
            raise RestError(400, "ERROR_EVENT_BINDING_EXISTS", "Handler already binded")
    call.portal.events.bind(
        application.client_id,
        event,
        handler,
        auth_type=auth_type,
        offline=offline,
        connector=call.text("AUTH_CONNECTOR"),
        min_timeout=_min_timeout(call),
    )
    return True


def _min_timeout(call: MethodCall) -> float:
    given = str(call.mapping("OPTIONS").get("minTimeout", 1))
    return float(given) if given.isdecimal() else 1.0


def _unbind(call: MethodCall) -> dict[str, int]:
    application = call.application()
    offline = _offline(call, "unbinding")
    auth_type = _auth_type(call, "unbinding")
    any_user = call.caller.user.admin and "AUTH_TYPE" not in call.params
    event, handler = call.text("EVENT").upper(), call.text("HANDLER")

    def unwanted(binding: Binding) -> bool:
        return (
            binding.client_id == application.client_id
            and binding.offline == offline
            and (not event or binding.event == event)
            and (not handler or binding.handler == handler)
            and (any_user or binding.auth_type == auth_type)
        )

    return {"count": call.portal.events.unbind(unwanted)}


def _get(call: MethodCall) -> list[dict[str, Any]]:
    application = call.application()
    user = call.caller.user
    return [
        {
            "event": binding.event,
            "handler": binding.handler,
            "auth_type": str(binding.auth_type),
            "offline": int(binding.offline),
        }
        for binding in call.portal.events.bindings(application.client_id)
        if user.admin or binding.auth_type == user.id
    ]


def _test(call: MethodCall) -> int:
    application = call.application()
    notices.tested(call.portal, application, call.given, call.caller.user.id)
    return 1


def _administrator(call: MethodCall) -> Application:
    application = call.application()
    call.administrator()
    return application


def _offline_get(call: MethodCall) -> dict[str, Any]:
    application = _administrator(call)
    process_id, rows = call.portal.events.take(
        application.client_id,
        call.text("AUTH_CONNECTOR"),
        iso_date,
        filter_by=call.params.get("FILTER"),
        order=call.params.get("ORDER") or {"TIMESTAMP_X": "ASC"},
        limit=call.integer("LIMIT", 50),
        clear=call.integer("CLEAR", 1) != 0,
        process_id=call.text("PROCESS_ID"),
        errors=call.integer("ERROR") != 0,
    )
    return {"process_id": process_id, "events": rows}


def _offline_list(call: MethodCall) -> Listing:
    application = _administrator(call)
    queue = call.portal.events.listed(application.client_id, call.text("AUTH_CONNECTOR"))
    rows = [event.row(iso_date) for event in queue]
    order = call.params.get("ORDER") or {"ID": "ASC"}
    found = find(rows, call.params.get("FILTER"), order, filters.OFFLINE, QUEUE_COLUMNS)
    page = cut(found, select=None, start=call.integer("START"))
    return Listing(page.rows, page.total, page.next)


def _process_id(call: MethodCall) -> str:
    process_id = call.text("PROCESS_ID")
    if not process_id:
        raise RestError(400, "PROCESS_ID_EMPTY", "PROCESS_ID is empty")
    return process_id


def _offline_clear(call: MethodCall) -> bool:
    application = _administrator(call)
    numbers = call.sequence("ID") or call.sequence("MESSAGE_ID")
    wanted = {str(number) for number in numbers} if numbers else None
    call.portal.events.clear(application.client_id, _process_id(call), wanted)
    return True


def _offline_error(call: MethodCall) -> bool:
    application = _administrator(call)
    numbers = {str(number) for number in call.sequence("MESSAGE_ID")}
    call.portal.events.mark(application.client_id, _process_id(call), numbers)
    return True


METHODS = (
    Method("events", "", _events),
    Method("event.bind", "", _bind),
    Method("event.unbind", "", _unbind),
    Method("event.get", "", _get),
    Method("event.test", "", _test),
    Method("event.offline.get", "", _offline_get),
    Method("event.offline.list", "", _offline_list),
    Method("event.offline.clear", "", _offline_clear),
    Method("event.offline.error", "", _offline_error),
)
