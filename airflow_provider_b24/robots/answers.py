"""What is noted about the answer of a call: who tried to answer, and what the portal said.

Several may answer one call: the task ``reply``, the task ``reply_on_failure``, the deadline in the triggerer, a person
with ``airflow-b24 calls answer``. The portal accepts one of them. Each notes its own attempt before it sends, so that a
refusal can be told from a first copy that arrived. The notes are XComs of the task ``robot_call``, which never runs:
Airflow deletes a task's XComs when the task starts. They hold no secret and no values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

CALL_TASK_ID = "robot_call"

Answerer = Literal["reply", "reply_on_failure", "deadline", "hand"]
Outcome = Literal["sending", "delivered", "refused", "not wanted"]

ANSWERERS: tuple[Answerer, ...] = get_args(Answerer)
_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_WORDS: Mapping[Answerer, str] = {
    "reply": "by this run's task reply",
    "reply_on_failure": "with the on_failure values, by this run's task reply_on_failure",
    "deadline": "with the on_failure values, because its patience or the run had come to an end",
    "hand": "by hand",
}


@dataclass(frozen=True, slots=True)
class AnswerNote:
    """What one answerer has noted.

    :param by: who.
    :param outcome: ``sending``: it has begun, and may have arrived; ``delivered``: the portal accepted it; ``refused``:
        the portal did not; ``not wanted``: the process does not wait.
    :param at: when, in UTC.
    :param attempts: how often it has begun to send, not counting what certainly did not arrive.
    """

    by: Answerer
    outcome: Outcome
    at: dt.datetime
    attempts: int = 1

    def to_xcom(self) -> dict[str, Any]:
        """Write the note as it is stored."""
        return {"outcome": self.outcome, "at": self.at.isoformat(), "attempts": self.attempts}

    @classmethod
    def from_xcom(cls, key: str, value: Any) -> AnswerNote | None:
        """Read what :meth:`to_xcom` wrote; ``None`` for anything else.

        :param key: the XCom key, made by :func:`key_of`.
        """
        by = next((one for one in ANSWERERS if key_of(one) == key), None)
        if by is None or not isinstance(value, Mapping) or value.get("outcome") not in _OUTCOMES:
            return None
        try:
            at, attempts = dt.datetime.fromisoformat(str(value.get("at"))), int(value.get("attempts", 1))
        except (TypeError, ValueError):
            return None
        return cls(by, value["outcome"], at, attempts)

    def __str__(self) -> str:
        return f"{_WORDS[self.by]}, at {self.at:%Y-%m-%d %H:%M:%S} UTC"


def key_of(by: Answerer) -> str:
    """Name the XCom of one answerer."""
    return f"bitrix24_answer_by_{by}"


@dataclass(frozen=True, slots=True)
class AnswerNotes:
    """The notes of one DAG run, read and written from a task or a trigger.

    :param dag_id: the robot's DAG.
    :param run_id: the run that the call started.
    """

    dag_id: str
    run_id: str

    def read(self, by: Answerer) -> AnswerNote | None:
        """Read what one answerer has noted."""
        from airflow.sdk.execution_time.xcom import XCom

        return AnswerNote.from_xcom(key_of(by), XCom.get_one(key=key_of(by), **self._place))

    def write(self, by: Answerer, outcome: Outcome, *, attempts: int = 1) -> None:
        """Note something, in place of what this answerer had noted before."""
        from airflow.sdk.execution_time.xcom import XCom

        note = AnswerNote(by, outcome, dt.datetime.now(dt.UTC), attempts)
        XCom.set(key=key_of(by), value=note.to_xcom(), **self._place)

    def begin(self, by: Answerer) -> int:
        """Note that an attempt to answer begins.

        :return: how many there have been, this one included.
        """
        earlier = self.read(by)
        attempts = (earlier.attempts if earlier else 0) + 1
        self.write(by, "sending", attempts=attempts)
        return attempts

    def take_back(self, by: Answerer) -> None:
        """Note that the attempt that began last cannot have arrived: a later refusal is none of a repetition."""
        if begun := self.read(by):
            self.write(by, "sending", attempts=max(begun.attempts - 1, 0))

    def answered(
        self, besides: Answerer | None = None, pause: Callable[[], None] | None = None
    ) -> AnswerNote | None:
        """Find out who has answered.

        :param besides: who asks, and does not mean its own answer.
        :param pause: waits a moment, for an answerer who has begun to send and not yet noted how it went.
        """
        notes = self._all(besides)
        if pause is not None and {note.outcome for note in notes} & {"sending", "delivered"} == {"sending"}:
            pause()
            notes = self._all(besides)
        return next((note for note in notes if note.outcome == "delivered"), None)

    def _all(self, besides: Answerer | None) -> list[AnswerNote]:
        return [note for one in ANSWERERS if one != besides and (note := self.read(one)) is not None]

    @property
    def _place(self) -> dict[str, Any]:
        return {"dag_id": self.dag_id, "task_id": CALL_TASK_ID, "run_id": self.run_id, "map_index": -1}
