"""How a portal writes moments, and its account of how long a call took."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def time_of(begun: float, processing: float) -> dict[str, Any]:
    """Return the `time` of an answer, without the operating time.

    :param begun: Unix time by the portal's clock.
    :param processing: seconds it took.
    """
    finish = begun + processing
    return {
        "start": begun,
        "finish": finish,
        "duration": processing,
        "processing": processing,
        "date_start": iso_date(begun),
        "date_finish": iso_date(finish),
    }


def iso_date(moment: float) -> str:
    """Return a moment the way the portal writes dates."""
    return datetime.fromtimestamp(int(moment), UTC).isoformat()
