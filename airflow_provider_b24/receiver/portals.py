"""Which portal a request concerns, by the connection its address or reference names."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from airflow_provider_b24._airflow.connections import portal_conn_ids
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import with_installation
from airflow_provider_b24.receiver.answers import RefusedError, unavailable

log = logging.getLogger(__name__)

_CONN_ID = re.compile(r"[\w#!():./\\-]{1,250}")
"""What Airflow accepts as the id of a connection."""
_SECONDS_KEPT = 60.0
_SECONDS_BETWEEN = 1.0
_SECONDS_TO_LOOK_UP = 10.0
_MOST_KEPT = 1000
_THREADS = 4


def find_portal(conn_id: str) -> PortalConnection | None:
    """Look a connection up, with what its installation in the portal has brought.

    :return: ``None`` when there is none that can be used; why is for the operator's log, not for the caller.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    connection = find_connection(conn_id)
    if connection is None:
        return None
    try:
        return with_installation(connection)
    except Exception:
        # A connection from the environment is known while the database is away.
        if connection.application_token is None:
            raise
        log.warning("What is known of the installation of %r cannot be read now.", conn_id)
        return connection


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


@dataclass(slots=True)
class _Kept:
    portal: PortalConnection | None
    looked_at: float


class Portals:
    """Looks connections up, and keeps them: a stranger's post costs no look-up each time.

    What is kept also serves while the database is away.

    :param seconds_kept: how long a connection is believed to be as it was.
    :param seconds_between: how long one is not looked up again, not even for a caller it does not know.
    """

    def __init__(
        self, *, seconds_kept: float = _SECONDS_KEPT, seconds_between: float = _SECONDS_BETWEEN
    ) -> None:
        self._seconds_kept = seconds_kept
        self._seconds_between = seconds_between
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "bitrix24-receiver-connections")

    async def authenticated(self, conn_id: str, auth: Any) -> PortalConnection:
        """Find the connection that a call comes by, and check that it comes from its portal.

        A connection that does not know the caller is looked up again, because its application may have been installed
        anew a moment ago.

        :param auth: the call's ``auth`` fields.
        :raises RefusedError: 403 when it does not, 404 when there is no such connection, 503 when the database cannot
            say and nothing is known.
        """
        asked_at = time.monotonic()
        kept = self._kept.get(conn_id)
        if kept is None or asked_at - kept.looked_at > self._seconds_kept:
            kept = await self._look_up(conn_id, asked_at)
        if kept.portal is None or not is_genuine(kept.portal, auth):
            kept = await self._look_up(conn_id, asked_at)
        if kept.portal is None:
            raise RefusedError(404, "unknown_connection", "There is no such connection.")
        authenticate(kept.portal, auth)
        return kept.portal

    def knows(self, conn_id: str) -> bool:
        """Tell whether there was such a connection when it was looked up last."""
        kept = self._kept.get(conn_id)
        return kept is not None and kept.portal is not None

    def forget(self, conn_id: str) -> None:
        """Look a connection up again at the next call, because it has changed."""
        self._kept.pop(conn_id, None)

    async def learn(self) -> None:
        """Look up the connections in the database that are portals, before anybody asks for them."""
        loop = asyncio.get_running_loop()
        try:
            conn_ids = await loop.run_in_executor(self._threads, portal_conn_ids)
        except Exception as error:
            log.warning("Cannot look up the connections to Bitrix24: %s", type(error).__name__)
            return
        for conn_id in conn_ids:
            with suppress(RefusedError):
                await self._look_up(conn_id, time.monotonic())

    async def _look_up(self, conn_id: str, asked_at: float) -> _Kept:
        """Look a connection up, unless somebody has since it was asked for; one at a time, and not too often."""
        if not _CONN_ID.fullmatch(conn_id) or ".." in conn_id:
            # Anybody can name anything here, and secrets backends make paths of it.
            return _Kept(None, asked_at)
        lock = self._locks.setdefault(conn_id, asyncio.Lock())
        try:
            async with lock:
                kept = self._kept.get(conn_id)
                if kept is not None:
                    if kept.looked_at > asked_at:
                        return kept
                    pause = kept.looked_at + self._seconds_between - time.monotonic()
                    if pause > 0:
                        await asyncio.sleep(pause)
                return await self._look_up_now(conn_id, kept)
        finally:
            if not lock.locked():
                self._locks.pop(conn_id, None)

    async def _look_up_now(self, conn_id: str, kept: _Kept | None) -> _Kept:
        looked_at = time.monotonic()
        work = asyncio.get_running_loop().run_in_executor(self._threads, find_portal, conn_id)
        try:
            portal = await asyncio.wait_for(work, _SECONDS_TO_LOOK_UP)
        except Exception as error:
            log.warning("The connection %r cannot be looked up: %s", conn_id, type(error).__name__)
            if kept is None or kept.portal is None:
                raise unavailable() from None
            return kept
        found = _Kept(portal, looked_at)
        self._kept[conn_id] = found
        self._kept.move_to_end(conn_id)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return found


def is_genuine(portal: PortalConnection, auth: Any) -> bool:
    """Tell whether a robot call comes from the portal.

    :param auth: the call's ``auth`` fields.
    """
    if portal.uninstalled or portal.application_token is None:
        return False
    claims = auth if isinstance(auth, Mapping) else {}
    genuine = _same(claims.get("application_token"), portal.application_token)
    if portal.member_id is not None:
        genuine &= _same(claims.get("member_id"), portal.member_id)
    return genuine


def authenticate(portal: PortalConnection, auth: Any) -> None:
    """Check that a robot call comes from the portal.

    :param auth: the call's ``auth`` fields.
    :raises RefusedError: 403, always with the same words; the log says more to the operator.
    """
    if is_genuine(portal, auth):
        return
    if portal.uninstalled:
        log.warning(
            "A robot call for connection %r is refused: its application was uninstalled.", portal.conn_id
        )
    elif portal.application_token is None:
        log.error(
            "A robot call for connection %r is refused: the connection has no application_token, which alone proves "
            "where a call comes from. Set application_token and member_id in the connection's extra, or install the "
            "application (`airflow-b24 doctor` says more).",
            portal.conn_id,
        )
    else:
        log.warning(
            "A robot call for connection %r is refused: wrong application_token or member_id.", portal.conn_id
        )
    raise RefusedError(
        403, "forbidden", "The call does not carry this portal's application_token and member_id."
    )


def _same(claimed: Any, expected: str) -> bool:
    return isinstance(claimed, str) and hmac.compare_digest(claimed.encode(), expected.encode())
