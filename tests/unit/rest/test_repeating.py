"""Which calls may be sent again when nobody knows whether the first copy arrived."""

import pytest

from airflow_provider_b24.rest import Call
from airflow_provider_b24.rest.methods import Effect, MethodFacts


@pytest.fixture
def effect(open_session):
    def of(method, repeatable=None, **methods):
        session = open_session(methods={name.replace("_", "."): facts for name, facts in methods.items()})
        return session.effect_of(Call(method, repeatable=repeatable))

    return of


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
        "bizproc.task.complete",
    ],
)
def test_reading_and_setting_may_be_repeated(effect, method):
    assert effect(method) is not Effect.CREATES


@pytest.mark.parametrize(
    "method",
    [
        "crm.deal.add",
        "bizproc.workflow.start",
        "bizproc.robot.add",
        "bizproc.activity.log",
        "crm.item.import",
        "im.message.send",
        "event.offline.get",
        "something.unknown",
        "batch",
    ],
)
def test_creating_and_the_unknown_may_not(effect, method):
    assert effect(method) is Effect.CREATES


def test_the_caller_may_know_better_of_one_call(effect):
    assert effect("crm.deal.add", repeatable=True) is Effect.SETS
    assert effect("crm.deal.list", repeatable=False) is Effect.CREATES
    assert effect("crm.deal.list", repeatable=True) is Effect.READS


def test_the_caller_may_know_better_of_a_method_or_a_group(effect):
    known = {
        "Vendor_calculate": MethodFacts(effect=Effect.READS),
        "vendor_stock_": MethodFacts(effect=Effect.SETS),
    }
    assert effect("vendor.calculate", **known) is Effect.READS
    assert effect("vendor.stock.move.all", **known) is Effect.SETS
    assert effect("vendor.other", **known) is Effect.CREATES
