"""Waiting for what a REST method answers: the same in every mode."""

import asyncio
import json
import threading
import time
from types import SimpleNamespace

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    TaskDeferred,
)

from airflow_provider_b24.exceptions import AuthError
from airflow_provider_b24.sandbox import AnswerHtml, AskPerson, Delay, Finish
from airflow_provider_b24.sensors.bizproc import BizprocTaskSensor, BizprocWorkflowSensor
from airflow_provider_b24.sensors.rest import Bitrix24MethodSensor
from airflow_provider_b24.triggers._events import error_of
from airflow_provider_b24.triggers._shared_portal import shared_portal
from airflow_provider_b24.triggers.rest import Bitrix24MethodTrigger

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


@pytest.mark.parametrize("softness", ["soft_fail", "never_fail"])
def test_what_fails_later_skips_too(portal, wait, soon, softness, monkeypatch):
    # Some versions do nothing, or not as much, around a task that is resumed.
    monkeypatch.delattr(BaseSensorOperator, "resume_execution")
    soon(portal.add_records, "lead", 1)
    with pytest.raises(AirflowSkipException):
        wait(
            Bitrix24MethodSensor, method="crm.lead.list", condition="result[0].ID + 1 > 1", **{softness: True}
        )


def test_a_condition_that_is_no_expression_fails_when_the_dag_is_parsed():
    with pytest.raises(ValueError, match="no Jinja expression"):
        Bitrix24MethodSensor(task_id="wait", method="profile", condition="result ==")


@pytest.mark.parametrize("condition", ["result[0].TITLE == 'late'", "result[0].TITLE > 'a'"])
def test_a_condition_about_what_is_not_there_yet_does_not_hold_yet(portal, wait, soon, condition):
    soon(portal.add_records, "lead", [{"TITLE": "late"}])
    [lead] = wait(
        Bitrix24MethodSensor,
        method="crm.lead.list",
        parameters={"select": ["ID", "TITLE"]},
        condition=condition,
    )
    assert lead["TITLE"] == "late"


def test_a_condition_that_cannot_be_judged_fails_at_once_and_shows_itself(portal, wait):
    portal.add_records("lead", 1)
    with pytest.raises(AirflowFailException, match=r"result \+ 1.*TypeError"):
        wait(Bitrix24MethodSensor, method="crm.lead.list", condition="result + 1")


@pytest.mark.parametrize(
    ("kind", "method", "parameters"),
    [("item:147", "crm.item.list", {"entityTypeId": 147}), ("task", "tasks.task.list", {})],
)
def test_a_list_under_a_key_is_empty_when_it_has_no_rows(portal, wait, soon, kind, method, parameters):
    portal.add_records(kind, 0)  # a smart process without items
    soon(portal.add_records, kind, [{"TITLE": "late"}])
    result = wait(Bitrix24MethodSensor, method=method, parameters=parameters)
    [[item]] = result.values()
    assert "late" in item.values()


def test_a_condition_means_the_key_and_not_the_method_of_a_mapping(portal, wait, soon):
    portal.add_records("item:147", 0)
    soon(portal.add_records, "item:147", [{"TITLE": "late"}])
    result = wait(
        Bitrix24MethodSensor,
        method="crm.item.list",
        parameters={"entityTypeId": 147},
        condition="result.items",
    )
    assert len(result["items"]) == 1


def first_event_of(trigger):
    return asyncio.run(asyncio.wait_for(anext(trigger.run()), 25)).payload


@pytest.fixture
def trigger():
    """Makes a trigger that asks for leads."""

    def make(seconds=5.0, **fields):
        return Bitrix24MethodTrigger(
            **{
                "method": "crm.lead.list",
                "params": {},
                "condition": None,
                "judged": None,
                "poll_interval": 0.05,
                "deadline": time.time() + seconds,
                "bitrix24_conn_id": "bitrix24_default",
            }
            | fields
        )

    return make


def test_a_portal_that_does_not_answer_keeps_no_trigger_beyond_its_deadline(portal, trigger):
    portal.faults.add(Delay(3600), times=None)
    assert first_event_of(trigger(0.2)) == {"status": "timeout"}


def test_a_trigger_that_starts_after_its_deadline_looks_once(portal, trigger):
    assert first_event_of(trigger(-60)) == {"status": "timeout"}
    portal.add_records("lead", 1)
    assert first_event_of(trigger(-60))["status"] == "result"


def test_a_connection_that_cannot_be_read_for_a_moment_ends_no_trigger(portal, trigger, monkeypatch, caplog):
    from airflow_provider_b24.hooks.connection import PortalConnection

    portal.add_records("lead", 1)
    usual, failures = PortalConnection.load, [RuntimeError("s3cr3t"), RuntimeError("s3cr3t")]

    def load(conn_id):
        if failures:
            raise failures.pop()
        return usual(conn_id)

    monkeypatch.setattr(PortalConnection, "load", load)
    assert first_event_of(trigger())["status"] == "result"
    assert failures == []
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"bitrix24_conn_id": "nowhere"}, "nowhere"),
        ({"condition": "result + 1"}, "TypeError"),
        ({"params": {"auth": "x"}}, "'auth' is not a parameter"),
    ],
)
def test_what_no_waiting_can_put_right_is_reported(portal, trigger, fields, reason):
    event = first_event_of(trigger(**fields))
    assert event["status"] == "error"
    assert reason in str(error_of(event))


