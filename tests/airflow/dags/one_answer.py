"""Robots that end in every way a DAG run can end."""

import datetime as dt
import time

from airflow.providers.common.compat.sdk import AirflowException
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import setup, task, task_group, teardown

from airflow_provider_b24.robots import Property, robot_dag

ROBOT = {
    "properties": {
        "seconds": Property.int("Seconds of work", default=0),
        "fails": Property.bool("Whether it fails", default=False),
    },
    "return_properties": {"verdict": Property.string("Verdict")},
    "on_failure": {"verdict": "no verdict"},
    "default_args": {"retries": 0},
}


@task
def work(params=None):
    time.sleep(params["seconds"] or 0)
    if params["fails"]:
        raise AirflowException("as it was told")
    return {"verdict": "done"}


@robot_dag(code="one_answer", name="One answer", **ROBOT)
def one_answer():
    return work()


@robot_dag(code="one_answer_in_time", name="In time", dagrun_timeout=dt.timedelta(seconds=6), **ROBOT)
def one_answer_in_time():
    return work()


@robot_dag(code="one_answer_cut_short", name="Cut short", **ROBOT)
def one_answer_cut_short():
    done = work()
    ShortCircuitOperator(task_id="cut", python_callable=lambda: False) >> done
    return done


@robot_dag(code="one_answer_unasked", name="Unasked", use_subscription=False, **(ROBOT | {"on_failure": {}}))
def one_answer_unasked():
    return work()


@robot_dag(code="one_answer_of_many", name="Of many", fail_fast=True, **ROBOT)
def one_answer_of_many():
    @setup
    def prepare():
        return [1, 2]

    @teardown
    def clean_up():
        return None

    @task
    def double(number, params=None):
        if params["fails"] and number == 2:
            raise AirflowException("as it was told")
        return number * 2

    @task
    def sum_up(numbers):
        return {"verdict": str(sum(numbers))}

    @task_group
    def parts(numbers):
        return double.expand(number=numbers)

    numbers = prepare()
    total = sum_up(parts(numbers))
    total >> clean_up().as_teardown(setups=numbers)
    return total


one_answer()
one_answer_in_time()
one_answer_cut_short()
one_answer_unasked()
one_answer_of_many()
