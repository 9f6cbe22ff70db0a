"""Methods any caller may use, and the sandbox's own."""

from __future__ import annotations

from typing import Any

from airflow_provider_b24.sandbox.callers import DEFAULT_SCOPE, User
from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.records import cut, find
from airflow_provider_b24.sandbox.rest import Listing, Method, MethodCall
from airflow_provider_b24.sandbox.timing import iso_date


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


def _user_row(user: User) -> dict[str, Any]:
    return {
        "ID": str(user.id),
        "ACTIVE": True,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "EMAIL": user.email,
        "USER_TYPE": "employee",
        "UF_DEPARTMENT": [1],
    }


def _user_get(call: MethodCall) -> Listing:
    rows = [_user_row(user) for user in call.portal.callers.users.values()]
    filter_by = call.mapping("FILTER") or {
        name: value for name, value in call.params.items() if name in ("ID", "NAME", "LAST_NAME", "EMAIL")
    }
    order = {call.text("SORT") or "ID": call.text("ORDER") or "ASC"}
    page = cut(find(rows, filter_by, order), select=None, start=call.integer("START"))
    return Listing(page.rows, page.total, page.next)


def _scope(call: MethodCall) -> list[str]:
    full = call.text("FULL").lower() in ("1", "true", "y")
    return sorted({*DEFAULT_SCOPE, *call.caller.scope} if full else call.caller.scope)


def _methods(call: MethodCall) -> list[str]:
    known = call.portal.methods.values()
    if "SCOPE" in call.params:
        return sorted(method.name for method in known if method.scope == call.text("SCOPE"))
    return sorted(method.name for method in known if not method.scope or method.scope in call.caller.scope)


def _method_get(call: MethodCall) -> dict[str, bool]:
    method = call.portal.methods.get(call.text("NAME"))
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
    Method("user.admin", "", lambda call: call.caller.user.admin),
    Method("user.current", "user", lambda call: _user_row(call.caller.user)),
    Method("user.get", "user", _user_get),
    Method("server.time", "", lambda call: iso_date(call.portal.clock.now())),
    Method("scope", "", _scope),
    Method("methods", "", _methods),
    Method("method.get", "", _method_get),
    Method("feature.get", "", _feature_get),
    # The sandbox's own: what arrived, and execution time without execution.
    Method("sandbox.echo", "", lambda call: call.given),
    Method("sandbox.work", "", _work),
)