def test_credentials_that_were_replaced_are_noticed_by_those_who_wait(portal, trigger, monkeypatch):
    connection = json.dumps({"conn_type": "bitrix24", "host": portal.webhook.url})
    wrong = connection.replace(portal.webhook.code, "mistyped")
    monkeypatch.setenv("AIRFLOW_CONN_BITRIX24_DEFAULT", wrong)

    async def wait():
        async with shared_portal("bitrix24_default") as used_by_others:
            with pytest.raises(AuthError):
                await used_by_others.call("profile")
            monkeypatch.setenv("AIRFLOW_CONN_BITRIX24_DEFAULT", connection)
            return [event.payload async for event in trigger().run()]

    portal.add_records("lead", 1)
    [event] = asyncio.run(asyncio.wait_for(wait(), 25))
    assert event["status"] == "result"


@pytest.mark.parametrize("kind", ["webhook", "application"])
def test_the_connection_is_read_again_when_its_credentials_are_refused(
    portal, wait, soon, request, monkeypatch, kind
):
    request.getfixturevalue(f"{kind}_connection")

    def replace():
        if kind == "webhook":
            connection = {"conn_type": "bitrix24", "host": portal.create_webhook().url}
            portal.callers.webhooks.pop((1, portal.webhook.code))
        else:
            new = portal.create_application()
            extra = {name: getattr(new, name) for name in ("client_id", "client_secret", "access_token")}
            extra |= {"refresh_token": new.refresh_token, "oauth_server": portal.url}
            connection = {"conn_type": "bitrix24", "host": portal.url, "extra": extra}
            portal.callers.applications.pop(portal.application.client_id)
        monkeypatch.setenv("AIRFLOW_CONN_BITRIX24_DEFAULT", json.dumps(connection))
        portal.add_records("lead", [{"TITLE": "late"}])

    soon(replace)
    [lead] = wait(
        Bitrix24MethodSensor, method="crm.lead.list", parameters={"select": ["ID", "TITLE"]}, timeout=25.0
    )
    assert lead["TITLE"] == "late"


@pytest.mark.parametrize("timeout", [5, 3600])
def test_a_deferred_sensor_ends_when_no_triggerer_lives(timeout):
    sensor = Bitrix24MethodSensor(task_id="wait", method="crm.lead.list", timeout=timeout, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    # A living one ends the wait by itself, with words of its own.
    assert timeout < deferred.value.timeout.total_seconds() <= timeout + 120


def test_many_waiting_tasks_ask_in_one_request(portal, xcoms):
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


@pytest.mark.parametrize("workflow_id", ["{{ None }}", " ", None])
@pytest.mark.parametrize("sensor", [BizprocWorkflowSensor, BizprocTaskSensor])
def test_a_workflow_without_an_id_is_not_waited_for(portal, wait, sensor, workflow_id):
    with pytest.raises(AirflowFailException, match="workflow_id is empty"):
        wait(sensor, workflow_id=workflow_id, timeout=0.2)
    assert portal.requests == []


@pytest.mark.parametrize("select", ["{{ params.fields }}", ["DESCRIPTION"], "DESCRIPTION", '["DESCRIPTION"]'])
def test_the_fields_of_a_task_may_be_a_template(portal, run_task, select):
    sensor = BizprocTaskSensor(task_id="wait", workflow_id="{{ dag_run.conf['id'] }}", select=select)
    sensor.condition = "result | length == 0"
    sensor.render_template_fields(
        {"params": {"fields": ["DESCRIPTION"]}, "dag_run": SimpleNamespace(conf={"id": "w"})}
    )
    sensor.poke({})
    [request] = portal.requests
    assert request.parameters["SELECT"] == ["ID", "NAME", "STATUS", "USER_ID", "DESCRIPTION"]
    assert request.parameters["FILTER"] == {"WORKFLOW_ID": "w"}


@pytest.mark.parametrize("rendered", ["{{ params.by }}", '{"filter": {"TITLE": "late"}}'])
def test_a_template_may_give_all_parameters(portal, rendered):
    sensor = Bitrix24MethodSensor(task_id="wait", method="crm.lead.list", parameters=rendered)
    sensor.render_template_fields({"params": {"by": {"filter": {"TITLE": "late"}}}})
    sensor.poke({})
    assert portal.requests[0].parameters == {"filter": {"TITLE": "late"}}


@pytest.fixture
def approve(portal):
    """Approve the oldest task."""

    def approve():
        import requests

        requests.post(
            portal.webhook.url + "bizproc.task.complete",
            json={"TASK_ID": portal.tasks[0].id, "STATUS": 1, "COMMENT": "fine"},
            timeout=10,
        ).raise_for_status()

    return approve


def test_people_are_waited_for_until_they_have_decided(portal, wait, soon, approve):
    process = portal.start_process([AskPerson(1, "Approve?"), Finish()])
    soon(approve)
    [task] = wait(BizprocTaskSensor, workflow_id=process.id)
    assert str(task["STATUS"]) == "1"


def test_all_tasks_are_waited_for_however_many_there_are(portal, wait, soon, approve):
    process = portal.start_process([question := AskPerson(1, "Approve?"), Finish()])
    for number in range(120):
        portal.task_list.create(process, question, "A1", portal.clock.now()).status = number % 2 + 1
    soon(approve)
    tasks = wait(BizprocTaskSensor, workflow_id=process.id)
    assert [task["ID"] for task in tasks] == [str(task.id) for task in reversed(portal.tasks)]
    assert {task["STATUS"] for task in tasks} == {"1", "2"}


def test_a_task_of_many_people_is_returned_with_all_of_them(portal, wait):
    process = portal.start_process([question := AskPerson(1, "Approve?"), Finish()])
    asked = [portal.task_list.create(process, question, "A1", portal.clock.now()) for _ in range(119)]
    for person, task in enumerate([portal.tasks[0], *asked], 1):
        task.id, task.user_id, task.status = 1, person, 1
    tasks = wait(BizprocTaskSensor, workflow_id=process.id)
    assert sorted(int(task["USER_ID"]) for task in tasks) == list(range(1, 121))
