"""A task that waits in the triggerer."""

import datetime as dt

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import dag


@dag(schedule=None)
def sleepers():
    TimeDeltaSensor(task_id="sleep", delta=dt.timedelta(seconds=20), deferrable=True)


sleepers()
