"""One portal for all triggers of a triggerer: their calls travel together, up to 50 in a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_provider_b24.exceptions import AuthError, Bitrix24Error, TransportError

if TYPE_CHECKING:
    from airflow_provider_b24.rest import Coalescer

NO_CONNECTION = "no_connection"
"""Code of the error when the triggerer cannot read the connection: nothing was sent."""

_users: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Shared]] = WeakKeyDictionary()


class _Shared:
    """A coalescer with the number of triggers that use it."""

    def __init__(self, conn_id: str) -> None:
        from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

        self.hook = Bitrix24Hook(conn_id)
        self.users = 0
        self._opening = asyncio.Lock()
        self._coalescer: Coalescer | None = None

    async def coalescer(self) -> Coalescer:
        async with self._opening:
            if self._coalescer is None:
                from airflow_provider_b24.rest import Coalescer

                self._coalescer = Coalescer(await self.hook.get_async_conn())
        return self._coalescer

    async def close(self) -> None:
        if self._coalescer is not None:
            await self._coalescer.close()
        await self.hook.aclose()


@asynccontextmanager
async def shared_portal(conn_id: str) -> AsyncIterator[Coalescer]:
    """Give the coalescer that all triggers with this connection use in the running event loop.

    It is closed when its last user leaves. What is on its way by then arrives first. After a refusal of the
    credentials whoever comes next reads the connection again: someone may have replaced them.

    :param conn_id: the Airflow connection.
    :raises ConnectionConfigError: when the connection cannot be used.
    """
    portals = _users.setdefault(asyncio.get_running_loop(), {})
    shared = portals.setdefault(conn_id, _Shared(conn_id))
    shared.users += 1
    try:
        yield await shared.coalescer()
    except AuthError:
        if portals.get(conn_id) is shared:
            del portals[conn_id]
        raise
    finally:
        shared.users -= 1
        if not shared.users:
            if portals.get(conn_id) is shared:
                del portals[conn_id]
            await shared.close()


@asynccontextmanager
async def portal_for_worker(conn_id: str) -> AsyncIterator[Coalescer]:
    """Give the same to a trigger whose task can do the work itself.

    A triggerer may not find the connection where a worker does: it may be a team's, and triggers belong to no team, or
    its secrets may be the workers' alone.

    :raises Bitrix24Error: when the connection cannot be used; with the code :data:`NO_CONNECTION` when it cannot be
        read.
    """
    async with AsyncExitStack() as stack:
        try:
            portal = await stack.enter_async_context(shared_portal(conn_id))
        except Bitrix24Error:
            raise
        except Exception as error:
            # Its words may hold secrets.
            why = f"Nothing was sent: the connection cannot be read ({type(error).__name__})."
            raise TransportError(NO_CONNECTION, why) from None
        yield portal
