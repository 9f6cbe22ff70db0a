"""Event subscriptions, and the queue of offline events.

Documented on https://apidocs.bitrix24.com/api-reference/events/index.html.
"""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.table import columns, find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OWN = (
    "ONAPPUNINSTALL",
    "ONAPPINSTALL",
    "ONAPPUPDATE",
    "ONAPPPAYMENT",
    "ONAPPTEST",
    "ONAPPMETHODCONFIRM",
    "ONOFFLINEEVENT",
)
_CRM = (
    "LEAD",
    "DEAL",
    "CONTACT",
    "COMPANY",
    "QUOTE",
    "INVOICE",
    "CURRENCY",
    "PRODUCT",
    "ACTIVITY",
    "REQUISITE",
    "BANKDETAIL",
    "MEASURE",
    "TIMELINECOMMENT",
    "TYPE",
    "DYNAMICITEM",
)
_VERBS = ("ADD", "UPDATE", "DELETE")
#: Every event an application may subscribe to, by the scope that it needs.
EVENTS: dict[str, tuple[str, ...]] = {
    "": _OWN,
    "user": ("ONUSERADD",),
    "crm": (
        *(f"ONCRM{name}{verb}" for name in _CRM for verb in _VERBS),
        *(f"ONCRMDEALRECURRING{verb}" for verb in (*_VERBS, "EXPOSE")),
    ),
    "task": tuple(f"ONTASK{name}{verb}" for name in ("", "COMMENT") for verb in _VERBS),
}
_OF_ONE_TYPE = re.compile(r"ONCRMDYNAMICITEM(ADD|UPDATE|DELETE)_[0-9]+")
#: What a record of the offline queue is found and ordered by.
QUEUE_COLUMNS = columns(
    ID="integer",
    TIMESTAMP_X="datetime",
    EVENT_NAME="string",
    MESSAGE_ID="integer",
    PROCESS_ID="string",
    ERROR="integer",
)


def event_exists(event: str) -> bool:
    """Return whether there is such an event: one of :data:`EVENTS`, or one of a smart process, `…ADD_147`."""
    return any(event in events for events in EVENTS.values()) or _OF_ONE_TYPE.fullmatch(event) is not None


@dataclass(frozen=True, slots=True)
class Binding:
    """One subscription.

    :param min_timeout: of `ONOFFLINEEVENT`, how many seconds pass from one to the next at least.
    """

    id: int
    client_id: str
    event: str
    handler: str
    auth_type: int
    offline: bool
    connector: str
    min_timeout: float = 1.0


@dataclass(slots=True)
class OfflineEvent:
    """One record of the offline queue: an object has changed."""

    id: int
    client_id: str
    connector: str
    event: str
    data: dict[str, Any] = field(repr=False)
    time: float
    process_id: str = ""
    error: bool = False

    def row(self, date: Callable[[float], str]) -> dict[str, Any]:
        """Return the record as the methods write it."""
        return {
            "ID": str(self.id),
            "TIMESTAMP_X": date(self.time),
            "EVENT_NAME": self.event,
            "EVENT_DATA": self.data or False,
            "EVENT_ADDITIONAL": False,
            "MESSAGE_ID": str(self.id),
            "PROCESS_ID": self.process_id,
            "ERROR": "1" if self.error else "0",
        }


class Events:
    """Who wants to hear of what, and what offline subscribers have not fetched yet."""

    def __init__(self) -> None:
        self._bindings: list[Binding] = []
        self._queue: list[OfflineEvent] = []
        self._last = 0
        # When subscribers of the queue itself were told of it, by the number of their subscription.
        self._told: dict[int, float] = {}
        self._last_queued = 0

    def bindings(self, client_id: str | None = None) -> list[Binding]:
        """Return the subscriptions of one application, or all."""
        return [b for b in self._bindings if client_id in (None, b.client_id)]

    def bind(
        self,
        client_id: str,
        event: str,
        handler: str,
        *,
        auth_type: int,
        offline: bool,
        connector: str,
        min_timeout: float = 1.0,
    ) -> Binding:
        """Subscribe."""
        self._last += 1
        binding = Binding(self._last, client_id, event, handler, auth_type, offline, connector, min_timeout)
        self._bindings.append(binding)
        return binding

    def unbind(self, unwanted: Callable[[Binding], bool]) -> int:
        """Cancel subscriptions and return how many there were."""
        kept = [binding for binding in self._bindings if not unwanted(binding)]
        count = len(self._bindings) - len(kept)
        self._bindings = kept
        return count

    def forget(self, client_id: str) -> None:
        """Cancel all of an application that was uninstalled."""
        self.unbind(lambda binding: binding.client_id == client_id)
        self._queue = [event for event in self._queue if event.client_id != client_id]

    def queue(self, binding: Binding, data: Mapping[str, Any], now: float) -> bool:
        """Note a change for an offline subscriber: one record per changed object, the latest.

        :returns: whether the queue has a record more.
        """
        for event in self._queue:
            same = (event.client_id, event.connector, event.event, event.data)
            if same == (binding.client_id, binding.connector, binding.event, data) and not event.process_id:
                event.time = now
                return False
        self._last_queued += 1
        self._queue.append(
            OfflineEvent(
                self._last_queued, binding.client_id, binding.connector, binding.event, dict(data), now
            )
        )
        return True

    def to_be_told(self, client_id: str, now: float) -> list[Binding]:
        """Return who is told now that an application's queue has something new, and is not told again at once."""
        told = [
            binding
            for binding in self.bindings(client_id)
            if binding.event == "ONOFFLINEEVENT"
            and not binding.offline
            and now - self._told.get(binding.id, -math.inf) >= binding.min_timeout
        ]
        self._told |= {binding.id: now for binding in told}
        return told

    def listed(self, client_id: str, connector: str) -> list[OfflineEvent]:
        """Return one application's queue."""
        return [e for e in self._queue if e.client_id == client_id and e.connector == connector]

    def take(
        self,
        client_id: str,
        connector: str,
        date: Callable[[float], str],
        *,
        filter_by: object,
        order: object,
        limit: int,
        clear: bool,
        process_id: str,
        errors: bool,
    ) -> tuple[str | None, list[dict[str, Any]]]:
        """Fetch a portion: delete it, or reserve it under a process id."""
        free = {
            str(event.id): event
            for event in self.listed(client_id, connector)
            if event.process_id == process_id and event.error == errors
        }
        rows = find(
            [event.row(date) for event in free.values()], filter_by, order, filters.OFFLINE, QUEUE_COLUMNS
        )[:limit]
        fetched = [free[str(row["ID"])] for row in rows]
        if clear:
            self._queue = [event for event in self._queue if event not in fetched]
            reserved = None
        else:
            reserved = process_id or secrets.token_hex(16)
            for event in fetched:
                event.process_id = reserved
        shown = ("PROCESS_ID", "ERROR")
        return reserved, [{k: v for k, v in row.items() if k not in shown} for row in rows]

    def clear(self, client_id: str, process_id: str, numbers: set[str] | None) -> None:
        """Delete a reserved portion, or some records of it."""
        self._queue = [event for event in self._queue if not _meant(event, client_id, process_id, numbers)]

    def mark(self, client_id: str, process_id: str, numbers: set[str]) -> None:
        """Keep records of a reserved portion as erroneous."""
        for event in self._queue:
            if _meant(event, client_id, process_id, numbers):
                event.error = True


def _meant(event: OfflineEvent, client_id: str, process_id: str, numbers: set[str] | None) -> bool:
    return (
        event.client_id == client_id
        and event.process_id == process_id
        and (numbers is None or str(event.id) in numbers)
    )
