"""How often strangers may make the receiver ask a portal: a budget for each address, kind of post and connection.

What can be refused without asking anyone is refused before and costs nothing. The rest costs one attempt: only the
portal can tell an invented token from a genuine one. An address has some attempts at once, and gets new ones slowly.

Behind a proxy that does not pass addresses on, all posts come from one. So events have a budget apart from pages, and a
post whose budget is used up waits a while, the newest first: a genuine event is taken although junk came before it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from airflow_provider_b24.receiver.answers import RefusedError

Kind = Literal["event", "page"]

AT_ONCE = 10
"""Attempts that an address has to begin with, and at most."""
SECONDS_PER_ATTEMPT = 2.0
"""An address gets a new attempt that often."""
WAITING = 10
"""Posts of one address that may wait for an attempt."""
LONGEST_WAIT = 15.0
"""Seconds that a post waits."""
ADDRESSES = 10_000
"""Budgets that are kept; the one that was used longest ago is forgotten first."""
_POLL = 0.05


@dataclass(slots=True)
class _Budget:
    left: float
    counted_at: float
    waiting: list[object] = field(default_factory=list)


class Budgets:
    """The budgets of this process."""

    def __init__(self) -> None:
        self._budgets: OrderedDict[tuple[str, Kind, str], _Budget] = OrderedDict()
        # Not an asyncio lock: whoever embeds the receiver may use several event loops.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._budgets)

    async def spend(self, conn_id: str, kind: Kind, address: str) -> None:
        """Spend an attempt, and wait for it if need be.

        :param conn_id: the connection whose portal will be asked.
        :param kind: what was posted.
        :param address: where it came from.
        :raises RefusedError: 429 when there were too many of these lately.
        """
        key, ticket = (conn_id, kind, _network(address)), object()
        ends = time.monotonic() + LONGEST_WAIT
        with self._lock:
            waiting = self._budget(key).waiting
            waiting.append(ticket)
            del waiting[:-WAITING]
        try:
            while not self._may_go(key, ticket):
                if time.monotonic() > ends:
                    raise _too_many()
                await asyncio.sleep(_POLL)
        finally:
            with self._lock:
                budget = self._budgets.get(key)
                if budget is not None and ticket in budget.waiting:
                    budget.waiting.remove(ticket)

    def _may_go(self, key: tuple[str, Kind, str], ticket: object) -> bool:
        with self._lock:
            budget = self._budget(key)
            if ticket not in budget.waiting:
                raise _too_many()
            if budget.left < 1 or budget.waiting[-1] is not ticket:
                return False
            budget.left -= 1
            return True

    def _budget(self, key: tuple[str, Kind, str]) -> _Budget:
        now = time.monotonic()
        budget = self._budgets.setdefault(key, _Budget(AT_ONCE, now))
        self._budgets.move_to_end(key)
        while len(self._budgets) > ADDRESSES:
            self._budgets.popitem(last=False)
        budget.left = min(AT_ONCE, budget.left + (now - budget.counted_at) / SECONDS_PER_ATTEMPT)
        budget.counted_at = now
        return budget


def _network(address: str) -> str:
    """Count all addresses of one IPv6 subscriber as one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def _too_many() -> RefusedError:
    return RefusedError(429, "too_many", "Too many attempts to install; try again in a minute.")
