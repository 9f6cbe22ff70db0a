"""XComs that the API server writes for a task of others: what is delivered for it from outside.

=======  ====================================================================================================
3.0 on   A task that starts deletes the XComs that its task instance has by then, unless it resumes from a
         deferral. So nothing is written between two attempts. (3.0 leaves those of a mapped task: ``xcoms.py``.)
3.0-3.3  A row of ``XComModel``, one for each key of a task instance. It stays until the next attempt starts: after
         a retry or a clear the one of the attempt before is seen until then.
3.4      ``XComModel`` only reads. A row of ``XComModelV2``, one for each key of an *attempt*; it is seen no more as
         soon as there is another attempt. Rows of 3.3 are seen beside it until then.
=======  ====================================================================================================

The path for 3.0 to 3.3 may go when the provider needs 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_TO_BE_STARTED = ("scheduled", "queued")
_BETWEEN_ATTEMPTS = (None, "up_for_retry", "up_for_reschedule", "restarting")


@dataclass(frozen=True, slots=True)
class Attempt:
    """The present attempt of a task instance.

    :param dag_run_id: the number of the run in the database.
    :param task_instance_id: that of the task instance, in 3.4 of the attempt.
    :param has_begun: whether an XCom that is written now stays. Those of an attempt that has not begun are deleted
        when it does.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    dag_run_id: int
    task_instance_id: Any
    has_begun: bool


def present_attempt(
    dag_id: str, run_id: str, task_id: str, map_index: int, session: Session
) -> Attempt | None:
    """Find the present attempt of a task instance, ``None`` when there is no such task instance.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    found = session.execute(
        select(TaskInstance.id, TaskInstance.state, TaskInstance.next_method, DagRun.id.label("dag_run_id"))
        .join(DagRun, (DagRun.dag_id == TaskInstance.dag_id) & (DagRun.run_id == TaskInstance.run_id))
        .where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.run_id == run_id,
            TaskInstance.task_id == task_id,
            TaskInstance.map_index == map_index,
        )
    ).first()
    if found is None:
        return None
    starts_anew = found.state in _TO_BE_STARTED and not found.next_method
    has_begun = not starts_anew and found.state not in _BETWEEN_ATTEMPTS
    return Attempt(dag_id, run_id, task_id, map_index, found.dag_run_id, found.id, has_begun)


def has_xcom(attempt: Attempt, key: str, session: Session) -> bool:
    """Tell whether there is an XCom.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    query = select(XComModel.key).where(
        XComModel.dag_run_id == attempt.dag_run_id,
        XComModel.task_id == attempt.task_id,
        XComModel.map_index == attempt.map_index,
        XComModel.key == key,
    )
    return session.scalar(query) is not None


def add_xcom(attempt: Attempt, key: str, value: Any, session: Session) -> None:
    """Write an XCom, and never over one that is there.

    :param value: what JSON has.
    :raises sqlalchemy.exc.IntegrityError: when there is one, or the task instance is gone.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database does not take it.
    """
    model, place = _model_and_place(attempt)
    session.add(model(**place, key=key, value=value))
    session.flush()


def put_xcom(attempt: Attempt, key: str, value: Any, session: Session) -> None:
    """Write an XCom, in the place of one that may be there.

    :param value: what JSON has.
    :raises sqlalchemy.exc.IntegrityError: when another was faster, or the task instance is gone.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database does not take it.
    """
    from sqlalchemy import update

    from airflow_provider_b24._airflow.database import changed_rows

    model, place = _model_and_place(attempt)
    if not changed_rows(session, update(model).filter_by(**place, key=key).values(value=value)):
        add_xcom(attempt, key, value, session)


def _model_and_place(attempt: Attempt) -> tuple[Any, dict[str, Any]]:
    """Give what is written to, and the columns that say where."""
    from airflow.models import xcom

    if hasattr(xcom, "XComModelV2"):
        return xcom.XComModelV2, {"task_instance_id": attempt.task_instance_id}
    return xcom.XComModel, {
        "dag_run_id": attempt.dag_run_id,
        "dag_id": attempt.dag_id,
        "run_id": attempt.run_id,
        "task_id": attempt.task_id,
        "map_index": attempt.map_index,
    }
