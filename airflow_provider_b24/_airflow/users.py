"""Who is signed in to Airflow, and may edit a connection: asked of Airflow's auth manager, whichever it is.

Airflow does not authenticate requests to a plugin's application, but its sign-in cookie arrives with them.

=======  ====================================================================================================
3.0 on   ``get_auth_manager()`` and its methods; the sign-in cookie is ``COOKIE_NAME_JWT_TOKEN``.
3.1      With ``[core] multi_team`` connections belong to teams: ``Connection.get_team_name``.
=======  ====================================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser as BaseUser  # noqa: PLC0414 - given on
    from starlette.requests import Request


async def signed_in_user(request: Request) -> BaseUser | None:
    """Tell who makes a request, ``None`` when nobody is signed in, or not any longer.

    :param request: carries Airflow's sign-in cookie, or its token as ``Authorization: Bearer``.
    """
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
    from jwt import InvalidTokenError

    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")
    if not token:
        return None
    try:
        return await get_auth_manager().get_user_from_token(token)
    except InvalidTokenError:
        return None


def may_edit_connection(user: BaseUser, conn_id: str) -> bool:
    """Ask whether a user may edit a connection; blocks, because an auth manager may look into the database."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails
    from airflow.configuration import conf
    from airflow.models.connection import Connection

    details: dict[str, Any] = {"conn_id": conn_id}
    if conf.getboolean("core", "multi_team", fallback=False):
        details["team_name"] = Connection.get_team_name(conn_id)
    return get_auth_manager().is_authorized_connection(
        method="PUT", details=ConnectionDetails(**details), user=user
    )


def login_url(next_url: str) -> str:
    """Give the address of Airflow's sign-in page.

    :param next_url: where to go afterwards.
    """
    from airflow.api_fastapi.app import get_auth_manager

    return get_auth_manager().get_url_login(next_url=next_url)
