"""The notifier answers from callbacks: in the DAG processor, and in the triggerer, where deadlines call back."""

import asyncio
from types import SimpleNamespace

import pytest

from airflow_provider_b24.exceptions import Bitrix24Error, ProcessLockedError, ServerError
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.sealing import seal
from airflow_provider_b24.notifications import bizproc
from airflow_provider_b24.notifications.bizproc import BizprocEventSendNotifier
from airflow_provider_b24.sandbox import AnswerStatus

pytestmark = pytest.mark.usefixtures("webhook_connection")


@pytest.fixture(params=["DAG processor", "triggerer"])
def notify(request, waiting_process, monkeypatch):
    """Have the notifier answer the waiting process, where callbacks run."""
    monkeypatch.setattr(bizproc, "_PAUSE", 0.01)
    context = {"dag_run": SimpleNamespace(conf={"event_token": waiting_process.waiting_for}), "dag": None}

    def notify(*, conf_token=None, **arguments):
        if conf_token is not None:
            context["dag_run"].conf["event_token"] = conf_token
        notifier = BizprocEventSendNotifier(**arguments)
        notifier.render_template_fields(context)
        if request.param == "triggerer":
            asyncio.run(notifier.async_notify(context))
        else:
            notifier.notify(context)

    return notify


def test_the_process_goes_on_with_converted_values(portal, waiting_process, notify):
    notify(return_values={"score": "{{ 1 + 1 }}", "seen": [True, None]}, log_message="{{ 'too late' }}")

    assert waiting_process.wait().status == "completed"
    [answer] = portal.answers
    assert answer.values == {"score": "2", "seen": ["Y", ""]}
    assert "too late" in [entry.message for entry in waiting_process.log]


def test_the_event_token_of_a_robots_run_is_sealed(portal, waiting_process, notify):
    token = waiting_process.waiting_for

    notify(return_values={"score": 1}, conf_token=seal(token, PortalConnection.load("bitrix24_default")))

    assert [answer.token for answer in portal.answers] == [token]


def test_what_may_pass_is_tried_again(portal, waiting_process, notify):
    portal.faults.add(AnswerStatus(500, "INTERNAL_SERVER_ERROR"), times=8)

    notify(return_values={"score": 1})

    assert [(answer.count, answer.refused) for answer in portal.answers] == [(1, 0)]


def test_it_gives_up_before_the_dag_processor_ends_it(portal, notify, monkeypatch):
    monkeypatch.setattr(bizproc, "PATIENCE", 1.0)
    portal.faults.add(AnswerStatus(500, "INTERNAL_SERVER_ERROR"), times=None)

    with pytest.raises(ServerError):
        notify(return_values={"score": 1})

    assert portal.answers == []


@pytest.mark.usefixtures("impatient")
def test_a_process_that_is_locked_for_a_moment_gets_its_answer(portal, waiting_process, notify):
    portal.faults.add(AnswerStatus(400, 423, "Locked"), "bizproc.event.send", times=5)

    notify(return_values={"score": 1})

    assert waiting_process.wait().status == "completed"
    assert [(answer.count, answer.refused) for answer in portal.answers] == [(1, 0)]


def test_a_process_that_stays_locked_is_an_error(portal, waiting_process, notify, monkeypatch):
    monkeypatch.setattr(bizproc, "PATIENCE", 1.0)
    portal.lock_process(waiting_process)

    with pytest.raises(ProcessLockedError):
        notify(return_values={"score": 1})

    assert portal.answers == []


@pytest.mark.parametrize("verb", ["kill", "terminate"])
def test_a_process_that_is_over_needs_no_answer(portal, waiting_process, notify, verb):
    getattr(portal.engine, verb)(waiting_process, *([""] if verb == "terminate" else []))

    notify(return_values={"score": 1})

    assert portal.answers == []


def test_what_will_not_pass_is_said_at_once(portal, notify):
    portal.faults.add(AnswerStatus(403, "insufficient_scope"))

    with pytest.raises(Bitrix24Error):
        notify(return_values={"score": 1})

    assert portal.answers == []


def test_a_process_that_has_its_answer_is_left_alone(portal, notify):
    notify(return_values={"score": 1})
    notify(return_values={"score": 2})

    assert [(answer.values, answer.refused) for answer in portal.answers] == [({"score": "1"}, 1)]
