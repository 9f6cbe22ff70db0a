"""Robots whose portals, connections, queues and time limits are troubled."""

import time

from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk import task

from airflow_provider_b24.robots import Property, robot_dag

ROBOT = {
    "properties": {
        "seconds": Property.int("Seconds of work", default=0),
        "fails": Property.bool("Whether it fails", default=False),
    },
    "return_properties": {"verdict": Property.string("Verdict")},
    "default_args": {"retries": 0},
}
OWN = {"on_failure": {"verdict": "no verdict"}}


@task
def work(params=None):
    time.sleep(params["seconds"] or 0)
    if params["fails"]:
        raise AirflowException("as it was told")
    return {"verdict": "done"}


def declare(code, **arguments):
    @robot_dag(code=code, dag_id=code, name=code, **ROBOT, **arguments)
    def robot():
        return work()

    return robot()


for trouble in ("scope", "gone", "dead"):
    declare(f"of_{trouble}", bitrix24_conn_id=f"bitrix24_{trouble}", **OWN)
declare("one_at_a_time", max_active_runs=1, **OWN)
declare("urgent", **OWN)
declare("paused", **OWN)
declare("left_to_bitrix24")
