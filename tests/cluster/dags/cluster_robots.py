"""Robots of every kind that a process may wait for. Each answers with the number it was called with."""

import time

from airflow.sdk import Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_b24.robots import Property, RobotCall, robot_dag
from airflow_provider_b24.sensors.external_result import ExternalResultSensor, result_url


def number() -> int:
    return RobotCall.from_context().properties.number


def declare(code, build, **arguments):
    @robot_dag(
        code=code,
        dag_id=code,
        name=code,
        properties={"number": Property.int("Number", required=True)},
        return_properties={"verdict": Property.string("Verdict")},
        **({"on_failure": {"verdict": "no verdict"}} | arguments),
    )
    def robot():
        return build()

    return robot()


@task
def work():
    time.sleep(1)
    return {"verdict": f"verdict {number()}"}


@task
def fail():
    raise AirflowFailException("as it was told")


@task
def fail_once():
    if get_current_context()["ti"].try_number == 1:
        raise RuntimeError("the first try fails")
    return {"verdict": f"verdict {number()}"}


@task
def begin():
    return number()


@task
def go_on(begun):
    return begun + 1


@task
def end(gone_on):
    return {"verdict": f"verdict {gone_on - 1}"}


@task
def hand_out(is_expected=True):
    import requests

    item = f"{'order' if is_expected else 'never'} {number()}"
    order = {"item": item, "deliver_to": result_url(get_current_context())}
    requests.post(Variable.get("appraiser_url"), json=order, timeout=30).raise_for_status()


def wait_for_result(is_expected=True):
    wait = ExternalResultSensor(task_id="wait", source_task_id="hand_out", deferrable=True, timeout=24 * 3600)
    hand_out(is_expected) >> wait
    return {"verdict": "{{ ti.xcom_pull('wait')['verdict'] }}"}


declare("plain", work)
declare("chain", lambda: end(go_on(begin())))
declare("deferred", work).get_task("reply").deferrable = True
declare("external", wait_for_result)
declare("flaky", fail_once)
declare("failing", fail)
declare("never", lambda: wait_for_result(is_expected=False))
declare("unawaited", work, use_subscription=False, on_failure={})
