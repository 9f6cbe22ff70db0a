"""The REST interface without I/O: a request in, a status and a body out."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox import rest3
from airflow_provider_b24.sandbox.disk import Content
from airflow_provider_b24.sandbox.errors import (
    RestError,
    https_required,
    malformed,
    method_not_found,
    portal_deleted,
)
from airflow_provider_b24.sandbox.faults import AnswerStatus, Delay
from airflow_provider_b24.sandbox.forms import parse_form, parse_multipart, php_array
from airflow_provider_b24.sandbox.method import Listing, MethodCall, Portal
from airflow_provider_b24.sandbox.received import Received
from airflow_provider_b24.sandbox.timing import time_of

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.callers import Caller

_log = logging.getLogger(__name__)

BATCH_LENGTH = 50
_USER_ID = re.compile(r"[0-9]{1,10}")
_EARLIER = re.compile(r"\$(result|result_error|result_total|result_next)((?:\[[^\[\]]+\])+)")


def read(path: str, query: bytes, headers: Mapping[str, str], body: bytes) -> Received:
    """Read a request.

    :param path: from `/rest/` on.
    :param headers: by their names in lower case.
    """
    segments = [segment for segment in path.removeprefix("/rest").split("/") if segment]
    is_rest3 = segments[:1] == ["api"]
    segments = segments[1:] if is_rest3 else segments
    received = Received(
        segments[-1].lower().removesuffix(".json") if segments else "",
        is_rest3=is_rest3,
        idempotency_key=headers.get("idempotency-key"),
        body=body,
    )
    content_type, authorization = headers.get("content-type", ""), headers.get("authorization", "")
    if len(segments) == 3 and _USER_ID.fullmatch(segments[0]):
        received.webhook = int(segments[0]), segments[1]
    elif len(segments) != 1:
        received.problem = method_not_found()
    try:
        if is_rest3:
            received.parameters = rest3.read_body(content_type, body)
        else:
            received.parameters = {**parse_form(query), **_read_body(content_type, body)}
    except RestError as error:
        received.problem = error
    if received.webhook is None:
        name = next((name for name in received.parameters if name.lower() == "auth"), None)
        if name is not None:
            received.access_token = received.parameters.pop(name)
        elif authorization[:7].lower() == "bearer ":
            received.access_token = authorization[7:].strip()
    return received


def answer(portal: Portal, received: Received, source: str) -> tuple[int, dict[str, Any] | Content | str]:
    """Answer a request: with JSON, with a file, or with where it is.

    :param source: the caller's address, which the request limit is counted for.
    """
    try:
        if portal.https_required and not portal.url.startswith("https:"):
            raise https_required()
        if portal.closed:
            raise portal_deleted()
        if portal.limits:
            portal.buckets.pour(source)
        if received.problem is not None:
            raise received.problem

        def find_caller() -> Caller:
            if received.webhook is not None:
                return portal.callers.by_webhook(*received.webhook)
            return portal.callers.by_token(received.access_token)

        if received.is_rest3:
            return 200, rest3.answer(portal, received, find_caller)
        caller = find_caller()
        if received.method == "batch":
            return 200, _batch(portal, caller, received)
        reply = _call(portal, caller, received.method, received.parameters)
        content = reply["result"]
        if not isinstance(content, Content):
            return 200, reply
        return (302, content.elsewhere) if content.elsewhere else (200, content)
    except RestError as error:
        return error.status, error.body()


def _read_body(content_type: str, body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            value = json.loads(body, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise malformed("The request body is not JSON") from None
        if isinstance(value, list):
            return {str(index): item for index, item in enumerate(value)}
        if not isinstance(value, dict):
            raise malformed("The JSON body is neither an object nor an array")
        return value
    if kind == "multipart/form-data":
        try:
            return parse_multipart(body, content_type)
        except ValueError as error:
            raise malformed(str(error)) from None
    return parse_form(body)


def _no_number(name: str) -> None:
    # Python reads `NaN` and `Infinity`, JSON has no such numbers.
    raise ValueError(name)


def _call(
    portal: Portal, caller: Caller, name: str, given: dict[str, Any], *, inside_batch: bool = False
) -> dict[str, Any]:
    begun, started = portal.clock.now(), time.perf_counter()
    method = portal.methods.get(name)
    if method is None:
        raise method_not_found()
    if method.scope and method.scope not in caller.scope:
        raise portal.callers.out_of_scope()
    if portal.limits:
        portal.operating.check(caller.key, name)
    call = MethodCall(portal, caller, name, given)
    try:
        result = method.run(call)
    except RestError:
        raise
    except Exception:
        _log.exception("The sandbox failed to run %s", name)
        raise RestError(500, "INTERNAL_SERVER_ERROR", "Internal server error") from None
    processing = time.perf_counter() - started + call.seconds + portal.operating_costs.get(name, 0.0)
    reply: dict[str, Any] = {"result": result}
    if isinstance(result, Listing):
        reply["result"] = result.result
        if result.next is not None:
            reply["next"] = result.next
        if result.total is not None:
            reply["total"] = result.total
    reply["time"] = time_of(begun, processing)
    billed = "batch" if inside_batch and portal.operating_bill == "batch" else name
    operating, reset_at = portal.operating.spend(caller.key, billed, processing)
    reply["time"] |= {"operating_reset_at": reset_at, "operating": operating or 0}
    return reply


def _batch(portal: Portal, caller: Caller, received: Received) -> dict[str, Any]:
    begun, started = portal.clock.now(), time.perf_counter()
    params = {name.upper(): value for name, value in received.parameters.items()}
    commands = params.get("CMD")
    if isinstance(commands, list):
        commands = {str(index): command for index, command in enumerate(commands)}
    if not isinstance(commands, dict):
        commands = {}
    on_batch = portal.operating_bill == "batch"
    if on_batch and portal.limits:
        portal.operating.check(caller.key, "batch")
    halt = str(params.get("HALT", "")).lower() not in ("", "0", "false", "none")
    parts: dict[str, dict[str, Any]] = {
        name: {} for name in ("result", "result_error", "result_total", "result_next", "result_time")
    }
    for index, (key, command) in enumerate(commands.items()):
        try:
            if index >= BATCH_LENGTH:
                raise RestError(400, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded")
            reply = _command(portal, caller, command, parts, received)
        except RestError as error:
            parts["result_error"][key] = error.body()
            if halt:
                break
            continue
        parts["result"][key] = reply["result"]
        parts["result_time"][key] = reply["time"]
        for name in ("total", "next"):
            if name in reply:
                parts[f"result_{name}"][key] = reply[name]
    now = time_of(begun, time.perf_counter() - started)
    operating, reset_at = (
        portal.operating.spend(caller.key, "batch", 0.0) if on_batch else (0, int(begun) + 600)
    )
    now |= {"operating_reset_at": reset_at, "operating": operating}
    return {"result": {name: php_array(part) for name, part in parts.items()}, "time": now}


def _command(
    portal: Portal,
    caller: Caller,
    command: object,
    parts: Mapping[str, Mapping[str, Any]],
    received: Received,
) -> dict[str, Any]:
    if not isinstance(command, str):
        raise method_not_found()
    name, _, query = command.partition("?")
    name = name.strip("/ ").lower().removesuffix(".json")
    if name == "batch":
        raise RestError(405, "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage")
    parameters = _refer(parse_form(query), parts)
    fault = portal.faults.take(name, parameters, inside_batch=True)
    if isinstance(fault, AnswerStatus):
        raise RestError(fault.status, fault.code, fault.description)
    if isinstance(fault, Delay):
        received.late += fault.seconds
    return _call(portal, caller, name, parameters, inside_batch=True)


def _refer(value: Any, parts: Mapping[str, Mapping[str, Any]]) -> Any:
    if isinstance(value, dict):
        return {key: _refer(item, parts) for key, item in value.items()}
    if isinstance(value, list):
        return [_refer(item, parts) for item in value]
    found = _EARLIER.fullmatch(value)
    if found is None:
        return value
    referred: Any = parts[found[1]]
    for key in found[2][1:-1].split("]["):
        if isinstance(referred, list):
            referred = referred[int(key)] if key.isdecimal() and int(key) < len(referred) else None
        else:
            referred = referred.get(key) if isinstance(referred, Mapping) else None
    return referred
