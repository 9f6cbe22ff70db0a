"""Waiting for what a REST method answers: the same in every mode."""

import threading
import time

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_b24.sandbox import AnswerHtml, AskPerson, Finish
from airflow_provider_b24.sensors.bizproc import BizprocTaskSensor, BizprocWorkflowSensor
from airflow_provider_b24.sensors.rest import Bitrix24MethodSensor

pytestmark = pytest.mark.usefixtures("webhook_connection", "impatient")


@pytest.fixture(params=["poke", "reschedule", "deferrable"])
def mode(request):
    return request.param


@pytest.fixture
def wait(mode, run_task):
    """Run a sensor in the mode under test, and start it again as often as it asks to be rescheduled."""

    def wait(sensor_class, **fields):
        options = {"deferrable": True} if mode == "deferrable" else {"mode": mode, "deferrable": False}
        fields = {"task_id": "wait", "poke_interval": 0.05, "timeout": 5.0} | fields
        sensor = sensor_class(**fields, **options)
        while True:
            try:
                return run_task(sensor)
            except AirflowRescheduleException:
                time.sleep(0.05)

    return wait


@pytest.fixture
def soon():
    """Do something while the sensor waits."""
    timers = []

    def soon(action, *args):
        timers.append(threading.Timer(0.3, action, args))
        timers[-1].start()

    yield soon
    for timer in timers:
        timer.join()


def test_a_result_that_is_there_already_is_returned(portal, wait):
    portal.add_records("lead", [{"TITLE": "one"}])
    [lead] = wait(Bitrix24MethodSensor, method="crm.lead.list", parameters={"select": ["ID", "TITLE"]})
    assert lead["TITLE"] == "one"


def test_without_a_condition_it_waits_until_the_result_is_not_empty(portal, wait, soon):
    soon(portal.add_records, "lead", [{"TITLE": "late"}])
    [lead] = wait(Bitrix24MethodSensor, method="crm.lead.list", parameters={"select": ["ID", "TITLE"]})
    assert lead["TITLE"] == "late"


def has_two(result):
    return len(result) >= 2


@pytest.mark.parametrize("condition", ["result | length >= 2", has_two], ids=["jinja", "callable"])
def test_a_condition_judges_each_result(portal, wait, soon, condition):
    portal.add_records("lead", 1)
    soon(portal.add_records, "lead", 1)
    assert len(wait(Bitrix24MethodSensor, method="crm.lead.list", condition=condition)) == 2


def test_the_waiting_ends_with_a_timeout(wait):
    with pytest.raises(AirflowSensorTimeout):
        wait(Bitrix24MethodSensor, method="crm.lead.list", timeout=0.2)


def test_a_portal_that_is_away_for_a_while_is_waited_for(portal, wait):
    portal.faults.add(AnswerHtml(502), times=3)
    portal.add_records("lead", 1)
    assert len(wait(Bitrix24MethodSensor, method="crm.lead.list")) == 1


def test_a_refusal_fails_at_once(wait):
    with pytest.raises(AirflowFailException, match="ERROR_METHOD_NOT_FOUND"):
        wait(Bitrix24MethodSensor, method="no.such.method")


def test_a_value_that_cannot_be_sent_fails_at_once(portal, wait):
    with pytest.raises(AirflowFailException, match="cannot be sent as it is.*when"):
        wait(Bitrix24MethodSensor, method="profile", parameters={"when": object()})
    assert portal.requests == []


def test_soft_fail_skips(wait):
    with pytest.raises(AirflowSkipException):
        wait(Bitrix24MethodSensor, method="no.such.method", soft_fail=True)


def test_a_condition_that_is_no_expression_fails_when_the_dag_is_parsed():
    with pytest.raises(ValueError, match="no Jinja expression"):
        Bitrix24MethodSensor(task_id="wait", method="profile", condition="result ==")


def test_many_waiting_tasks_ask_in_one_request(portal, xcoms):
    import asyncio

    from airflow_provider_b24.triggers.rest import Bitrix24MethodTrigger

    portal.add_records("lead", 20)

    async def ask(number):
        trigger = Bitrix24MethodTrigger(
            method="crm.lead.get",
            params={"id": number},
            condition=None,
            judged=None,
            poll_interval=1,
            deadline=time.time() + 5,
            bitrix24_conn_id="bitrix24_default",
        )
        return [event.payload["result"]["ID"] async for event in trigger.run()]

    async def ask_all():
        return await asyncio.gather(*(ask(number) for number in range(1, 21)))

    assert asyncio.run(ask_all()) == [[str(number)] for number in range(1, 21)]
    assert [request.method for request in portal.requests if request.path.endswith("batch")] == ["batch"]


def test_a_workflow_is_waited_for_until_it_ends(portal, wait, soon):
    process = portal.start_process([AskPerson(1, "Approve?"), Finish()])
    soon(portal.engine.terminate, process, "enough")
    assert wait(BizprocWorkflowSensor, workflow_id=process.id) == []


def test_people_are_waited_for_until_they_have_decided(portal, wait, soon):
    process = portal.start_process([AskPerson(1, "Approve?"), Finish()])

    def approve():
        import requests

        [task] = portal.tasks
        requests.post(
            portal.webhook.url + "bizproc.task.complete",
            json={"TASK_ID": task.id, "STATUS": 1, "COMMENT": "fine"},
            timeout=10,
        ).raise_for_status()

    soon(approve)
    [task] = wait(BizprocTaskSensor, workflow_id=process.id)
    assert str(task["STATUS"]) == "1"
