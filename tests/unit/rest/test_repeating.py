"""Which calls may be sent again when nobody knows whether the first copy arrived."""

import pytest

from airflow_provider_b24.rest import Call
from airflow_provider_b24.rest.repeating import is_safe_to_repeat


@pytest.mark.parametrize(
    "method",
    [
        "profile",
        "app.info",
        "server.time",
        "crm.deal.list",
        "crm.deal.get",
        "CRM.Deal.Fields",
        "crm.deal.update",
        "crm.deal.delete",
        "app.option.set",
        "bizproc.workflow.instances",
        "bizproc.workflow.terminate",
        "bizproc.event.send",
    ],
)
def test_reading_and_setting_may_be_repeated(method):
    assert is_safe_to_repeat(Call(method))


@pytest.mark.parametrize(
    "method",
    [
        "crm.deal.add",
        "bizproc.workflow.start",
        "bizproc.robot.add",
        "bizproc.activity.log",
        "bizproc.task.complete",
        "crm.item.import",
        "im.message.send",
        "event.offline.get",
        "something.unknown",
        "batch",
    ],
)
def test_creating_and_the_unknown_may_not(method):
    assert not is_safe_to_repeat(Call(method))


def test_the_caller_may_know_better():
    assert is_safe_to_repeat(Call("crm.deal.add", repeatable=True))
    assert not is_safe_to_repeat(Call("crm.deal.list", repeatable=False))
