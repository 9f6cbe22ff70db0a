"""Calls as they come: a line when a run works on one, and a line when it has its answer."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_b24._airflow.database import reading
from airflow_provider_b24._airflow.masking import masked
from airflow_provider_b24.calls.inspection import CallDetails, inspect_call
from airflow_provider_b24.calls.listing import CallFilter, CallReport, Refusals, list_calls, list_refusals
from airflow_provider_b24.calls.table import OPEN_STATES

_LONGEST = 200
_OVERLAP = dt.timedelta(minutes=1)
_ENDED = ("success", "failed")


@dataclass(slots=True)
class LiveCalls:
    """Follows the calls over one connection.

    :param conn_id: the connection.
    :param since: received at this time or later.
    """

    conn_id: str
    since: dt.datetime
    _looks_since: dt.datetime = field(init=False)
    _told: dict[str, str] = field(default_factory=dict, init=False)
    _over: set[str] = field(default_factory=set, init=False)
    _refused: dict[tuple[str, str], int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._looks_since = self.since
        self._refused = {(one.conn_id, one.error): one.number for one in self._refusals()}

    def news(self) -> Iterator[str]:
        """Give a line for each call of which there is something to say that was not said before.

        :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
        """
        oldest = None
        for call in list_calls(CallFilter(since=self._looks_since, conn_ids=[self.conn_id])):
            if call.id in self._over:
                continue
            oldest = oldest or call.received_at
            text, is_over = self._describe(call)
            if is_over:
                self._over.add(call.id)
            if text is not None and self._told.get(call.id) != text:
                self._told[call.id] = text
                yield _line(call, text)
        # A call may get on record a little later than one that came after it.
        self._looks_since = max(self.since, (oldest or dt.datetime.now(dt.UTC)) - _OVERLAP)
        for refusal in self._refusals():
            key = (refusal.conn_id, refusal.error)
            if refusal.number != self._refused.get(key):
                self._refused[key] = refusal.number
                yield f"{_clock(refusal.last_at)}  refused ({refusal.error}): {refusal.message}"

    def _refusals(self) -> list[Refusals]:
        return [one for one in list_refusals(self.since) if one.conn_id in (self.conn_id, "")]

    def _describe(self, call: CallReport) -> tuple[str | None, bool]:
        """Say what there is to say of a call, ``None`` for nothing yet; and whether nothing more comes."""
        if call.state in OPEN_STATES:
            waits_for = "; ".join(part for part in (call.reason, call.last_error) if part)
            if not waits_for:
                return ("running" if call.state == "running" else None), False
            return f"{call.state}: {masked(waits_for)}", False
        with reading() as session:
            details = inspect_call(call.id, session)
        if details is None:  # forgotten in this moment
            return None, True
        if call.state == "not-awaited":
            return _unsent(details)
        took = _took(call)
        values = f"  {_shown(details.answer.values)}" if details.answer else ""
        why = f"  {masked(call.reason or call.last_error or '')}" if call.state != "answered" else ""
        return f"{call.state}{took}{values}{why}".rstrip(), True


def _unsent(details: CallDetails) -> tuple[str | None, bool]:
    """Say how the run of a call went that no process waits for, as one that was sent again."""
    state, run = details.report.state, details.run
    if run is None:
        return f"{state}: {details.report.reason or 'its run was deleted'}", True
    if run.state not in _ENDED:
        return None, False
    values = f"  it would be {_shown(details.answer.values)}" if details.answer else ""
    return f"{state}: the run is {run.state}{values}", True


def _line(call: CallReport, text: str) -> str:
    return (
        f"{_clock(call.received_at)}  {call.id[:8]}  {call.code}  {call.document.rpartition('/')[2]}  {text}"
    )


def _took(call: CallReport) -> str:
    if call.answered_at is None:
        return ""
    return f" by {call.answered_by} after {(call.answered_at - call.received_at).total_seconds():.1f} s"


def _shown(values: Mapping[str, Any]) -> str:
    text = json.dumps(masked(dict(values)), ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _clock(moment: dt.datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"
