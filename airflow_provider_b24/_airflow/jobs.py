"""Airflow's table of jobs: which of its processes are alive, and a row for each dispatcher of ours beside them.

The same in 3.0 to 3.4: ``airflow.jobs.job.Job`` with ``job_type``, ``state``, ``latest_heartbeat`` and ``is_alive()``;
its thresholds are Airflow's own settings. Rows of ours are inserted by statement: to make a ``Job`` calls listeners.
``airflow db clean`` deletes old rows of all types.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from airflow_provider_b24._airflow.database import changed_rows, reading, writing

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

AirflowJob = Literal["SchedulerJob", "DagProcessorJob", "TriggererJob"]

DISPATCHER_JOB = "Bitrix24DispatcherJob"
_RUNNING = "running"
_ENDED = "success"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """When a process of a kind was last heard of.

    :param at: in UTC; ``None`` when never.
    :param is_alive: whether it is so short a time ago that the process must be alive.
    """

    at: dt.datetime | None = None
    is_alive: bool = False


def heartbeat_of(job_type: AirflowJob) -> Heartbeat:
    """Tell when a process of Airflow's was last heard of, the best one where there are several.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    from airflow.jobs.job import most_recent_job

    with reading() as session:
        job = most_recent_job(job_type, session=session)
        return Heartbeat() if job is None else Heartbeat(job.latest_heartbeat, job.is_alive())


def dispatcher_heartbeat(patience: dt.timedelta) -> Heartbeat:
    """Tell when a dispatcher was last heard of.

    :param patience: how long ago the heartbeat of one that is alive may be.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    from airflow.jobs.job import most_recent_job

    with reading() as session:
        job = most_recent_job(DISPATCHER_JOB, session=session)
        if job is None or job.latest_heartbeat is None:
            return Heartbeat()
        is_recent = dt.datetime.now(dt.UTC) - job.latest_heartbeat < patience
        return Heartbeat(job.latest_heartbeat, is_recent and job.state == _RUNNING)


@dataclass(slots=True)
class DispatcherJob:
    """The row of a dispatcher, from its first heartbeat on."""

    _id: int | None = field(default=None, init=False)

    def beat(self) -> None:
        """Say that it works.

        :raises sqlalchemy.exc.SQLAlchemyError: when the database is away.
        """
        with writing() as session:
            if self._id is None or not self._change(session, latest_heartbeat=dt.datetime.now(dt.UTC)):
                self._id = self._insert(session)

    def end(self) -> None:
        """Say that it has ended as it was told to.

        :raises sqlalchemy.exc.SQLAlchemyError: when the database is away.
        """
        if self._id is not None:
            with writing() as session:
                self._change(session, state=_ENDED, end_date=dt.datetime.now(dt.UTC))
            self._id = None

    def _change(self, session: Session, **values: object) -> bool:
        from airflow.jobs.job import Job

        change = sa.update(Job).where(Job.id == self._id).values(**values)
        return changed_rows(session, change.execution_options(synchronize_session=False)) > 0

    @staticmethod
    def _insert(session: Session) -> int:
        from airflow.jobs.job import Job
        from airflow.utils.net import get_hostname

        now = dt.datetime.now(dt.UTC)
        row = sa.insert(Job).values(
            job_type=DISPATCHER_JOB,
            state=_RUNNING,
            start_date=now,
            latest_heartbeat=now,
            hostname=get_hostname(),
        )
        result = session.execute(row)
        [key] = result.inserted_primary_key  # type: ignore[attr-defined]
        return int(key)
