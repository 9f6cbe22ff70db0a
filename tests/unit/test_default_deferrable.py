"""Where Airflow says that tasks wait in the triggerer, those of this package do, unless they are told otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# Each process that asks takes seconds: one worker asks for all.
pytestmark = pytest.mark.xdist_group("default_deferrable")

# Airflow's own operators read the setting when they are imported; so does each of these, so each needs a process.
PROGRAM = """
import json
from airflow_provider_b24.operators.bizproc import BizprocEventSendOperator
from airflow_provider_b24.operators.rest import Bitrix24Operator
from airflow_provider_b24.sensors.bizproc import BizprocTaskSensor, BizprocWorkflowSensor
from airflow_provider_b24.sensors.external_result import ExternalResultSensor
from airflow_provider_b24.sensors.rest import Bitrix24MethodSensor

tasks = [
    (BizprocEventSendOperator, {}),
    (Bitrix24Operator, {"method": "profile"}),
    (ExternalResultSensor, {"source_task_id": "hand_out"}),
    (Bitrix24MethodSensor, {"method": "crm.lead.list"}),
    (BizprocWorkflowSensor, {"workflow_id": "1"}),
    (BizprocTaskSensor, {"workflow_id": "1"}),
]
told = [{}, {"deferrable": True}, {"deferrable": False}, {"default_args": {"deferrable": False}}]
print(json.dumps({
    kind.__name__: [kind(task_id="wait", **fields, **options).deferrable for options in told]
    for kind, fields in tasks
}))
"""
TASKS = [
    "BizprocEventSendOperator",
    "Bitrix24Operator",
    "ExternalResultSensor",
    "Bitrix24MethodSensor",
    "BizprocWorkflowSensor",
    "BizprocTaskSensor",
]


def deferrable(setting):
    """Give, for each kind of task, whether it defers: untold, told to, told not to, and told not to by default."""
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("DEFAULT_DEFERRABLE")
    }
    if setting is not None:
        environment["AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"] = setting
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=[None, "False", "True"], ids=["unset", "off", "on"])
def setting(request):
    return request.param


@pytest.fixture(scope="module")
def outcome(setting):
    return deferrable(setting)


@pytest.mark.parametrize("kind", TASKS)
def test_a_task_that_is_told_nothing_does_as_airflow_is_set(outcome, setting, kind):
    assert outcome[kind][0] is (setting == "True")


@pytest.mark.parametrize("kind", TASKS)
def test_what_the_dag_author_writes_counts_more(outcome, kind):
    assert outcome[kind][1:3] == [True, False]


@pytest.mark.parametrize("kind", TASKS)
def test_so_do_the_default_arguments_of_a_dag(outcome, kind):
    assert outcome[kind][3] is False
