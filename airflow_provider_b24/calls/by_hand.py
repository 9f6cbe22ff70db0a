"""What a person does about a call: answer it, or have what waits tried again at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.database import changed_rows, reading, writing
from airflow_provider_b24.calls.answering import AnswerRefusedError, Claimed, Sender
from airflow_provider_b24.calls.changes import StoredAnswer, now_utc
from airflow_provider_b24.calls.listing import CallFilter, CallReport, find_call, waits_for_operator
from airflow_provider_b24.calls.robots_at_hand import RobotsAtHand
from airflow_provider_b24.calls.table import call_table

if TYPE_CHECKING:
    from airflow_provider_b24.robots.definition import RobotDefinition

NOTHING_TO_RETRY = (
    "Nothing is tried again: no answer failed to get through, and no call waits for its DAG. Calls of a paused DAG "
    "go on when it is unpaused."
)


def answer_by_hand(
    name: str, values: Mapping[str, Sequence[str]] | None, *, user: str, log_message: str | None = None
) -> tuple[dict[str, Any], CallReport]:
    """Answer a call in the place of its DAG run; the run is told.

    :param name: id of the call, or of its run.
    :param values: key of a return property to what was typed for it, several texts for a multiple one; ``None`` for the
        robot's ``on_failure`` values.
    :param user: who answers.
    :param log_message: text for the process's log.
    :return: the values, and the call as it is afterwards: open with an error when the portal has not taken them yet.
        The dispatcher goes on then.
    :raises AnswerRefusedError: when there is no such call, nobody waits, it was answered before, or values do not fit.
    """
    call = find_call(name)
    if call is None:
        raise AnswerRefusedError(f"There is no call {name!r}. List calls with: airflow-b24 calls")
    answer = StoredAnswer(typed_answer(robot_of(call), values), log_message)
    sender = Sender()
    sender.send(call.conn_id, [sender.claim_for(call.id, user, answer)])
    return dict(answer.values), find_call(call.id) or call


def answer_several_by_hand(
    answers: Mapping[str, StoredAnswer], *, user: str
) -> dict[str, CallReport | AnswerRefusedError]:
    """Answer calls in the place of their DAG runs, in one request for each connection.

    :param answers: id of a call to its answer, at most 50.
    :param user: who answers.
    :return: for each id the call as it is afterwards, or why nothing was sent.
    """
    sender = Sender()
    outcomes: dict[str, CallReport | AnswerRefusedError] = {}
    claimed: dict[str, list[Claimed]] = {}
    for call_id, answer in answers.items():
        try:
            one = sender.claim_for(call_id, user, answer)
        except AnswerRefusedError as error:
            outcomes[call_id] = error
        else:
            claimed.setdefault(one.call.conn_id, []).append(one)
    for conn_id, some in claimed.items():
        sender.send(conn_id, some)
    for one in (one for some in claimed.values() for one in some):
        outcomes[one.call.id] = find_call(one.call.id) or AnswerRefusedError(
            "The call was deleted meanwhile."
        )
    return outcomes


def retry_now(wanted: CallFilter, names: Sequence[str] = ()) -> int:
    """Have the dispatcher try at once what waits for a person to fix something.

    :param wanted: which calls.
    :param names: only these, by id of the call or of its run.
    :return: how many calls are tried again.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be written.
    """
    query = sa.update(call_table).where(waits_for_operator(), *wanted.conditions())
    if names:
        query = query.where(sa.or_(call_table.c.id.in_(names), call_table.c.run_id.in_(names)))
    with writing() as session:
        return changed_rows(session, query.values(due_at=now_utc()))


def robot_of(call: CallReport) -> RobotDefinition:
    """Find the robot that a call is for.

    :raises AnswerRefusedError: when Airflow does not know it, and so not what its answers may hold.
    """
    with reading() as session:
        definition = RobotsAtHand().find([call.dag_id], session)[call.dag_id].definition
    if definition is None:
        raise AnswerRefusedError(
            f"Airflow does not know the robot DAG {call.dag_id!r}, and so not what its answers may hold. Put its file "
            "back into the DAG folder, and try again when it is parsed."
        )
    return definition


def typed_answer(definition: RobotDefinition, values: Mapping[str, Sequence[str]] | None) -> dict[str, Any]:
    """Make values of what was typed, as ``reply`` checks those of a DAG.

    :param values: key of a return property to what was typed for it; ``None`` for the ``on_failure`` values.
    :raises AnswerRefusedError: when they do not fit.
    """
    if values is None:
        return definition.answer(definition.on_failure, complete=False)
    typed: dict[str, Any] = {}
    problems = []
    for key, texts in values.items():
        try:
            typed[key] = _typed_value(definition, key, texts)
        except ValueError as error:
            problems.append(str(error))
    if not problems:
        try:
            return definition.answer(typed)
        except ValueError as error:
            problems.append(str(error))
    raise AnswerRefusedError(f"Nothing was sent. {'; '.join(problems)}")


def _typed_value(definition: RobotDefinition, key: str, texts: Sequence[str]) -> Any:
    """Make a value of what was typed for a return property.

    :raises ValueError: when it does not fit; names the property.
    """
    prop = definition.return_properties.get(key)
    value: Any = texts[0]
    if prop is not None:
        if not prop.multiple and len(texts) > 1:
            raise ValueError(f"return property {key!r} has one value, but {len(texts)} were given")
        try:
            value = prop.parse(list(texts) if prop.multiple else texts[0])
        except ValueError as error:
            raise ValueError(f"return property {key!r}: {error}") from None
    definition.answer({key: value}, complete=False)
    return value
