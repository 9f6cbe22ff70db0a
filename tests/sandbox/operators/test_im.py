"""People are told, by a task or from a callback, and not twice."""

import asyncio

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.notifications.im import ImNotifySystemAddNotifier
from airflow_provider_b24.operators.im import ImNotifySystemAddOperator
from airflow_provider_b24.sandbox import AnswerStatus, DropConnection

pytestmark = pytest.mark.usefixtures("webhook_connection")
NOTIFY = "im.notify.system.add"


@pytest.fixture(params=["task", "DAG processor", "triggerer"])
def tell(request, run_task):
    """Send a notification, in each of the ways."""

    def tell(**fields):
        fields = {"user_id": 1, "message": "Run {{ run_id }} failed"} | fields
        if request.param == "task":
            return run_task(ImNotifySystemAddOperator(task_id="tell", **fields), conf={"user": "user_1"})
        context = {"run_id": "r1", "dag": None, "dag_run": {"conf": {"user": "user_1"}}}
        notifier = ImNotifySystemAddNotifier(**fields)
        notifier.render_template_fields(context)
        if request.param == "triggerer":
            return asyncio.run(notifier.async_notify(context))
        return notifier.notify(context)

    return tell


def sent(portal):
    return [request.parameters for request in portal.requests if request.method == NOTIFY]


@pytest.mark.parametrize("user", [1, "1", "user_1", "{{ dag_run.conf.user }}"])
def test_a_person_is_told(portal, tell, user):
    tell(user_id=user, message="Done: {{ dag_run.conf.user }}", message_out="by mail")

    [notification] = sent(portal)
    assert notification == {"USER_ID": "1", "MESSAGE": "Done: user_1", "MESSAGE_OUT": "by mail"}
    assert len(portal.records("notification")) == 1


def test_a_tag_says_which_notification_is_replaced(portal, tell):
    tell(tag="orders", message="x")
    assert sent(portal)[0]["TAG"] == "orders"
    assert sent(portal)[0]["CLIENT_ID"]


def test_what_may_have_been_sent_is_not_sent_again(portal, tell):
    portal.faults.add(DropConnection(after_work=True), method=NOTIFY)
    with pytest.raises((Bitrix24Error, AirflowFailException), match="may have done the work"):
        tell(message="x")
    assert len(portal.records("notification")) == 1


def test_with_a_tag_it_is_sent_again(portal, tell):
    portal.faults.add(DropConnection(after_work=True), method=NOTIFY)
    tell(message="x", tag="orders")
    assert len(sent(portal)) == 2


@pytest.mark.parametrize(
    "fields", [{"user_id": "Ada"}, {"user_id": True}, {"user_id": "0"}, {"message": " "}]
)
def test_what_makes_no_sense_is_not_sent(portal, tell, fields):
    with pytest.raises((ValueError, AirflowFailException), match="user_id|message"):
        tell(**fields)
    assert portal.requests == []


def test_a_refusal_is_an_error(portal, tell):
    portal.faults.add(AnswerStatus(403, "insufficient_scope"), method=NOTIFY)
    with pytest.raises((Bitrix24Error, AirflowFailException), match="insufficient_scope"):
        tell(message="x")
