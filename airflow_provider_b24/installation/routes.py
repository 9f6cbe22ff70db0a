"""The routes of the installation: what Bitrix24 posts, and the sign-in that a user of Airflow begins.

The portal sends users back to the address in the application's card. It knows one address for everything, so the page
for installations takes events, and takes users back from the sign-in, as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request  # noqa: TC002 - FastAPI resolves annotations here at run time
from fastapi.responses import JSONResponse, RedirectResponse, Response

from airflow_provider_b24._airflow.users import login_url, may_edit_connection, signed_in_user
from airflow_provider_b24.installation import events, oauth
from airflow_provider_b24.installation.budgets import Budgets
from airflow_provider_b24.installation.handling import RequestHandling
from airflow_provider_b24.installation.pages import page, refusal_page
from airflow_provider_b24.receiver.answers import Answer, RefusedError
from airflow_provider_b24.receiver.portals import find_connection
from airflow_provider_b24.rest.credentials import portal_host
from airflow_provider_b24.rest.encoding import MalformedFormError, parse_form

if TYPE_CHECKING:
    from airflow_provider_b24._airflow.users import BaseUser
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.installation.events import Installed
    from airflow_provider_b24.receiver.bodies import Bodies

log = logging.getLogger(__name__)

_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def add_installation_routes(
    app: FastAPI, refusal_for: Callable[[Exception], RefusedError], bodies: Bodies
) -> None:
    """Add ``POST /{conn_id}/events``, ``/{conn_id}/install`` and ``/{conn_id}/oauth/…``.

    :param refusal_for: what to say when something fails that should not.
    :param bodies: reads bodies, with limits.
    """
    handling = RequestHandling(refusal_for, bodies)
    _add_routes_for_bitrix24(app, handling, Budgets())
    _add_routes_for_users(app, handling)


def _add_routes_for_bitrix24(app: FastAPI, handling: RequestHandling, budgets: Budgets) -> None:
    async def event(conn_id: str, request: Request, body: bytes) -> Response:
        checked = await handling.look_up(partial(events.check_event, conn_id, body))
        if not isinstance(checked, Answer):
            await budgets.spend(conn_id, "event", _address(request))
            checked = await handling.ask_for_stranger(checked)
        return JSONResponse(dict(checked.body), checked.status)

    @app.post("/{conn_id}/events")
    async def take_event(conn_id: str, request: Request) -> Response:
        """Take an event of the application's own life: installed, updated, uninstalled, tested."""

        async def work() -> Response:
            return await event(conn_id, request, await handling.body_of(request))

        return await handling.respond("event", work, _as_json)

    @app.post("/{conn_id}/install")
    async def open_page(conn_id: str, request: Request) -> Response:
        """Show the page that finishes the installation; take the event of an application without pages."""

        async def work() -> Response:
            body = await handling.body_of(request)
            if await handling.look_up(partial(events.is_event, body)):
                return await event(conn_id, request, body)
            try:
                install = await handling.look_up(partial(events.check_page, conn_id, body))
                await budgets.spend(conn_id, "page", _address(request))
                return _finished(await handling.ask_for_stranger(install))
            except RefusedError as error:
                # A refusal, too, is read by a person in the portal's frame.
                return refusal_page(error, await handling.look_up(partial(_portal_url, conn_id)))

        return await handling.respond("install", work, _as_json)


