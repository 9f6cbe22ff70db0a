"""A DAG run and its tasks as people read them. The same in 3.0 to 3.4."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_MOST_TASKS = 200


@dataclass(frozen=True, slots=True)
class TaskHistory:
    """What became of one task, or of one of its mapped parts. Times are in UTC.

    :param map_index: which part; -1 where it is not mapped.
    :param tries: how often it has begun.
    """

    task_id: str
    map_index: int
    state: str | None
    tries: int
    started_at: dt.datetime | None
    ended_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class RunHistory:
    """A run and the tasks of it that have begun, the earliest first. Times are in UTC.

    :param conf: what the run was started with.
    """

    state: str
    queued_at: dt.datetime | None
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    conf: Mapping[str, Any] = field(repr=False)
    tasks: tuple[TaskHistory, ...] = ()


def run_history(dag_id: str, run_id: str, session: Session) -> RunHistory | None:
    """Read a run, ``None`` when there is none.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    run = session.execute(
        select(DagRun.state, DagRun.queued_at, DagRun.start_date, DagRun.end_date, DagRun.conf).where(
            DagRun.dag_id == dag_id, DagRun.run_id == run_id
        )
    ).first()
    if run is None:
        return None
    tasks = session.execute(
        select(
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.try_number,
            TaskInstance.start_date,
            TaskInstance.end_date,
        )
        .where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.run_id == run_id,
            TaskInstance.start_date.is_not(None),
        )
        .order_by(TaskInstance.start_date)
        .limit(_MOST_TASKS)
    )
    return RunHistory(
        str(run.state),
        run.queued_at,
        run.start_date,
        run.end_date,
        run.conf if isinstance(run.conf, Mapping) else {},
        tuple(
            TaskHistory(
                task.task_id,
                task.map_index,
                None if task.state is None else str(task.state),
                task.try_number or 0,
                task.start_date,
                task.end_date,
            )
            for task in tasks
        ),
    )
