"""What became of the runs of calls, and of the task in each that answers.

======  =====================================================================================================
3.0 on  ORM selects of ``TaskInstance`` and ``XComModel`` by dag, run and task show the present attempt.
3.0-3.3 After a clear the XComs of the old attempt are shown until the new one has started. So an XCom says what has
        happened once, and never what is the case now.
3.4     XComs belong to an attempt; those of earlier attempts are not shown.
======  =====================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A run with its answering task, as Airflow's database has them.

    :param run_state: ``None`` when the run was deleted.
    :param task_state: ``None`` when the task has not begun, or was cleared.
    :param tries: how often the task has begun.
    :param note: what the task has noted about its answer.
    :param is_paused: whether the DAG is paused.
    """

    run_state: str | None = None
    task_state: str | None = None
    tries: int = 0
    note: Any = None
    is_paused: bool = False


def look_at_runs(
    calls: Table,
    columns: Sequence[ColumnElement[Any]],
    where: Sequence[ColumnElement[bool]],
    *,
    task_id: str,
    note_key: str,
    session: Session,
    noteworthy: ColumnElement[bool] | None = None,
    limit: int | None = None,
) -> list[tuple[Any, SeenRun]]:
    """Look at the runs of calls, in one query.

    :param calls: a table with the columns ``id``, ``dag_id`` and ``run_id``.
    :param columns: what else to read of it.
    :param where: which calls.
    :param task_id: the task that answers.
    :param note_key: the XCom in which it notes how that went.
    :param noteworthy: read only calls for which this holds, or whose run or task has ended, was deleted, or has left
        a note; ``None`` reads all.
    :param limit: read so many at most, in the order of their ids.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from sqlalchemy import and_, or_, select

    query = (
        select(
            *columns,
            DagRun.id.label("dag_run_id"),
            DagRun.state.label("run_state"),
            DagModel.is_paused,
            TaskInstance.state.label("task_state"),
            TaskInstance.try_number,
            XComModel.value.label("note"),
        )
        .select_from(calls)
        .outerjoin(DagRun, and_(DagRun.dag_id == calls.c.dag_id, DagRun.run_id == calls.c.run_id))
        .outerjoin(DagModel, DagModel.dag_id == calls.c.dag_id)
        .outerjoin(
            TaskInstance,
            and_(
                TaskInstance.dag_id == calls.c.dag_id,
                TaskInstance.run_id == calls.c.run_id,
                TaskInstance.task_id == task_id,
                TaskInstance.map_index == -1,
            ),
        )
        .outerjoin(
            XComModel,
            and_(
                XComModel.dag_run_id == DagRun.id,
                XComModel.task_id == task_id,
                XComModel.map_index == -1,
                XComModel.key == note_key,
            ),
        )
        .where(*where)
    )
    if noteworthy is not None:
        query = query.where(
            or_(
                DagRun.id.is_(None),
                DagRun.state.in_(["success", "failed"]),
                TaskInstance.state.in_(["success", "failed", "upstream_failed", "skipped", "removed"]),
                XComModel.key.is_not(None),
                noteworthy,
            )
        )
    if limit is not None:
        query = query.order_by(calls.c.id).limit(limit)
    return [(row, _seen(row)) for row in session.execute(query)]


def _seen(row: Any) -> SeenRun:
    if row.dag_run_id is None:
        return SeenRun()
    return SeenRun(
        run_state=str(row.run_state),
        task_state=None if row.task_state is None else str(row.task_state),
        tries=row.try_number or 0,
        note=row.note,
        is_paused=bool(row.is_paused),
    )


def tasks_in_state(state: str, dag_id: str, run_id: str, session: Session) -> list[str]:
    """Name the tasks of a run that are in a state, in order."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    query = (
        select(TaskInstance.task_id)
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.state == state)
        .distinct()
    )
    return sorted(session.scalars(query))


def returned_true(dag_id: str, run_id: str, task_id: str, session: Session) -> bool:
    """Tell whether a task has returned ``True``."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    query = select(XComModel.value).where(
        XComModel.dag_id == dag_id,
        XComModel.run_id == run_id,
        XComModel.task_id == task_id,
        XComModel.map_index == -1,
        XComModel.key == "return_value",
    )
    return session.scalar(query) in (True, "true")


def xcoms_of(dag_id: str, run_id: str, task_id: str, session: Session) -> dict[str, Any]:
    """Read the XComs of a task, by their keys."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    query = select(XComModel.key, XComModel.value).where(
        XComModel.dag_id == dag_id,
        XComModel.run_id == run_id,
        XComModel.task_id == task_id,
        XComModel.map_index == -1,
    )
    return {row.key: _decoded(row.value) for row in session.execute(query)}


def _decoded(value: Any) -> Any:
    """Read a value that a database may have as the JSON text of it."""
    with suppress(ValueError):
        while isinstance(value, str):
            value = json.loads(value)
    return value


def active_runs(run_id_prefix: str, session: Session) -> Iterable[Any]:
    """Find the queued and running runs whose id begins like this: ``dag_id``, ``run_id``, ``conf``, ``run_after``."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    query = select(DagRun.dag_id, DagRun.run_id, DagRun.conf, DagRun.run_after).where(
        DagRun.state.in_(["queued", "running"]), DagRun.run_id.startswith(run_id_prefix, autoescape=True)
    )
    return session.execute(query).all()
