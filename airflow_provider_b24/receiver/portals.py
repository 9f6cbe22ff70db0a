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

from airflow_provider_b24._airflow.connections import is_anywhere, portal_conn_ids
from airflow_provider_b24.calls.listing import conn_ids_on_record
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import with_installation
from airflow_provider_b24.receiver.answers import RefusedError, unavailable

log = logging.getLogger(__name__)

_CONN_ID = re.compile(r"[\w#!():./\\-]{1,250}")
"""What Airflow accepts as the id of a connection."""
_SECONDS_KEPT = 60.0
_SECONDS_BETWEEN = 0.25
_SECONDS_TO_LOOK_UP = 10.0
_MOST_UNKNOWN = 1000
_MOST_ASKING_FOR_UNKNOWN = 50
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
        # Anyone can name anything here, and secrets backends make paths of it.
        return None
    try:
        try:
            return PortalConnection.load(conn_id)
        except AirflowNotFoundException:
            # Airflow says so, too, when its database or secrets backend is away, and be it for a moment. That must
            # not look like a wrong address: Bitrix24 does not repeat a call.
            return PortalConnection.load(conn_id) if is_anywhere(conn_id) else None
    except ConnectionConfigError as error:
        log.error("A request is refused: %s", error)
        return None


@dataclass(frozen=True, slots=True)
class _Kept:
    portal: PortalConnection | None
    looked_at: float


class Portals:
    """Looks connections up, and keeps them: a stranger's post costs no look-up each time.

    What is kept also serves while the database is away.

    :param seconds_kept: after how long a connection is looked up anew, while calls go on by what is known.
    :param seconds_between: how long one is not looked up again, not even for a caller it does not know.
    """

    def __init__(
        self, *, seconds_kept: float = _SECONDS_KEPT, seconds_between: float = _SECONDS_BETWEEN
    ) -> None:
        self._seconds_kept = seconds_kept
        self._seconds_between = seconds_between
        self._known: dict[str, _Kept] = {}
        # Apart, and few: strangers can invent names without end.
        self._unknown: OrderedDict[str, _Kept] = OrderedDict()
        self._asking_for_unknown = 0
        self._locks: dict[str, asyncio.Lock] = {}
        self._renewals: set[asyncio.Task[_Kept]] = set()
        self._threads = ThreadPoolExecutor(_THREADS, "bitrix24-receiver-connections")

    async def authenticated(self, conn_id: str, auth: Any) -> PortalConnection:
        """Find the connection that a call comes by, and check that it comes from its portal.

        A connection that does not know the caller is looked up again, because its application may have been installed
        anew a moment ago.

        :param auth: the call's ``auth`` fields.
        :raises RefusedError: 403 when it does not, 404 when there is no such connection, 429 when too many ask for
            connections that are not known, 503 when the database cannot say and nothing is known.
        """
        asked_at = time.monotonic()
        kept = self._known.get(conn_id)
        if kept is not None and kept.portal is not None and is_genuine(kept.portal, auth):
            if asked_at - kept.looked_at > self._seconds_kept:
                self._renew(conn_id, asked_at)
            return kept.portal
        kept = await self._look_up(conn_id, asked_at)
        if kept.portal is None:
            raise RefusedError(404, "unknown_connection", "There is no such connection.")
        authenticate(kept.portal, auth)
        return kept.portal

    def knows(self, conn_id: str) -> bool:
        """Tell whether there is such a connection, as far as is known without asking."""
        return conn_id in self._known

    def forget(self, conn_id: str) -> None:
        """Look a connection up again at the next call, because it has changed."""
        self._known.pop(conn_id, None)
        self._unknown.pop(conn_id, None)

    async def learn(self) -> None:
        """Look up the connections that may be portals, before anyone asks for them.

        These are the ones in the database, and those that calls have come by before.
        """
        loop = asyncio.get_running_loop()
        for names in (portal_conn_ids, conn_ids_on_record):
            try:
                conn_ids = await loop.run_in_executor(self._threads, names)
            except Exception as error:
                log.warning("Cannot look up the connections to Bitrix24: %s", type(error).__name__)
                continue
            for conn_id in conn_ids:
                with suppress(RefusedError):
                    await self._look_up(conn_id, time.monotonic())

    def _renew(self, conn_id: str, asked_at: float) -> None:
        if conn_id not in self._locks:
            task = asyncio.get_running_loop().create_task(self._look_up(conn_id, asked_at))
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)

    async def _look_up(self, conn_id: str, asked_at: float) -> _Kept:
        """Look a connection up, unless someone has since it was asked for; one at a time, and not too often."""
        if not _CONN_ID.fullmatch(conn_id) or ".." in conn_id:
            # Anyone can name anything here, and secrets backends make paths of it.
            return _Kept(None, asked_at)
        is_known = conn_id in self._known
        if not is_known and self._asking_for_unknown >= _MOST_ASKING_FOR_UNKNOWN:
            raise RefusedError(429, "too_many", "Too many connections are asked for that are not known.")
        self._asking_for_unknown += not is_known
        lock = self._locks.setdefault(conn_id, asyncio.Lock())
        try:
            async with lock:
                kept = self._known.get(conn_id) or self._unknown.get(conn_id)
                if kept is not None:
                    if kept.looked_at > asked_at:
                        return kept
                    pause = kept.looked_at + self._seconds_between - time.monotonic()
                    if pause > 0:
                        await asyncio.sleep(pause)
                return await self._look_up_now(conn_id, kept)
        finally:
            self._asking_for_unknown -= not is_known
            if not lock.locked():
                self._locks.pop(conn_id, None)

    async def _look_up_now(self, conn_id: str, kept: _Kept | None) -> _Kept:
        looked_at = time.monotonic()
        work = asyncio.get_running_loop().run_in_executor(self._threads, find_portal, conn_id)
        try:
            found = _Kept(await asyncio.wait_for(work, _SECONDS_TO_LOOK_UP), looked_at)
        except Exception as error:
            log.warning("The connection %r cannot be looked up: %s", conn_id, type(error).__name__)
            if kept is None or kept.portal is None:
                raise unavailable() from None
            return kept
        self.forget(conn_id)
        if found.portal is not None:
            self._known[conn_id] = found
        else:
            self._unknown[conn_id] = found
            if len(self._unknown) > _MOST_UNKNOWN:
                self._unknown.popitem(last=False)
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
