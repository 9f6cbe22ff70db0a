"""Calls as the table has them, without a process or a run behind them."""

from __future__ import annotations

import datetime as dt
from typing import Any

NOW = dt.datetime.now(dt.UTC)


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A settled call, each a minute older than the one before."""
    at = NOW - dt.timedelta(minutes=number)
    return {
        "id": f"{number:032x}",
        "conn_id": "crm",
        "code": "score_lead",
        "dag_id": "score_lead",
        "run_id": f"bitrix24__{number:032x}",
        "process": f"process.{number}",
        "document": f"crm/CCrmDocumentLead/LEAD_{number}",
        "waits": True,
        "sent_at": at,
        "received_at": at,
        "answered_at": at + dt.timedelta(seconds=75),
        "answered_by": "reply",
        "state": "answered",
        "attempts": 0,
        "due_at": at,
    } | changes
