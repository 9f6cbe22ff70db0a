"""REST 3.0: JSON with its types, one form of answer, batches that end at the first refusal, idempotency keys.

Documented on https://apidocs.bitrix24.com/api-reference/rest-v3.html. What the documentation leaves open is as in the
code of portals: a token that is not accepted is `401 ACCESSDENIEDEXCEPTION`, expired or not, and a key belongs to
the body byte by byte, the access token in it included.
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import Rest3Error, RestError
from airflow_provider_b24.sandbox.faults import AnswerStatus, Delay
from airflow_provider_b24.sandbox.method import Rest3Call
from airflow_provider_b24.sandbox.timing import time_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_b24.sandbox.callers import Caller
    from airflow_provider_b24.sandbox.method import Portal, Rest3Method
    from airflow_provider_b24.sandbox.received import Received

_log = logging.getLogger(__name__)

BATCH_LENGTH = 50
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def read_body(content_type: str, body: bytes) -> dict[str, Any]:
    """Read a request's body; the calls of a batch are numbered.

    :raises RestError: when it is no JSON.
    """
    if not body:
        return {}
    try:
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise ValueError(content_type)
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Rest3Error(400, "INVALIDJSONEXCEPTION", "The request body is not JSON") from None
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict):
        raise Rest3Error(400, "INVALIDJSONEXCEPTION", "The JSON body is neither an object nor an array")
    return value


def answer(portal: Portal, received: Received, find_caller: Callable[[], Caller]) -> dict[str, Any]:
    """Answer a request.

    :param find_caller: tells who calls.
    :raises RestError: when the portal refuses.
    """
    begun, started = portal.clock.now(), time.perf_counter()
    try:
        caller = find_caller()
    except RestError as error:
        if error.status != 401:
            raise
        raise Rest3Error(401, "ACCESSDENIEDEXCEPTION", "Access denied") from None
    name = received.method
    if portal.limits:
        try:
            portal.operating.check(caller.key, name)
        except RestError as error:
            raise Rest3Error(error.status, "RATELIMITEXCEPTION", error.description) from None
    if name == "batch":
        result: Any = _batch(portal, caller, received)
    else:
        result = _call(portal, caller, received)
    processing = time.perf_counter() - started + portal.operating_costs.get(name, 0.0)
    operating, reset_at = portal.operating.spend(caller.key, name, processing)
    account = time_of(begun, processing) | {"operating_reset_at": reset_at, "operating": operating or 0}
    return {"result": result, "time": account}


def _call(portal: Portal, caller: Caller, received: Received) -> Any:
    method = _find(portal, received.method)
    header = received.idempotency_key
    if header is None or not method.keeps_result:
        return _run(portal, caller, method, received.parameters)
    if not _KEY.fullmatch(header):
        raise Rest3Error(400, "INVALIDIDEMPOTENCYKEYEXCEPTION", "The idempotency key is not valid")
    key = (caller.key, str(caller.user.id), method.name, header)
    result = portal.kept_results.find(key, received.body)
    received.reply_headers["idempotency-key"] = header
    if result is not None:
        received.reply_headers["idempotent-replayed"] = "true"
        return result
    result = _run(portal, caller, method, received.parameters)
    portal.kept_results.keep(key, received.body, result)
    return result


def _find(portal: Portal, name: str) -> Rest3Method:
    method = portal.methods3.get(name)
    if method is None:
        raise Rest3Error(404, "METHODNOTFOUNDEXCEPTION", f"Method `{name}` not found")
    return method


def _run(portal: Portal, caller: Caller, method: Rest3Method, params: Mapping[str, Any]) -> Any:
    if method.scope and method.scope not in caller.scope:
        raise Rest3Error(403, "INSUFFICIENTSCOPEEXCEPTION", "The required scope is missing")
    try:
        return method.run(Rest3Call(portal, caller, params))
    except RestError:
        raise
    except Exception:
        _log.exception("The sandbox failed to run %s", method.name)
        raise Rest3Error(500, "INTERNAL_INTERNALEXCEPTION", "Internal server error") from None


def _batch(portal: Portal, caller: Caller, received: Received) -> list[Any]:
    calls = list(received.parameters.values())
    if len(calls) > BATCH_LENGTH:
        raise RestError(400, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded")
    if not all(isinstance(call, dict) and isinstance(call.get("method"), str) for call in calls):
        raise Rest3Error(400, "INVALIDSELECTEXCEPTION", "A batch is an array of calls")
    # None is made when one of them is unknown; what was done before another one is refused stays done.
    methods = [_find(portal, call["method"].lower()) for call in calls]
    results: list[Any] = []
    for method, call in zip(methods, calls, strict=True):
        params = _refer(call.get("query") or {}, results)
        fault = portal.faults.take(method.name, params, inside_batch=True)
        if isinstance(fault, AnswerStatus):
            raise RestError(fault.status, fault.code, fault.description)
        if isinstance(fault, Delay):
            received.late += fault.seconds
        results.append(_run(portal, caller, method, params))
    return results


def _refer(value: Any, results: list[Any]) -> Any:
    if isinstance(value, list):
        return [_refer(item, results) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" not in value:
        return {name: _refer(item, results) for name, item in value.items()}
    found: Any = results
    for part in str(value["$ref"]).split("."):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, TypeError, ValueError):
            path = value["$ref"]
            raise Rest3Error(400, "INVALIDSELECTEXCEPTION", f"Path `{path}` not found in context") from None
    return found
