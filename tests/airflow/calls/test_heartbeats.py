"""Whether a dispatcher works is seen among Airflow's jobs."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from airflow_provider_b24._airflow.database import writing
from airflow_provider_b24._airflow.jobs import DispatcherJob, dispatcher_heartbeat
from airflow_provider_b24.calls.dispatcher import Dispatcher

A_MINUTE = dt.timedelta(minutes=1)


@pytest.fixture(autouse=True)
def no_jobs(metadata_database):
    _forget_jobs()


def _forget_jobs() -> None:
    from airflow.jobs.job import Job

    with writing() as session:
        session.execute(sa.delete(Job).execution_options(synchronize_session=False))


def test_a_dispatcher_is_known_to_work_until_it_ends():
    assert dispatcher_heartbeat(A_MINUTE).at is None
    dispatcher = Dispatcher()
    dispatcher.turn()
    heartbeat = dispatcher_heartbeat(A_MINUTE)
    assert heartbeat.is_alive
    assert heartbeat.at is not None
    assert not dispatcher_heartbeat(dt.timedelta(0)).is_alive
    dispatcher.stop()
    assert not dispatcher_heartbeat(A_MINUTE).is_alive


def test_one_of_several_is_enough():
    first, second = DispatcherJob(), DispatcherJob()
    first.beat()
    second.beat()
    second.end()
    assert dispatcher_heartbeat(A_MINUTE).is_alive


def test_a_row_that_was_cleaned_away_is_made_anew():
    job = DispatcherJob()
    job.beat()
    _forget_jobs()
    job.beat()
    assert dispatcher_heartbeat(A_MINUTE).is_alive
    job.end()
    assert not dispatcher_heartbeat(A_MINUTE).is_alive
