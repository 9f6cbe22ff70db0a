"""A task whose ``execution_timeout`` is over while the portal works on its call."""

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.operators.bizproc import BizprocWorkflowStartOperator
from airflow_provider_b24.operators.im import ImNotifySystemAddOperator
from airflow_provider_b24.operators.rest import Bitrix24Operator
from airflow_provider_b24.rest import Bitrix24Client, Effect, MethodFacts

ADD_LEAD = {"method": "crm.lead.add", "parameters": {"fields": {"TITLE": "one"}}}
ADD_ITEM = {"method": "crm.item.add", "parameters": {"entityTypeId": 1, "fields": {"title": "one"}}}
NOTIFICATION = {"user_id": 1, "message": "x"}
WORKFLOW = {"template_id": 1, "document_id": ["crm", "CCrmDocumentLead", "LEAD_1"]}

pytestmark = pytest.mark.usefixtures("webhook_connection")


@pytest.fixture(autouse=True)
def _time_is_over(monkeypatch):
    """Let the time be over when a portal has done the work and its response is on its way."""
    send = Bitrix24Client._send

    def send_in_vain(client, request, *rest):
        send(client, request, *rest)
        raise AirflowTaskTimeout("Timeout, PID: 1")

    monkeypatch.setattr(Bitrix24Client, "_send", send_in_vain)


@pytest.mark.parametrize(
    ("operator", "arguments", "method"),
    [
        (Bitrix24Operator, ADD_LEAD, "crm.lead.add"),
        (Bitrix24Operator, ADD_LEAD | {"deferrable": True}, "crm.lead.add"),
        (Bitrix24Operator, {"calls": [("profile", {}), tuple(ADD_LEAD.values())]}, "crm.lead.add"),
        (Bitrix24Operator, {"method": "sandbox.echo"}, "sandbox.echo"),
        (Bitrix24Operator, {"method": "profile", "repeatable": False}, "profile"),
        (Bitrix24Operator, ADD_LEAD | {"repeatable": False}, "crm.lead.add"),
        (BizprocWorkflowStartOperator, WORKFLOW, "bizproc.workflow.start"),
        (ImNotifySystemAddOperator, NOTIFICATION, "im.notify.system.add"),
    ],
    ids=repr,
)
def test_what_may_have_been_created_is_not_left_to_retries_and_is_named(
    portal, run_task, operator, arguments, method
):
    with pytest.raises(AirflowFailException) as failure:
        run_task(operator(task_id="once", **arguments))
    assert str(failure.value).startswith(f"The task's time was over during {method} at 127.0.0.1")
    assert "if it was not done, clear the task; if it was, mark the task as success" in str(failure.value)


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (Bitrix24Operator, {"method": "profile"}),
        (Bitrix24Operator, {"method": "crm.lead.update", "parameters": {"id": 1, "fields": {}}}),
        (Bitrix24Operator, {"calls": [("profile", {}), ("crm.lead.list", {})]}),
        (Bitrix24Operator, {"method": "sandbox.echo", "repeatable": True}),
        (Bitrix24Operator, ADD_ITEM | {"api": "v3"}),
        (ImNotifySystemAddOperator, NOTIFICATION | {"tag": "orders"}),
    ],
    ids=repr,
)
def test_what_may_be_done_again_is_left_to_retries(portal, run_task, operator, arguments):
    with pytest.raises(AirflowTaskTimeout, match="^Timeout, PID: 1$"):
        run_task(operator(task_id="again", **arguments))


def test_code_of_ones_own_is_told_what_may_have_been_done_and_may_take_it_for_any_time_limit(portal):
    facts = {"sandbox.": MethodFacts(effect=Effect.READS)}
    with Bitrix24Hook(methods=facts) as hook:
        with pytest.raises(
            AirflowTaskTimeout, match=r"during crm\.lead\.add at .*: it may have been done\.$"
        ):
            hook.call(*ADD_LEAD.values())
        with pytest.raises(AirflowTaskTimeout, match="^Timeout, PID: 1$"):
            hook.call("sandbox.echo")
