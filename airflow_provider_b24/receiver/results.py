"""Results of external workers: stored once, then the waiting task is woken."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.receiver.answers import Answer, RefusedError
from airflow_provider_b24.receiver.bodies import parse_json_object
from airflow_provider_b24.receiver.portals import find_portal
from airflow_provider_b24.sensors.result_delivery import (
    HEARTBEAT_KEY,
    RESULT_KEY,
    Delivery,
)
from airflow_provider_b24.sensors.result_reference import (
    ExpiredReferenceError,
    ForgedReferenceError,
    ResultReference,
    claimed_conn_id,
)
from airflow_provider_b24.triggers._settling import SETTLING_SECONDS

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_ATTEMPTS_TO_WAKE = 3
_TRIGGER = "airflow_provider_b24.triggers.external_result.ExternalResultTrigger"


def deliver_result(reference_text: str, body: bytes) -> Answer:
    """Store what the worker computed.

    :param body: a JSON object.
    :raises RefusedError: 400 malformed, 403 forged, 404 the run is gone, 409 delivered before, 410 expired.
    """
    reference = _verified(reference_text)
    return _deliver(reference, Delivery(result=parse_json_object(body)))


def deliver_failure(reference_text: str, body: bytes) -> Answer:
    """Store that the worker gave up.

    :param body: nothing, or a JSON object whose ``message`` says why.
    :raises RefusedError: as :func:`deliver_result`.
    """
    reference = _verified(reference_text)
    message = parse_json_object(body or b"{}").get("message", "no reason given")
    if not isinstance(message, str):
        raise RefusedError(400, "malformed", "message must be text.")
    return _deliver(reference, Delivery(message=message))


def note_heartbeat(reference_text: str) -> Answer:
    """Store that the worker is alive.

    :raises RefusedError: as :func:`deliver_result`: 409 tells the worker that nobody waits any longer.
    """
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import update
    from sqlalchemy.exc import IntegrityError

    reference, now = _verified(reference_text), time.time()
    try:
        with create_session() as session:
            dag_run_id = _dag_run_id(reference, session)
            if _stored(reference, dag_run_id, RESULT_KEY, session):
                raise _delivered_before()
            if _stored(reference, dag_run_id, HEARTBEAT_KEY, session):
                address = _address(reference, dag_run_id, HEARTBEAT_KEY)
                session.execute(update(XComModel).where(*address).values(value=now))
            else:
                _store(reference, dag_run_id, HEARTBEAT_KEY, now, session)
    except IntegrityError:
        log.debug("Another heartbeat for the same task arrived in the same moment.")
    return Answer(202)


def _deliver(reference: ResultReference, delivery: Delivery) -> Answer:
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    try:
        with create_session() as session:
            dag_run_id = _dag_run_id(reference, session)
            if _stored(reference, dag_run_id, RESULT_KEY, session):
                raise _delivered_before()
            _store(reference, dag_run_id, RESULT_KEY, delivery.to_xcom(), session)
    except IntegrityError:
        # The table's primary key lets one delivery in, however many arrive together. The other
        # possibility is that the run was deleted in this moment.
        with create_session() as session:
            if _stored(reference, _dag_run_id(reference, session), RESULT_KEY, session):
                raise _delivered_before() from None
        raise
    _wake(reference)
    return Answer(202)


def _verified(reference_text: str) -> ResultReference:
    forged = RefusedError(403, "forged", "The result reference is not genuine.")
    try:
        portal = find_portal(claimed_conn_id(reference_text))
        if portal is None:
            raise forged
        return ResultReference.read(reference_text, portal.signing_key("result"), now=time.time())
    except ForgedReferenceError:
        raise forged from None
    except ExpiredReferenceError:
        raise RefusedError(
            410, "expired", "The result reference has expired: nobody waits any longer."
        ) from None


def _dag_run_id(reference: ResultReference, session: Session) -> int:
    """Find the run by its task instance: the stored result hangs on both."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    found = session.scalar(
        select(DagRun.id)
        .join(TaskInstance, (TaskInstance.dag_id == DagRun.dag_id) & (TaskInstance.run_id == DagRun.run_id))
        .where(
            TaskInstance.dag_id == reference.dag_id,
            TaskInstance.run_id == reference.run_id,
            TaskInstance.task_id == reference.task_id,
            TaskInstance.map_index == reference.map_index,
        )
    )
    if found is None:
        raise RefusedError(404, "gone", "The DAG run that this result is for no longer exists.")
    return found


