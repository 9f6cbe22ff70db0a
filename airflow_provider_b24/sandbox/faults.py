"""Faults on demand: what goes wrong between a portal and its callers, once or for as long as wanted."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_HTML = "<html><head><title>503 Service Temporarily Unavailable</title></head><body>nginx</body></html>"


@dataclass(frozen=True, slots=True)
class Delay:
    """Answer late.

    It also works for a call inside a batch, when its method is named: the whole batch is late by that much.

    :param seconds: how late, in real seconds.
    :param after_work: do the work first, so that a caller who gives up does not know that it was done.
    """

    seconds: float
    after_work: bool = False


@dataclass(frozen=True, slots=True)
class DropConnection:
    """Close the connection without an answer.

    :param after_work: do the work first.
    """

    after_work: bool = False


@dataclass(frozen=True, slots=True)
class AnswerHtml:
    """Answer with a page instead of JSON, the way a proxy in front of the portal does; no work is done."""

    status: int = 503
    body: str = _HTML


@dataclass(frozen=True, slots=True)
class AnswerStatus:
    """Refuse with any status and error code; no work is done.

    It also works for a call inside a batch, when its method is named: see :meth:`Faults.add`.
    """

    status: int
    code: str | int = "INTERNAL_SERVER_ERROR"
    description: str = "Internal server error"


@dataclass(frozen=True, slots=True)
class TruncateJson:
    """Do the work and answer with the first half of the body; after half a file the connection breaks off."""


Fault = Delay | DropConnection | AnswerHtml | AnswerStatus | TruncateJson


@dataclass(slots=True)
class PlannedFault:
    """A fault that is going to happen.

    :param left: how often, `None` for as long as it is not cleared.
    """

    fault: Fault
    method: str | None
    left: int | None
    about: str | None


class Faults:
    """The faults a portal is going to have, in the order they were added; one at a time per request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[PlannedFault] = []

    def add(
        self,
        fault: Fault,
        method: str | None = None,
        times: int | None = 1,
        *,
        about: str | None = None,
    ) -> None:
        """Plan a fault.

        :param method: the REST method it applies to (`batch` for a whole batch, `oauth.token` for the
            authorization server); any REST method by default.
        :param times: how often; `None` means until :meth:`clear`.
        :param about: what must be in the call's parameters, such as a process's id: no other call fails,
            unless it shares a `batch`.
        :raises ValueError: for a number below one.
        """
        if times is not None and times < 1:
            raise ValueError(f"A fault happens at least once, not {times} times")
        with self._lock:
            self._planned.append(PlannedFault(fault, method.lower() if method else None, times, about))

    def planned(self) -> list[PlannedFault]:
        """Return what is going to happen, in order."""
        with self._lock:
            return list(self._planned)

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._planned.clear()

    def take(self, method: str, parameters: Mapping[str, Any], *, inside_batch: bool = False) -> Fault | None:
        """Return the fault that applies to a call of `method` now, if any.

        :param parameters: the call's.
        :param inside_batch: the call shares its connection with others, so only :class:`AnswerStatus` and
            :class:`Delay` that name the method apply to it.
        """
        if not self._planned:
            return None
        with self._lock:
            for planned in self._planned:
                if not _applies(planned, method, parameters, inside_batch):
                    continue
                if planned.left is not None:
                    planned.left -= 1
                    if planned.left == 0:
                        self._planned.remove(planned)
                return planned.fault
        return None


def _applies(planned: PlannedFault, method: str, parameters: Mapping[str, Any], inside_batch: bool) -> bool:
    if planned.about is not None and planned.about not in str(parameters):
        return False
    if inside_batch:
        return planned.method == method and isinstance(planned.fault, AnswerStatus | Delay)
    if planned.method is None:
        return method != "oauth.token"
    return planned.method == method