def _add_routes_for_users(app: FastAPI, handling: RequestHandling) -> None:
    async def user_and_connection(conn_id: str, request: Request) -> tuple[BaseUser, PortalConnection]:
        user = await signed_in_user(request)
        if user is None:
            raise RefusedError(
                401, "not_signed_in", "Sign in to Airflow in this browser, then begin again from oauth/start."
            )
        return user, await handling.look_up(partial(_editable, user, conn_id))

    @app.get("/{conn_id}/oauth/start")
    async def ask_to_confirm(conn_id: str, request: Request) -> Response:
        """Ask a signed-in user who may edit the connection whether to go to the portal."""

        async def work() -> Response:
            if await signed_in_user(request) is None:
                return RedirectResponse(login_url(str(request.url)), 302, _HEADERS)
            user, connection = await user_and_connection(conn_id, request)
            return _confirmation(user, connection)

        return await handling.respond("oauth_start", work, refusal_page)

    @app.post("/{conn_id}/oauth/start")
    async def start(conn_id: str, request: Request) -> Response:
        """Send a user who has confirmed to the portal."""

        async def work() -> Response:
            body = await handling.body_of(request)
            user, connection = await user_and_connection(conn_id, request)
            # A foreign page can make a browser post, with the user's cookie. It cannot know what the form holds.
            oauth.check("confirmation", connection, str(user.get_id()), _confirmation_in(body))
            state = oauth.sign("state", connection, str(user.get_id()))
            return RedirectResponse(oauth.authorize_url(connection, state), 303, _HEADERS)

        return await handling.respond("oauth_start", work, refusal_page)

    @app.get("/{conn_id}/oauth/callback")
    @app.get("/{conn_id}/install")
    async def callback(conn_id: str, request: Request) -> Response:
        """Take the user back from the portal, with the code that buys the first tokens."""
        code, state, server_domain = (
            request.query_params.get(name, "") for name in ("code", "state", "server_domain")
        )

        async def work() -> Response:
            if state.startswith(oauth.TERMINAL_STATE):
                return _to_the_terminal()
            if not code or not state:
                raise RefusedError(
                    400,
                    "malformed",
                    "Bitrix24 sends people to this address with a code and a state, and there are none. To connect "
                    "the application, open it in Bitrix24, or begin from oauth/start.",
                )
            user, connection = await user_and_connection(conn_id, request)
            oauth.check("state", connection, str(user.get_id()), state)
            installed = await handling.ask_for_user(
                partial(events.take_code, connection, code, server_domain)
            )
            log.info("User %s has connected the application of connection %r.", user.get_name(), conn_id)
            return _connected(installed)

        return await handling.respond("oauth_callback", work, refusal_page)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _portal_url(conn_id: str) -> str | None:
    found = find_connection(conn_id)
    return found.portal_url if found else None


def _editable(user: BaseUser, conn_id: str) -> PortalConnection:
    """Find an application that the user may edit. Others learn nothing, not even whether there is one."""
    if not may_edit_connection(user, conn_id):
        raise RefusedError(403, "forbidden", "You may not edit this connection in Airflow.")
    found = find_connection(conn_id)
    if found is None:
        raise RefusedError(404, "unknown_connection", "There is no such connection that can be used.")
    if found.kind != "oauth":
        raise RefusedError(
            409,
            "not_an_application",
            "The connection is an incoming webhook: enter client_id and client_secret of an application.",
        )
    return found


def _confirmation_in(body: bytes) -> str:
    try:
        value = parse_form(body).get("confirmation")
    except MalformedFormError:
        value = None
    return value if isinstance(value, str) else ""


def _finished(installed: Installed) -> Response:
    return page(
        "Airflow is connected",
        [
            f"The application is installed. Airflow's connection {installed.connection.conn_id} uses it on behalf of "
            f"{installed.connected.user}.",
            *installed.problems,
            "Robots appear after airflow-b24 robots apply.",
        ],
        portal_url=installed.connection.portal_url,
        finish=True,
    )


def _confirmation(user: BaseUser, connection: PortalConnection) -> Response:
    return page(
        "Connect Airflow to Bitrix24?",
        [
            f"You are signed in to Airflow as {user.get_name()}.",
            f"The connection {connection.conn_id} will use the application in the portal "
            f"{portal_host(connection.portal_url)}, on behalf of the user you sign in as there. Tokens that it has "
            "are replaced.",
            "If you have not come here to do that, close this page.",
        ],
        confirmation=oauth.sign("confirmation", connection, str(user.get_id())),
    )


def _connected(installed: Installed) -> Response:
    told = [f"The application is connected, on behalf of {installed.connected.user}.", *installed.problems]
    if not installed.connected.administrator:
        told.append(
            "This user is no administrator of the portal: robots can be answered, but not registered. To register "
            "robots, let an administrator connect the application."
        )
    return page("Airflow is connected", [*told, "airflow-b24 doctor checks the rest."])


def _to_the_terminal() -> Response:
    return page(
        "Back to the terminal",
        [
            "This sign-in was begun by airflow-b24 connect. Copy the address of this page from the browser's address "
            "bar, and paste it into the terminal. It is good for 30 seconds."
        ],
    )


def _as_json(error: RefusedError) -> Response:
    return JSONResponse(error.body, error.status)
