"""Which portal a request concerns, by the connection its address or reference names."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import with_installation
from airflow_provider_b24.receiver.answers import RefusedError

log = logging.getLogger(__name__)

_CONN_ID = re.compile(r"[\w#!():./\\-]{1,250}")
"""What Airflow accepts as the id of a connection."""


def find_portal(conn_id: str) -> PortalConnection | None:
    """Look a connection up, with what its installation in the portal has brought.

    :return: ``None`` when there is none that can be used; why is for the operator's log, not for the caller.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    connection = find_connection(conn_id)
    if connection is None:
        return None
    return with_installation(connection)


def find_connection(conn_id: str) -> PortalConnection | None:
    """Look a connection up as Airflow has it.

    :return: ``None`` when there is none that can be used; why is for the operator's log, not for the caller.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say. A secrets backend has errors of its own.
    """
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    from airflow_provider_b24.exceptions import ConnectionConfigError

    if not _CONN_ID.fullmatch(conn_id) or ".." in conn_id:
        # Anybody can name anything here, and secrets backends make paths of it.
        return None
    try:
        try:
            return PortalConnection.load(conn_id)
        except AirflowNotFoundException:
            # Airflow says so, too, when its database or secrets backend is away, and be it for a moment. That must
            # not look like a wrong address: Bitrix24 does not repeat a call.
            return PortalConnection.load(conn_id) if _is_anywhere(conn_id) else None
    except ConnectionConfigError as error:
        log.error("A request is refused: %s", error)
        return None


def _is_anywhere(conn_id: str) -> bool:
    """Ask all places where Airflow looks for connections, and hide none of their failures."""
    from airflow.configuration import ensure_secrets_loaded

    return any(backend.get_connection(conn_id=conn_id) is not None for backend in ensure_secrets_loaded())


@dataclass(frozen=True, slots=True)
class Portals:
    """Looks connections up, and remembers them for the time when the database is away."""

    _known: dict[str, PortalConnection] = field(default_factory=dict, init=False, repr=False)

    def find(self, conn_id: str) -> PortalConnection | None:
        """Look a connection up, as :func:`find_portal` does."""
        portal = find_portal(conn_id)
        if portal is None:
            self._known.pop(conn_id, None)
        else:
            self._known[conn_id] = portal
        return portal

    def remembered(self, conn_id: str) -> PortalConnection | None:
        """Give a connection as it was last seen."""
        return self._known.get(conn_id)

    def learn(self) -> bool:
        """Look up the connections in the database that are portals, before anybody asks for them.

        :return: ``False`` when the database cannot say.
        """
        from airflow.models.connection import Connection
        from airflow.utils.session import create_session
        from sqlalchemy import select
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with create_session() as session:
                conn_ids = session.scalars(
                    select(Connection.conn_id).where(Connection.conn_type == "bitrix24")
                ).all()
            for conn_id in conn_ids:
                self.find(conn_id)
        except SQLAlchemyError as error:
            log.warning(
                "Cannot look up the connections to Bitrix24 in Airflow's database: %s", type(error).__name__
            )
            return False
        return True


def authenticate(portal: PortalConnection, auth: Any) -> None:
    """Check that a robot call comes from the portal.

    :param auth: the call's ``auth`` fields.
    :raises RefusedError: 403, always with the same words.
    """
    refusal = RefusedError(
        403, "forbidden", "The call does not carry this portal's application_token and member_id."
    )
    if portal.uninstalled:
        log.warning(
            "A robot call for connection %r is refused: its application was uninstalled.", portal.conn_id
        )
        raise refusal
    if portal.application_token is None:
        log.error(
            "A robot call for connection %r is refused: the connection has no application_token, which alone proves "
            "where a call comes from. Set application_token and member_id in the connection's extra, or install the "
            "application (`airflow-b24 doctor` says more).",
            portal.conn_id,
        )
        raise refusal
    claims = auth if isinstance(auth, Mapping) else {}
    genuine = _same(claims.get("application_token"), portal.application_token)
    if portal.member_id is not None:
        genuine &= _same(claims.get("member_id"), portal.member_id)
    if not genuine:
        log.warning(
            "A robot call for connection %r is refused: wrong application_token or member_id.", portal.conn_id
        )
        raise refusal


def _same(claimed: Any, expected: str) -> bool:
    return isinstance(claimed, str) and hmac.compare_digest(claimed.encode(), expected.encode())
