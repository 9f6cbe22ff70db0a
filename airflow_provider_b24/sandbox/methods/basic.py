"""Methods any caller may use, and the sandbox's own."""

from __future__ import annotations

from typing import Any

from airflow_provider_b24.sandbox.callers import DEFAULT_SCOPE
from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Method, MethodCall


def _profile(call: MethodCall) -> dict[str, Any]:
    user = call.caller.user
    return {
        "ID": str(user.id),
        "ADMIN": user.admin,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "PERSONAL_GENDER": "",
        "TIME_ZONE": "",
    }


def _scope(call: MethodCall) -> list[str]:
    return sorted({*DEFAULT_SCOPE, *call.caller.scope} if call.flag("FULL") else call.caller.scope)


def _methods(call: MethodCall) -> list[str]:
    known = call.portal.methods.values()
    if "SCOPE" in call.params:
        return sorted(method.name for method in known if method.scope == call.text("SCOPE"))
    if call.flag("FULL"):
        return sorted(method.name for method in known)
    return sorted(method.name for method in known if not method.scope or method.scope in call.caller.scope)


def _method_get(call: MethodCall) -> dict[str, bool]:
    method = call.portal.methods.get(call.text("NAME").lower())
    available = method is not None and (not method.scope or method.scope in call.caller.scope)
    return {"isExisting": method is not None, "isAvailable": available}


def _feature_get(call: MethodCall) -> dict[str, str]:
    code = call.text("CODE")
    if not code:
        raise RestError(400, "CODE_EMPTY", "CODE can't be empty")
    return {"value": "Y" if code in ("rest_offline_extended", "rest_auth_connector") else "N"}


def _work(call: MethodCall) -> float:
    try:
        call.seconds = float(call.text("SECONDS") or 0)
    except ValueError:
        raise RestError(400, "ERROR_ARGUMENT", "SECONDS must be a number") from None
    return call.seconds


METHODS = (
    Method("profile", "", _profile),
    Method("server.time", "", lambda call: call.now()),
    Method("scope", "", _scope),
    Method("methods", "", _methods),
    Method("method.get", "", _method_get),
    Method("feature.get", "", _feature_get),
    # The sandbox's own: what arrived, and execution time without execution.
    Method("sandbox.echo", "", lambda call: call.given),
    Method("sandbox.work", "", _work),
)
