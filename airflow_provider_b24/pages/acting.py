"""What people do about calls: answer by hand, answer with ``on_failure``, have them tried again at once.

Each begins with a page that says what would be done, and is done by a form of that page. The audit log is written
before: what became of it is on record with the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response  # noqa: TC002 - FastAPI resolves annotations here at run time

from airflow_provider_b24._airflow.audit import write_audit_entry
from airflow_provider_b24._airflow.database import reading, writing
from airflow_provider_b24._airflow.masking import masked
from airflow_provider_b24.calls.answering import AnswerRefusedError, how_it_ended
from airflow_provider_b24.calls.by_hand import (
    NOTHING_TO_RETRY,
    answer_several_by_hand,
    retry_now,
    robot_of,
    typed_answer,
)
from airflow_provider_b24.calls.changes import StoredAnswer
from airflow_provider_b24.calls.inspection import inspect_call
from airflow_provider_b24.calls.listing import CallFilter, CallReport
from airflow_provider_b24.calls.table import OPEN_STATES
from airflow_provider_b24.pages.calls import AT_ONCE, SignedIn, no_such_call
from airflow_provider_b24.pages.forms import PostedForm, answer_fields, posted_form
from airflow_provider_b24.pages.rendering import render
from airflow_provider_b24.receiver.answers import RefusedError

if TYPE_CHECKING:
    from airflow_provider_b24.pages.visitors import Visitor
    from airflow_provider_b24.robots.definition import RobotDefinition

router = APIRouter()

Deed = Literal["answer", "on_failure", "retry"]
_EVENTS = {
    "answer": "bitrix24_call_answered_by_hand",
    "on_failure": "bitrix24_call_answered_on_failure",
    "retry": "bitrix24_call_tried_again",
}


@dataclass(frozen=True, slots=True)
class _Task:
    """What someone wants to do, and may.

    :param calls: to which calls.
    """

    deed: Deed
    calls: Sequence[CallReport]

    @property
    def open_calls(self) -> list[CallReport]:
        """Those that are not settled yet."""
        return [call for call in self.calls if call.state in OPEN_STATES]

    def robot(self) -> RobotDefinition:
        """Find the robot whose answer is typed.

        :raises AnswerRefusedError: when there are several, or Airflow does not know it.
        """
        calls = self.open_calls or self.calls
        if len({call.dag_id for call in calls}) > 1:
            raise AnswerRefusedError(
                "Calls of several robots cannot be answered with the same values: choose those of one robot."
            )
        return robot_of(calls[0])

    def on_failure(self) -> dict[str, StoredAnswer | AnswerRefusedError]:
        """Give the ``on_failure`` values for each call, or why there are none."""
        answers: dict[str, StoredAnswer | AnswerRefusedError] = {}
        known: dict[str, StoredAnswer | AnswerRefusedError] = {}
        for call in self.calls:
            if call.dag_id not in known:
                try:
                    known[call.dag_id] = StoredAnswer(typed_answer(robot_of(call), None))
                except AnswerRefusedError as error:
                    known[call.dag_id] = error
            answers[call.id] = known[call.dag_id]
        return answers


@router.get("/act")
def ask(request: Request, user: SignedIn) -> Response:
    """Say what would be done, and ask."""
    params = request.query_params
    return _ask(request, user, _task(params.get("do", ""), params.getlist("call"), user))


@router.post("/act")
def act(request: Request, user: SignedIn, form: Annotated[PostedForm, Depends(posted_form)]) -> Response:
    """Do what was asked and confirmed."""
    user.check_form(request, form.one("token"))
    task = _task(form.one("do"), form.all("call"), user)
    if task.deed == "retry":
        return _retry(request, user, task)
    message = form.one("message").strip() or None
    if task.deed == "on_failure":
        given = task.on_failure()
        return _send(request, user, task, given, message)
    try:
        answer = StoredAnswer(typed_answer(robot := task.robot(), form.values(robot)), message)
    except AnswerRefusedError as error:
        return _ask(request, user, task, form, problem=str(error))
    confirmed = form.one("confirmed")
    if confirmed != "yes":
        return _ask(request, user, task, form, answer=None if confirmed == "no" else answer)
    return _send(request, user, task, dict.fromkeys((call.id for call in task.calls), answer), message)


def _task(deed: str, ids: Sequence[str], user: Visitor) -> _Task:
    """Read what someone wants to do.

    :raises RefusedError: when that is nothing, or not allowed.
    """
    if deed not in get_args(Deed):
        raise RefusedError(400, "malformed", "The address does not say what is to be done.")
    ids = list(dict.fromkeys(ids))
    if not ids:
        raise RefusedError(400, "nothing_chosen", "Choose calls in the list first.")
    if len(ids) > AT_ONCE:
        raise RefusedError(400, "too_many", f"At most {AT_ONCE} calls at once.")
    with reading() as session:
        found = [inspect_call(call_id, session) for call_id in ids]
    calls = [one.report for one in found if one is not None]
    dag_ids = {call.dag_id for call in calls}
    if len(calls) < len(ids) or user.visible(dag_ids) != dag_ids:
        raise no_such_call()
    if not all(user.may_answer(dag_id) for dag_id in dag_ids):
        raise RefusedError(403, "forbidden", "You may not edit runs of the DAG, and so not answer its calls.")
    return _Task(cast("Deed", deed), calls)


def _ask(
    request: Request,
    user: Visitor,
    task: _Task,
    form: PostedForm | None = None,
    *,
    problem: str | None = None,
    answer: StoredAnswer | None = None,
) -> Response:
    calls, fields = task.open_calls, cast("Sequence[Any]", ())
    on_failure: Mapping[str, Any] = {}
    try:
        if task.deed == "answer":
            fields = answer_fields(task.robot(), form)
        elif task.deed == "on_failure":
            on_failure = task.on_failure()
    except AnswerRefusedError as error:
        problem = str(error)
    return render(
        request,
        "act.html",
        400 if problem is not None and form is not None else 200,
        task=task,
        token=user.form_token(),
        fields=fields,
        message=form.one("message") if form is not None else "",
        on_failure=on_failure,
        has_nothing_to_send=not calls
        or (
            task.deed == "on_failure"
            and not any(isinstance(on_failure.get(call.id), StoredAnswer) for call in calls)
        ),
        problem=problem,
        answer=answer,
        calls=calls,
        settled=len(task.calls) - len(calls),
    )


def _send(
    request: Request,
    user: Visitor,
    task: _Task,
    given: Mapping[str, StoredAnswer | AnswerRefusedError],
    message: str | None,
) -> Response:
    answers = {
        call_id: StoredAnswer(answer.values, message)
        for call_id, answer in given.items()
        if isinstance(answer, StoredAnswer)
    }
    outcomes: dict[str, CallReport | AnswerRefusedError] = {
        call_id: answer for call_id, answer in given.items() if isinstance(answer, AnswerRefusedError)
    }
    _write_down(
        user, task, {call_id: {"values": masked(dict(one.values))} for call_id, one in answers.items()}
    )
    outcomes |= answer_several_by_hand(answers, user=user.name)
    return render(
        request,
        "done.html",
        task=task,
        outcomes=[_outcome(call, outcomes[call.id], user.name) for call in task.calls],
    )


def _retry(request: Request, user: Visitor, task: _Task) -> Response:
    ids = [call.id for call in task.calls]
    _write_down(user, task, {call_id: {} for call_id in ids})
    number = retry_now(CallFilter(), ids)
    words = "It is tried again now." if number == 1 else f"{number} calls are tried again now."
    return render(
        request,
        "done.html",
        task=task,
        outcomes=[(None, words if number else NOTHING_TO_RETRY, bool(number))],
    )


def _outcome(
    call: CallReport, outcome: CallReport | AnswerRefusedError, user: str
) -> tuple[CallReport, str, bool]:
    """Say how an answer of a user went: the call, words, and whether the portal has taken it."""
    if isinstance(outcome, AnswerRefusedError):
        return call, str(outcome), False
    if outcome.state == "answered-by-hand" and outcome.answered_by == f"hand:{user}":
        return outcome, "The portal has taken the answer.", True
    why = masked(outcome.last_error or outcome.reason or "")
    if outcome.state == "too-late":
        return outcome, f"The answer was not taken, nobody waits any more. {why}", False
    if outcome.state not in OPEN_STATES:
        return outcome, f"The answer was not taken: {how_it_ended(outcome)} {why}", False
    return outcome, f"The portal has not taken the answer yet; the dispatcher goes on trying. {why}", False


def _write_down(user: Visitor, task: _Task, about: Mapping[str, Mapping[str, Any]]) -> None:
    with writing() as session:
        for call in task.calls:
            if call.id in about:
                extra = {"call": call.id, "process": call.process, **about[call.id]}
                write_audit_entry(
                    session,
                    _EVENTS[task.deed],
                    user.name,
                    dag_id=call.dag_id,
                    run_id=call.run_id,
                    extra=extra,
                )
