"""What keeps the deadline from answering for a while, and what does not count as an answer."""

import asyncio
import time

import pytest
from airflow.sdk import task
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_b24.exceptions import AuthError, TransportError
from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_b24.robots import Property, RobotCall, deadline, robot_dag
from airflow_provider_b24.robots.answers import AnswerNotes
from airflow_provider_b24.robots.definition import definition_of
from airflow_provider_b24.triggers import _shared_portal

pytestmark = pytest.mark.usefixtures("webhook_connection")


@task
def compute():
    return {}


@pytest.fixture
def answer_at_deadline(waiting_call, xcoms, monkeypatch):
    """What the triggerer does when the deadline has come."""
    monkeypatch.setattr(deadline, "_FIRST_PAUSE", 0.01)

    @robot_dag(code="late", name="Late", return_properties={"verdict": Property.string("Verdict")})
    def late():
        return compute()

    dag = late()
    _, form = waiting_call(dag)
    conf = RobotCall.from_form(form, definition_of(dag)).to_conf()
    conf |= {"ts": int(time.time()) - 100, "timeout_duration": 110}
    run = {"dag_id": "dag", "dag_run_id": "run", "conf": conf}

    def answer():
        return asyncio.run(
            deadline.answer_unless_answered(
                bitrix24_conn_id="bitrix24_default",
                return_values={"verdict": "not scored"},
                context={"dag_run": run},
            )
        )

    answer.token = conf["event_token"]
    return answer


@pytest.fixture
def failing_portal(monkeypatch):
    """Let the way to the portal fail in the given ways, one after the other, and then no more."""
    real = _shared_portal.shared_portal

    def fail(*errors):
        left = list(errors)

        def shared_portal(conn_id):
            if left:
                raise left.pop(0)
            return real(conn_id)

        monkeypatch.setattr(_shared_portal, "shared_portal", shared_portal)

    return fail


def test_a_connection_that_airflow_cannot_give_at_the_moment_is_asked_for_again(
    portal, answer_at_deadline, failing_portal
):
    failing_portal(AirflowNotFoundException("The conn_id isn't defined"), OSError("no connection"))

    assert answer_at_deadline() == "delivered"
    assert [answer.values["verdict"] for answer in portal.answers] == ["not scored"]


def test_an_answer_that_was_never_sent_does_not_count_as_delivered(
    portal, answer_at_deadline, failing_portal
):
    with Bitrix24Hook("bitrix24_default") as somebody_else:
        somebody_else.send_event(answer_at_deadline.token)
    failing_portal(TransportError("connection_refused", "nothing was sent"))

    assert answer_at_deadline() == "refused"
    assert AnswerNotes("dag", "run").read("deadline").outcome == "refused"


def test_an_attempt_of_an_earlier_triggerer_that_was_never_sent_does_not_count_either(
    portal, answer_at_deadline, failing_portal
):
    failing_portal(AuthError("access_denied", "nothing was done"))
    assert "not answered" in answer_at_deadline()
    with Bitrix24Hook("bitrix24_default") as somebody_else:
        somebody_else.send_event(answer_at_deadline.token)

    assert answer_at_deadline() == "refused"
    assert AnswerNotes("dag", "run").read("deadline").outcome == "refused"
