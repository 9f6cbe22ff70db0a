"""Results of external workers: stored once, then the waiting task is woken."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_b24._airflow.database import reading, writing
from airflow_provider_b24._airflow.deliveries import Attempt, add_xcom, has_xcom, present_attempt, put_xcom
from airflow_provider_b24._airflow.waking import resume_deferred
from airflow_provider_b24.receiver.answers import Answer, RefusedError
from airflow_provider_b24.receiver.bodies import parse_json_object
from airflow_provider_b24.receiver.portals import find_portal
from airflow_provider_b24.sensors.result_delivery import (
    HEARTBEAT_KEY,
    RESULT_KEY,
    Delivery,
    Outcome,
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
    :raises RefusedError: 400 malformed, 403 forged, 404 the run is gone, 409 delivered before, 410 expired,
        503 the task that handed the reference out is about to run again.
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

    :raises RefusedError: as :func:`deliver_result`; 409 tells the worker that nobody waits any longer.
    """
    from sqlalchemy.exc import IntegrityError

    reference = _verified(reference_text)
    try:
        with writing() as session:
            attempt = _attempt(reference, session)
            if has_xcom(attempt, RESULT_KEY, session):
                raise _delivered_before()
            put_xcom(attempt, HEARTBEAT_KEY, time.time(), session)
    except IntegrityError:
        log.debug("Another heartbeat for the same task arrived in the same moment.")
    return Answer(202)


def _deliver(reference: ResultReference, delivery: Delivery) -> Answer:
    from sqlalchemy.exc import IntegrityError

    try:
        with writing() as session:
            attempt = _attempt(reference, session)
            if has_xcom(attempt, RESULT_KEY, session):
                raise _delivered_before()
            add_xcom(attempt, RESULT_KEY, delivery.to_xcom(), session)
    except IntegrityError:
        # The database lets one delivery in, however many arrive together. The other possibility is that the run was
        # deleted in this moment.
        with reading() as session:
            if has_xcom(_attempt(reference, session), RESULT_KEY, session):
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


def _attempt(reference: ResultReference, session: Session) -> Attempt:
    """Find what a delivery is kept with; only what Airflow does not delete again may be taken."""
    attempt = present_attempt(
        reference.dag_id, reference.run_id, reference.task_id, reference.map_index, session
    )
    if attempt is None:
        raise RefusedError(404, "gone", "The DAG run that this result is for no longer exists.")
    if not attempt.has_begun:
        raise RefusedError(
            503, "between_tries", "The task that this result is for is about to run again; try again later."
        )
    return attempt


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

    def waits_for_it(expected: Mapping[str, Any]) -> bool:
        source = (expected.get("source_task_id"), expected.get("source_map_index"))
        return source == (reference.task_id, reference.map_index)

    try:
        again_in = resume_deferred(
            reference.dag_id,
            reference.run_id,
            classpath=_TRIGGER,
            waits_for_it=waits_for_it,
            payload={"outcome": Outcome.DELIVERED.value},
            settled_after=SETTLING_SECONDS,
        )
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
