"""What the dispatcher tells a run about the answer of its call: :class:`AnswerMark`.

The dispatcher has no way into a running task. It leaves a mark in the run's conf, which every task reads that starts
later: a run that is cleared knows then that its process has its answer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MARK_KEY = "bitrix24_answer"
"""Key of the mark in the conf."""

NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class AnswerMark:
    """What the dispatcher has told a run.

    :param answered_by: who has answered or is about to: ``reply``, ``dispatcher``, ``hand:USER``; ``nobody`` when
        nobody waits any more; ``None`` while ``reply`` is to answer.
    :param answered_at: when, in UTC.
    :param maybe_sent: whether an earlier try of ``reply`` has begun to send, and nobody knows how that went.
    """

    answered_by: str | None = None
    answered_at: dt.datetime | None = None
    maybe_sent: bool = False

    def put_into(self, conf: Mapping[str, Any]) -> dict[str, Any]:
        """Give the conf with this mark in place of the one before."""
        mark = {
            "answered_by": self.answered_by,
            "answered_at": self.answered_at.isoformat() if self.answered_at else None,
            "maybe_sent": self.maybe_sent,
        }
        return {**conf, MARK_KEY: mark}

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any] | None) -> AnswerMark:
        """Read the mark of a run; an empty one where there is none, or none that can be read."""
        mark = (conf or {}).get(MARK_KEY)
        if not isinstance(mark, Mapping):
            return cls()
        by, at = mark.get("answered_by"), mark.get("answered_at")
        try:
            when = dt.datetime.fromisoformat(at) if isinstance(at, str) else None
        except ValueError:
            when = None
        return cls(by if isinstance(by, str) else None, when, bool(mark.get("maybe_sent")))

    def __str__(self) -> str:
        by = {
            "reply": "by this run's task reply",
            "dispatcher": "with the on_failure values, by the dispatcher",
        }
        who = str(self.answered_by)
        words = by.get(who) or f"by hand, by {who.removeprefix('hand:')}"
        return f"{words}, at {self.answered_at:%Y-%m-%d %H:%M:%S} UTC" if self.answered_at else words