def _address(reference: ResultReference, dag_run_id: int, key: str) -> tuple[Any, ...]:
    from airflow.models.xcom import XComModel

    return (
        XComModel.dag_run_id == dag_run_id,
        XComModel.task_id == reference.task_id,
        XComModel.map_index == reference.map_index,
        XComModel.key == key,
    )


def _stored(reference: ResultReference, dag_run_id: int, key: str, session: Session) -> bool:
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    return session.scalar(select(XComModel.key).where(*_address(reference, dag_run_id, key))) is not None


def _store(reference: ResultReference, dag_run_id: int, key: str, value: Any, session: Session) -> None:
    """Insert a row, as XComModel.set would, but without first deleting the one that may be there."""
    from airflow.models.xcom import XComModel

    session.add(
        XComModel(
            dag_run_id=dag_run_id,
            dag_id=reference.dag_id,
            run_id=reference.run_id,
            task_id=reference.task_id,
            map_index=reference.map_index,
            key=key,
            value=value,
        )
    )
    session.flush()


def _delivered_before() -> RefusedError:
    return RefusedError(
        409, "delivered", "A result or a failure has been delivered before; the first one stands."
    )


def _wake(reference: ResultReference, attempts: int = _ATTEMPTS_TO_WAKE) -> None:
    """Resume the tasks that wait for this result now, instead of at their trigger's next look.

    The result is committed. A task that was deferred a moment ago is woken a moment later, and also when the database
    is busy now: otherwise its waking would depend on the triggerer alone.

    :param attempts: how often to try.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        again_in = _resume_waiting(reference)
    except (ImportError, AttributeError, SQLAlchemyError) as error:
        again_in = SETTLING_SECONDS if isinstance(error, SQLAlchemyError) else None
        log.warning(
            "The result for task %s of DAG %s is stored, but its waiting task could not be woken (%s): it will notice "
            "at its trigger's next look.",
            reference.task_id,
            reference.dag_id,
            type(error).__name__,
        )
    if again_in is not None and attempts > 1:
        timer = threading.Timer(again_in, _wake, (reference, attempts - 1))
        timer.daemon = True
        timer.start()


def _resume_waiting(reference: ResultReference) -> float | None:
    """Resume the tasks that wait for this result.

    :return: in how many seconds the youngest of them may be resumed that may not now; ``None`` if there is none.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session
    from airflow.utils.sqlalchemy import with_row_locks
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    again_in: float | None = None
    with create_session() as session:
        waiting = select(TaskInstance).where(
            TaskInstance.dag_id == reference.dag_id,
            TaskInstance.run_id == reference.run_id,
            TaskInstance.state == TaskInstanceState.DEFERRED,
            TaskInstance.trigger_id.in_(select(Trigger.id).where(Trigger.classpath == _TRIGGER)),
        )
        # Locked, so that the triggerer cannot resume the same task instance in between.
        for ti in session.scalars(with_row_locks(waiting, session, of=TaskInstance, skip_locked=True)).all():
            trigger = session.get(Trigger, ti.trigger_id)
            kwargs = trigger.kwargs if trigger is not None else {}
            if trigger is None or (kwargs.get("source_task_id"), kwargs.get("source_map_index")) != (
                reference.task_id,
                reference.map_index,
            ):
                continue
            unsettled = SETTLING_SECONDS - (dt.datetime.now(dt.UTC) - trigger.created_date).total_seconds()
            if unsettled > 0:
                again_in = max(again_in or 0.0, unsettled)
            else:
                Trigger.submit_event(trigger.id, TriggerEvent({"outcome": "delivered"}), session=session)
    return again_in
