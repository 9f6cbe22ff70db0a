"""Robots whose Airflow is killed around them."""

import time

from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk import task

from airflow_provider_b24.robots import Property, robot_dag


def declare(code, **arguments):
    @robot_dag(
        code=code,
        dag_id=code,
        name=code,
        properties={
            "seconds": Property.int("Seconds of work", default=0),
            "fails": Property.bool("Whether it fails", default=False),
        },
        return_properties={"verdict": Property.string("Verdict")},
        on_failure={"verdict": "no verdict"},
        default_args={"retries": 0},
        **arguments,
    )
    def robot():
        @task
        def work(params=None):
            time.sleep(params["seconds"] or 0)
            if params["fails"]:
                raise AirflowException("as it was told")
            return {"verdict": "done"}

        return work()

    return robot()


declare("mortal")
declare("deferred").get_task("reply").deferrable = True
declare("before_the_upgrade", is_paused_upon_creation=True)
