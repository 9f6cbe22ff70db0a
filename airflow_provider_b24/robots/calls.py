"""The calls of a period and what became of them, from Airflow's own records; and answering one of them by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_b24.exceptions import EventTokenError
from airflow_provider_b24.robots.answers import ANSWERERS, CALL_TASK_ID, AnswerNote, Outcome, key_of
from airflow_provider_b24.robots.call import MalformedCallError, RobotCall
from airflow_provider_b24.robots.definition import RobotDefinition, definition_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

RUN_ID_PREFIX = "bitrix24__"

CallState = Literal["running", "answered", "failure-answered", "unanswered", "refused", "not-awaited"]
STATES: tuple[CallState, ...] = get_args(CallState)

_ENDED = ("success", "failed")
_AT_ONCE = 500


class CallError(Exception):
    """A call that cannot be found, or cannot be answered by hand; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class CallReport:
    """What became of one call.

    :param state: ``running``: no answer yet, and the run goes on; ``answered``; ``failure-answered``: with the
        robot's ``on_failure`` values; ``unanswered``: the run has ended, and nobody has answered; ``refused``: the
        portal did not take the answer; ``not-awaited``: the process does not wait.
    :param answered_by: ``reply``, ``reply_on_failure``, ``deadline``, ``hand`` or ``callback``.
    """

    received_at: dt.datetime
    dag_id: str
    run_id: str
    code: str
    workflow_id: str
    run_state: str
    state: CallState
    answered_by: str | None = None
    answered_at: dt.datetime | None = None
    deadline: dt.datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-safe form."""
        return {
            name: value.isoformat() if isinstance(value, dt.datetime) else value
            for name, value in asdict(self).items()
        }


def calls_between(
    since: dt.datetime,
    until: dt.datetime,
    *,
    states: Collection[CallState] = STATES,
    dag_ids: Collection[str] = (),
) -> Iterator[CallReport]:
    """Read what became of the calls that were received in a period, the oldest first.

    :param states: only calls in these states.
    :param dag_ids: only calls of these DAGs; none means all.
    """
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(DagRun.run_after, DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.conf).where(
        DagRun.run_id.startswith(RUN_ID_PREFIX, autoescape=True),
        DagRun.run_after >= since,
        DagRun.run_after < until,
    )
    if dag_ids:
        query = query.where(DagRun.dag_id.in_(dag_ids))
    query = query.order_by(DagRun.run_after, DagRun.id).limit(_AT_ONCE)
    offset = 0
    while True:
        with create_session() as session:
            rows = session.execute(query.offset(offset)).all()
            notes = _notes_of({row.run_id for row in rows}, session)
        for row in rows:
            report = _report(row, notes.get((row.dag_id, row.run_id), []))
            if report.state in states:
                yield report
        if len(rows) < _AT_ONCE:
            return
        offset += _AT_ONCE


def answer_by_hand(
    run_id: str,
    values: Mapping[str, Sequence[str]] | None,
    *,
    log_message: str | None = None,
    dag_id: str | None = None,
) -> dict[str, Any]:
    """Answer a call in the place of its DAG run, and note that in the run's records.

    :param run_id: the run that the call started.
    :param values: key of a return property to what was typed for it, several texts for a multiple one; ``None`` for the
        robot's ``on_failure`` values.
    :param log_message: text for the process's log.
    :param dag_id: the robot's DAG, where several have a run of this id.
    :return: the values as they were sent.
    :raises CallError: when there is no such call, nobody waits, it was answered before, or the values do not fit.
    :raises Bitrix24Error: when the portal refuses, or cannot be reached.
    """
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

    run_dag_id, call, notes = _find(run_id, dag_id)
    answered = next((note for note in notes if note.outcome == "delivered"), None)
    if answered is not None:
        raise CallError(f"Nothing was sent: the process has been answered {answered}.")
    if not call.use_subscription:
        raise CallError("Nothing was sent: the process does not wait for an answer.")
    definition = _definition(run_dag_id)
    answer = _typed(definition, values)
    attempts = 1 + max((note.attempts for note in notes if note.by == "hand"), default=0)
    _note(run_dag_id, run_id, "sending", attempts)
    with Bitrix24Hook(definition.bitrix24_conn_id) as hook:
        try:
            hook.send_event(call.event_token, answer, log_message)
        except EventTokenError as error:
            _note(run_dag_id, run_id, "refused", attempts)
            raise CallError(
                "The portal does not take the answer: the process has been answered before, has stopped waiting, or "
                f"has ended. {error}"
            ) from None
    _note(run_dag_id, run_id, "delivered", attempts)
    return answer


def _report(row: Any, notes: Sequence[AnswerNote]) -> CallReport:
    conf = row.conf if isinstance(row.conf, Mapping) else {}
    state, by, at = _state(str(row.state), conf, notes)
    return CallReport(
        received_at=row.run_after,
        dag_id=row.dag_id,
        run_id=row.run_id,
        code=str(conf.get("code", "")),
        workflow_id=str(conf.get("workflow_id", "")),
        run_state=str(row.state),
        state=state,
        answered_by=by,
        answered_at=at,
        deadline=_deadline(conf),
    )


def _state(
    run_state: str, conf: Mapping[str, Any], notes: Sequence[AnswerNote]
) -> tuple[CallState, str | None, dt.datetime | None]:
    for note in notes:
        if note.outcome == "delivered":
            state: CallState = "answered" if note.by in ("reply", "hand") else "failure-answered"
            return state, note.by, note.at
    outcomes = {note.by: note.outcome for note in notes if note.outcome != "sending"}
    if conf.get("use_subscription") == "N" or outcomes.get("reply") == "not wanted":
        return "not-awaited", None, None
    if outcomes == {"deadline": "refused"} and run_state == "failed":
        # Before the triggerer came the DAG's failure callback: it answers after a time-out, and cannot write notes.
        return "failure-answered", "callback", None
    if run_state not in _ENDED:
        return "running", None, None
    return ("refused" if outcomes else "unanswered"), None, None


def _deadline(conf: Mapping[str, Any]) -> dt.datetime | None:
    from airflow_provider_b24.sensors.result_reference import patience_ends_at

    end = patience_ends_at(conf)
    return None if end is None else dt.datetime.fromtimestamp(end, dt.UTC)


def _notes_of(run_ids: Collection[str], session: Session) -> dict[tuple[str, str], list[AnswerNote]]:
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    query = select(XComModel).where(
        XComModel.task_id == CALL_TASK_ID,
        XComModel.run_id.in_(run_ids),
        XComModel.key.in_([key_of(by) for by in ANSWERERS]),
    )
    notes: dict[tuple[str, str], list[AnswerNote]] = {}
    for row in session.scalars(query):
        if note := AnswerNote.from_xcom(row.key, XComModel.deserialize_value(row)):
            notes.setdefault((row.dag_id, row.run_id), []).append(note)
    return notes


def _find(run_id: str, dag_id: str | None) -> tuple[str, RobotCall, list[AnswerNote]]:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(DagRun.dag_id, DagRun.conf).where(DagRun.run_id == run_id)
    if dag_id is not None:
        query = query.where(DagRun.dag_id == dag_id)
    with create_session() as session:
        rows = session.execute(query).all()
        notes = _notes_of([run_id], session)
    if not rows:
        raise CallError(
            f"There is no run {run_id!r}{f' of {dag_id!r}' if dag_id else ''}. List calls with: calls"
        )
    if len(rows) > 1:
        raise CallError(f"Several DAGs have a run {run_id!r}: say which with --dag-id.")
    (row,) = rows
    try:
        call = RobotCall.from_conf(row.conf or {})
    except MalformedCallError:
        raise CallError(f"Run {run_id!r} of {row.dag_id!r} was not started by a robot call.") from None
    return row.dag_id, call, notes.get((row.dag_id, run_id), [])


def _definition(dag_id: str) -> RobotDefinition:
    from airflow.models.serialized_dag import SerializedDagModel

    dag = SerializedDagModel.get_dag(dag_id)
    definition = definition_of(dag) if dag is not None else None
    if definition is None:
        raise CallError(f"DAG {dag_id!r} is no robot any more: what its answers may hold is unknown.")
    return definition


def _typed(definition: RobotDefinition, values: Mapping[str, Sequence[str]] | None) -> dict[str, Any]:
    """Make values of what was typed.

    :raises CallError: when they do not fit.
    """
    if values is None:
        return definition.answer(definition.on_failure, complete=False)
    typed: dict[str, Any] = {}
    try:
        for key, texts in values.items():
            prop = definition.return_properties.get(key)
            if prop is not None and not prop.multiple and len(texts) > 1:
                raise ValueError(f"return property {key!r} has one value, but {len(texts)} were given")
            typed[key] = list(texts) if prop is not None and prop.multiple else texts[0]
            if prop is not None:
                typed[key] = prop.parse(typed[key])
        return definition.answer(typed)
    except ValueError as error:
        raise CallError(f"Nothing was sent. {error}") from None


def _note(dag_id: str, run_id: str, outcome: Outcome, attempts: int) -> None:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    note = AnswerNote("hand", outcome, dt.datetime.now(dt.UTC), attempts)
    with create_session() as session:
        XComModel.set(
            key=key_of("hand"),
            value=note.to_xcom(),
            dag_id=dag_id,
            task_id=CALL_TASK_ID,
            run_id=run_id,
            session=session,
        )
