"""Who is signed in to Airflow, and what they may: asked of Airflow's auth manager, whichever it is.

Airflow does not authenticate requests to a plugin's application, but its sign-in cookie arrives with them.

=======  ====================================================================================================
3.0 on   ``get_auth_manager()`` and its methods; the sign-in cookie is ``COOKIE_NAME_JWT_TOKEN``.
3.1      With ``[core] multi_team`` connections and DAGs belong to teams: ``Connection.get_team_name``,
         ``DagModel.get_team_name``.
3.3      ``SimpleAuthManager.get_url_login`` takes ``next_url``; before, who asks adds it to the address as ``next``.
=======  ====================================================================================================
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

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
    return _may_use_connection("PUT", user, conn_id)


def may_see_connection(user: BaseUser, conn_id: str | None) -> bool:
    """Ask whether a user may see a connection; blocks, because an auth manager may look into the database.

    :param conn_id: ``None`` for those that do not exist.
    """
    return _may_use_connection("GET", user, conn_id)


def may_edit_runs(user: BaseUser, dag_id: str) -> bool:
    """Ask whether a user may edit the runs of a DAG; blocks, because an auth manager may look into the database."""
    return _may_use_runs("PUT", user, dag_id)


def with_visible_runs(user: BaseUser, dag_ids: Collection[str]) -> set[str]:
    """Tell of which DAGs a user may see the runs; blocks, because an auth manager may look into the database.

    :param dag_ids: which DAGs; they need not exist.
    """
    from airflow.api_fastapi.app import get_auth_manager

    asked = [_run_request("GET", dag_id) for dag_id in dag_ids]
    # One question to a manager that asks a server of its own, where the answer is the usual one.
    if asked and get_auth_manager().batch_is_authorized_dag(asked, user=user):
        return set(dag_ids)
    return {dag_id for dag_id in dag_ids if _may_use_runs("GET", user, dag_id)}


def _may_use_connection(method: Literal["GET", "PUT"], user: BaseUser, conn_id: str | None) -> bool:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails
    from airflow.models.connection import Connection

    details: dict[str, Any] = {"conn_id": conn_id}
    if conn_id is not None and _has_teams():
        details["team_name"] = Connection.get_team_name(conn_id)
    return get_auth_manager().is_authorized_connection(
        method=method, details=ConnectionDetails(**details), user=user
    )


def _may_use_runs(method: Literal["GET", "PUT"], user: BaseUser, dag_id: str) -> bool:
    from airflow.api_fastapi.app import get_auth_manager

    asked: dict[str, Any] = dict(_run_request(method, dag_id))
    return get_auth_manager().is_authorized_dag(**asked, user=user)


def _run_request(method: Literal["GET", "PUT"], dag_id: str) -> Any:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
    from airflow.models.dag import DagModel

    details: dict[str, Any] = {"id": dag_id}
    if _has_teams():
        details["team_name"] = DagModel.get_team_name(dag_id)
    return {"method": method, "access_entity": DagAccessEntity.RUN, "details": DagDetails(**details)}


def _has_teams() -> bool:
    from airflow.configuration import conf

    return bool(conf.getboolean("core", "multi_team", fallback=False))


def login_url(next_url: str) -> str:
    """Give the address of Airflow's sign-in page.

    :param next_url: where to go afterwards.
    """
    from airflow.api_fastapi.app import get_auth_manager

    url: str = get_auth_manager().get_url_login(next_url=next_url)
    if "next" not in parse_qs(urlsplit(url).query):
        url += ("&" if "?" in url else "?") + urlencode({"next": next_url})
    return url
