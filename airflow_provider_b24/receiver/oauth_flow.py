"""The OAuth sign-in that a user of Airflow begins: to the portal, and back with a code.

The portal sends users back to the address in the application's card. It knows one address for everything, so the page
for installations takes them back as well.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request  # noqa: TC002 - FastAPI resolves annotations here at run time
from fastapi.responses import RedirectResponse, Response

from airflow_provider_b24.hooks.connecting import TERMINAL_STATE, authorize_url
from airflow_provider_b24.receiver.airflow_users import login_url, may_edit_connection, signed_in_user
from airflow_provider_b24.receiver.answers import RefusedError
from airflow_provider_b24.receiver.install_page import page, refusal_page
from airflow_provider_b24.receiver.oauth_state import check_state, make_state
from airflow_provider_b24.receiver.portals import find_connection

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.receiver.desk import Desk
    from airflow_provider_b24.receiver.installation import Installations, Taken

log = logging.getLogger(__name__)

_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def add_oauth_routes(app: FastAPI, desk: Desk, installations: Installations) -> None:
    """Add ``GET /{conn_id}/oauth/start``, ``GET /{conn_id}/oauth/callback`` and ``GET /{conn_id}/install``."""

    @app.get("/{conn_id}/oauth/start")
    async def start(conn_id: str, request: Request) -> Response:
        """Send a signed-in user who may edit the connection to the portal."""

        async def work() -> Response:
            user = await signed_in_user(request)
            if user is None:
                return RedirectResponse(login_url(str(request.url)), 302, _HEADERS)
            found = await desk.in_thread(partial(_editable, user, conn_id))
            url = authorize_url(found, make_state(found, str(user.get_id())))
            return RedirectResponse(url, 302, _HEADERS)

        return await desk.do("oauth_start", work, refusal_page)

    @app.get("/{conn_id}/oauth/callback")
    @app.get("/{conn_id}/install")
    async def callback(conn_id: str, request: Request) -> Response:
        """Take the user back from the portal, with the code that buys the first tokens."""
        code, state = (request.query_params.get(name, "") for name in ("code", "state"))

        async def work() -> Response:
            if state.startswith(TERMINAL_STATE):
                return _to_the_terminal()
            if not code or not state:
                raise RefusedError(
                    400,
                    "malformed",
                    "Bitrix24 sends people to this address with a code and a state, and there are none. To connect "
                    "the application, open it in Bitrix24, or begin from oauth/start.",
                )
            user = await signed_in_user(request)
            if user is None:
                raise RefusedError(
                    401,
                    "not_signed_in",
                    "Sign in to Airflow in this browser, then begin again from oauth/start.",
                )
            found = await desk.in_thread(partial(_editable, user, conn_id))
            check_state(found, str(user.get_id()), state)
            taken = await desk.in_thread(partial(installations.take_code, conn_id, code))
            log.info("User %s has connected the application of connection %r.", user.get_name(), conn_id)
            return _connected(taken)

        return await desk.do("oauth_callback", work, refusal_page)


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


def _connected(taken: Taken) -> Response:
    told = [f"The application is connected, on behalf of {taken.connected.user}.", *taken.problems]
    if not taken.connected.administrator:
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
