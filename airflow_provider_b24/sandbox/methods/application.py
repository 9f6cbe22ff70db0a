"""Methods about the calling application itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import RestError
from airflow_provider_b24.sandbox.method import Method, MethodCall
from airflow_provider_b24.sandbox.timing import iso_date

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.callers import Application


def _info(call: MethodCall) -> dict[str, Any]:
    application = call.application("Access denied! Application context required", 400)
    plan = "ent250" if call.portal.tariff == "enterprise" else "pro100"
    return {
        "ID": application.id,
        "CODE": application.client_id,
        "VERSION": 1,
        "STATUS": "L",
        "INSTALLED": application.finished,
        "PAYMENT_EXPIRED": "N" if application.paid else "Y",
        "DAYS": None,
        "LANGUAGE_ID": "en",
        "LICENSE": f"en_{plan}",
        "LICENSE_TYPE": plan,
        "LICENSE_FAMILY": plan[:3],
    }


def _at_the_authorization_server(call: MethodCall) -> dict[str, Any]:
    application = call.application()
    portal = call.portal
    scope = ",".join(application.scope)
    return {
        "client_id": application.client_id,
        "scope": scope,
        "expires": iso_date(portal.callers.tokens.expires(application.access_token)),
        "install": {
            "installed": application.finished,
            "version": "1",
            "status": "L",
            "scope": scope,
            "domain": portal.host,
            "uri": portal.url,
            "client_endpoint": f"{portal.url}/rest/",
            "member_id": portal.member_id,
            "member_type": "b24",
        },
        "user_id": str(call.caller.user.id),
    }


def _application(call: MethodCall) -> Application:
    if call.caller.application is None:
        raise RestError(400, "AccessException", "Application context required")
    return call.caller.application


def _option_get(call: MethodCall) -> Any:
    options = _application(call).options
    name = call.text("OPTION")
    return options.get(name) if name else dict(options)


def _option_set(call: MethodCall) -> bool:
    application = _application(call)
    if not call.caller.user.admin:
        raise RestError(400, "AccessException", "Administrator authorization required")
    application.options.update(_options(call))
    return True


def _user_option_get(call: MethodCall) -> Any:
    options = call.caller.user.options.get(_application(call).client_id, {})
    name = call.text("OPTION")
    return options.get(name) if name else dict(options)


def _user_option_set(call: MethodCall) -> bool:
    client_id = _application(call).client_id
    call.caller.user.options.setdefault(client_id, {}).update(_options(call))
    return True


def _options(call: MethodCall) -> dict[str, Any]:
    options = call.mapping("OPTIONS")
    if not options:
        raise RestError(400, "ArgumentNullException", "options is empty")
    return options


METHODS = (
    Method("app.info", "", _info),
    Method("oauth.app.info", "", _at_the_authorization_server),
    Method("app.option.get", "", _option_get),
    Method("app.option.set", "", _option_set),
    Method("user.option.get", "", _user_option_get),
    Method("user.option.set", "", _user_option_set),
)
