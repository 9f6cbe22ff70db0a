"""What the portal tells handlers: robot calls and events, each with its `auth` block."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_b24.sandbox.callers import Application, TokenPair
    from airflow_provider_b24.sandbox.core import PortalCore
    from airflow_provider_b24.sandbox.events import Binding
    from airflow_provider_b24.sandbox.queue_server import Call
    from airflow_provider_b24.sandbox.robots import Robot


def robot_call(portal: PortalCore, robot: Robot, call: Mapping[str, Any], user_id: int | None) -> Call:
    """Post a robot call.

    :param user_id: the user behind it; `None` for nobody, and then it carries no tokens.
    """
    application = portal.callers.applications[robot.client_id]
    auth = _auth(portal, application, _pair(portal, application, user_id))
    return portal.queue_server.post("robot", robot.handler, {**call, "auth": auth})


def installed(portal: PortalCore, url: str, application: Application) -> Call:
    """Post `ONAPPINSTALL` with a new pair of tokens, which becomes the application's current one.

    Documented on https://apidocs.bitrix24.com/api-reference/common/events/on-app-install.html.
    """
    data = {"VERSION": "1", "ACTIVE": "Y", "INSTALLED": "Y", "LANGUAGE_ID": "en"}
    return _event(portal, url, "ONAPPINSTALL", data, _auth(portal, application, application.issue_tokens()))


def uninstalled(portal: PortalCore, url: str, application: Application, *, clean: bool) -> Call:
    """Post `ONAPPUNINSTALL`, which carries no tokens.

    Documented on https://apidocs.bitrix24.com/api-reference/common/events/on-app-uninstall.html.
    """
    auth = _auth(portal, application, None)
    del auth["scope"], auth["status"]
    return _event(portal, url, "ONAPPUNINSTALL", {"LANGUAGE_ID": "en", "CLEAN": int(clean)}, auth)


def opened(portal: PortalCore, url: str, application: Application, user_id: int) -> Call:
    """Post what a browser posts for the frame that an application is opened in, with a pair of tokens of its user.

    Documented on https://apidocs.bitrix24.com/settings/oauth/simple-way.html.
    """
    pair = portal.callers.tokens.issue(application, user_id)
    query = {
        "DOMAIN": portal.host,
        "PROTOCOL": int(portal.url.startswith("https")),
        "LANG": "en",
        "APP_SID": secrets.token_hex(16),
    }
    fields = {
        "AUTH_ID": pair.access_token,
        "AUTH_EXPIRES": int(portal.callers.tokens.lifetime),
        "REFRESH_ID": pair.refresh_token,
        "SERVER_ENDPOINT": f"{portal.url}/rest/",
        "APPLICATION_TOKEN": application.application_token,
        "APPLICATION_SCOPE": ",".join(application.scope),
        "member_id": portal.member_id,
        "status": "L",
        "PLACEMENT": "DEFAULT",
    }
    return portal.queue_server.post("page", f"{url}?{urlencode(query)}", fields)


def tested(
    portal: PortalCore, application: Application, query: Mapping[str, Any], user_id: int
) -> list[Call]:
    """Post `ONAPPTEST` to the application's own subscribers, with what it sent along.

    Documented on https://apidocs.bitrix24.com/api-reference/events/test-handler.html.
    """
    data = {"QUERY": query, "LANGUAGE_ID": "en"}
    return _notify(portal, "ONAPPTEST", data, user_id, portal.events.bindings(application.client_id))


def happened(portal: PortalCore, event: str, data: Mapping[str, Any], user_id: int | None) -> list[Call]:
    """Call the online subscribers of an event, queue it for the offline ones.

    Documented on https://apidocs.bitrix24.com/api-reference/events/index.html.
    """
    return _notify(portal, event.upper(), data, user_id, portal.events.bindings())


def _notify(
    portal: PortalCore,
    event: str,
    data: Mapping[str, Any],
    user_id: int | None,
    bindings: Iterable[Binding],
) -> list[Call]:
    calls = []
    filled: set[str] = set()
    for binding in bindings:
        if binding.event != event:
            continue
        if binding.offline:
            if portal.events.queue(binding, data, portal.clock.now()):
                filled.add(binding.client_id)
            continue
        application = portal.callers.applications[binding.client_id]
        auth = _auth(portal, application, _pair(portal, application, binding.auth_type or user_id))
        # Only events that need lasting access bring a refresh token.
        auth.pop("refresh_token", None)
        calls.append(_event(portal, binding.handler, binding.event, data, auth, binding.id))
    for client_id in filled:
        waiting = portal.events.to_be_told(client_id, portal.clock.now())
        calls += _notify(portal, "ONOFFLINEEVENT", {}, user_id, waiting)
    return calls


def _event(
    portal: PortalCore,
    url: str,
    event: str,
    data: Mapping[str, Any],
    auth: Mapping[str, Any],
    handler_id: int | None = None,
) -> Call:
    fields = {
        "event": event,
        "event_handler_id": handler_id,
        "data": data,
        "ts": int(portal.clock.now()),
        "auth": auth,
    }
    return portal.queue_server.post("event", url, fields)


def _pair(portal: PortalCore, application: Application, user_id: int | None) -> TokenPair | None:
    # No tokens on behalf of someone who does not exist.
    if user_id not in portal.callers.users:
        return None
    return portal.callers.tokens.issue(application, user_id)


def _auth(portal: PortalCore, application: Application, pair: TokenPair | None) -> dict[str, Any]:
    tokens: dict[str, Any] = {}
    if pair is not None:
        tokens = {
            "access_token": pair.access_token,
            "expires": int(pair.expires),
            "expires_in": int(portal.callers.tokens.lifetime),
            "user_id": pair.user_id,
            "refresh_token": pair.refresh_token,
        }
    return tokens | {
        "domain": portal.host,
        "scope": ",".join(application.scope),
        "server_endpoint": f"{portal.url}/rest/",
        "status": "L",
        "client_endpoint": f"{portal.url}/rest/",
        "member_id": portal.member_id,
        "application_token": application.application_token,
    }
