"""What a task that answers notes about its answer: an XCom, before it sends and when it knows how that went.

A worker or triggerer can die between the portal's acceptance and Airflow's record of it. The next try must know that an
answer may have arrived: if nobody waits any more, it counts as delivered then. The dispatcher reads the note of a
robot's ``reply``, and answers itself when there is none and the time is over. So the time is looked at once more when
the note is written.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_b24._airflow.xcoms import delete_xcom, place_of, read_xcom, write_xcom
from airflow_provider_b24.exceptions import TransportError

if TYPE_CHECKING:
    from airflow.sdk import Context

NOTE_KEY = "bitrix24_answer"
MAYBE_SENT_KEY = "bitrix24_answer_may_have_arrived"
"""What a try leaves for the next, until it is certain that nothing has arrived."""

Outcome = Literal["due", "sending", "delivered", "refused", "unsent"]
_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


def check_time(seconds_left: float | None) -> None:
    """Find out whether there is time to send.

    :param seconds_left: how long sending may take; ``None`` for no limit.
    :raises TransportError: when the time is over; nothing was sent.
    """
    if seconds_left is not None and seconds_left <= 0:
        raise TransportError("too_late", "Nothing was sent: the time to answer was over.")


@dataclass(frozen=True, slots=True)
class AnswerNote:
    """What a task has noted.

    :param outcome: ``due``: the triggerer is about to send; ``sending``: it has begun, and the answer may have arrived;
        ``delivered``: the portal has taken it; ``refused``: nobody waits for it; ``unsent``: no process waits, this is
        what it would be answered with. There is no note after an attempt that certainly did not arrive.
    :param at: when the sending began, in UTC.
    :param values: what was sent.
    :param error: why not, in words.
    :param maybe_sent: whether an earlier try may have delivered the answer.
    """

    outcome: Outcome
    at: dt.datetime
    values: Mapping[str, Any] | None = None
    error: str = ""
    maybe_sent: bool = False

    def to_xcom(self) -> str:
        """Write the note as it is stored: JSON text, which no serializer changes."""
        note = {
            "outcome": self.outcome,
            "at": self.at.isoformat(),
            "values": self.values,
            "error": self.error,
            "maybe_sent": self.maybe_sent,
        }
        return json.dumps(note)

    @classmethod
    def from_xcom(cls, value: Any) -> AnswerNote | None:
        """Read what :meth:`to_xcom` wrote; ``None`` for anything else."""
        try:
            while isinstance(value, str):  # a database may give the text of the text
                value = json.loads(value)
            if not isinstance(value, Mapping) or value.get("outcome") not in _OUTCOMES:
                return None
            values = value.get("values")
            return cls(
                value["outcome"],
                dt.datetime.fromisoformat(value["at"]),
                values if isinstance(values, Mapping) else None,
                str(value.get("error") or ""),
                bool(value.get("maybe_sent", True)),  # the notes of older versions do not say
            )
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class AnswerNotes:
    """The note of one task instance, read and written from its task or its trigger.

    :param place: ``dag_id``, ``task_id``, ``run_id`` and ``map_index``.
    """

    place: Mapping[str, Any]

    @classmethod
    def of(cls, context: Context) -> AnswerNotes:
        """Give the notes of the running task."""
        return cls(place_of(context["ti"]))

    def read(self) -> AnswerNote | None:
        """Read the note of this try."""
        return AnswerNote.from_xcom(read_xcom(NOTE_KEY, self.place))

    def write(
        self,
        outcome: Outcome,
        at: dt.datetime,
        values: Mapping[str, Any] | None,
        error: str = "",
        *,
        maybe_sent: bool = False,
    ) -> None:
        """Note something, in place of what was noted before.

        :param at: when the sending began, in UTC.
        :param maybe_sent: whether an earlier try may have delivered the answer.
        """
        note = AnswerNote(outcome, at, values, error, maybe_sent)
        write_xcom(NOTE_KEY, note.to_xcom(), self.place)

    def take_back(self) -> None:
        """Forget the note: nothing can have arrived."""
        delete_xcom(NOTE_KEY, self.place)
