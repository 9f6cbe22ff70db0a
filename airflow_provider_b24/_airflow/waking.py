"""Resuming a deferred task from the API server, before its trigger does.

=======  ====================================================================================================
3.0 on   ``Trigger.submit_event(trigger_id, event, session=)`` resumes the tasks that wait for a trigger.
3.0-3.1  The scheduler may hear of the end of the process that deferred a task when the task is on already. It then
         fails a task that is scheduled, queued or running (https://github.com/apache/airflow/issues/72716).
3.2-3.3  It fails one that is queued or running.
3.4      It fails one that is running; its LocalExecutor counts dispatches, and is not mistaken.
=======  ====================================================================================================

So a task is left alone for some seconds after its deferral in every version.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any


def resume_deferred(
    dag_id: str,
    run_id: str,
    *,
    classpath: str,
    waits_for_it: Callable[[Mapping[str, Any]], bool],
    payload: Mapping[str, Any],
    settled_after: float,
) -> float | None:
    """Resume the tasks of a run whose triggers wait for something.

    :param classpath: the class of these triggers.
    :param waits_for_it: tells by the arguments of a trigger whether it is one of them.
    :param payload: the event's, as the triggers would give it.
    :param settled_after: how many seconds a task is left alone after its deferral.
    :return: in how many seconds the youngest of them may be resumed that may not now; ``None`` if there is none.
    :raises ImportError, AttributeError: when this Airflow has none of what this needs.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database is away.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.triggers.base import TriggerEvent
    from sqlalchemy import select

    from airflow_provider_b24._airflow.database import writing

    again_in: float | None = None
    waiting = select(TaskInstance).where(
        TaskInstance.dag_id == dag_id,
        TaskInstance.run_id == run_id,
        TaskInstance.state == "deferred",
        TaskInstance.trigger_id.in_(select(Trigger.id).where(Trigger.classpath == classpath)),
    )
    with writing() as session:
        # Locked, so that the triggerer cannot resume the same task instance in between.
        for ti in session.scalars(waiting.with_for_update(skip_locked=True)).all():
            trigger = session.get(Trigger, ti.trigger_id)
            if trigger is None or not waits_for_it(trigger.kwargs):
                continue
            unsettled = settled_after - (dt.datetime.now(dt.UTC) - trigger.created_date).total_seconds()
            if unsettled > 0:
                again_in = max(again_in or 0.0, unsettled)
            else:
                Trigger.submit_event(trigger.id, TriggerEvent(dict(payload)), session=session)
    return again_in
