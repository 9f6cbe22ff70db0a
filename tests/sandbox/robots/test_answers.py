"""Every call gets exactly one answer: from the ``reply`` task, or from the failure callback."""

import json
from types import SimpleNamespace

import pytest
from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_b24.exceptions import AuthError, ServerError
from airflow_provider_b24.robots import Property, RobotCall, robot_dag
from airflow_provider_b24.robots.answers import AnswerNotes
from airflow_provider_b24.robots.definition import definition_of
from airflow_provider_b24.sandbox import AnswerStatus

pytestmark = pytest.mark.usefixtures("webhook_connection")


@task
def compute():
    return {}


@pytest.fixture
def dag():
    @robot_dag(
        code="score",
        name="Score",
        properties={"model": Property.select("Model", {"fast": "Fast", "deep": "Deep"}, required=True)},
        return_properties={
            "score": Property.double("Score", required=True),
            "owner": Property.user("Owner"),
            "verdict": Property.string("Verdict"),
        },
        on_failure={"verdict": "not scored", "owner": 7},
    )
    def score():
        return compute()

    return score()


def reply_with(dag, values):
    reply = dag.get_task("reply")
    reply.return_values = values
    return reply


def conf_of(dag, form):
    return RobotCall.from_form(form, definition_of(dag)).to_conf()


def test_the_reply_is_checked_converted_and_sent(portal, dag, waiting_call, run_task):
    process, form = waiting_call(dag, model="fast")
    assert run_task(reply_with(dag, {"score": 5, "owner": 14}), conf=conf_of(dag, form)) is True
    assert process.wait().status == "completed"
    (answer,) = portal.answers
    assert answer.values == {"score": "5.0", "owner": "user_14"}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"score": 5, "grade": "A"}, "grade: no such return property"),
        ({"score": "high"}, "'high' is no number"),
        ({"verdict": "good"}, "'score' is required"),
        ("5", "must be a mapping"),
    ],
)
def test_a_wrong_answer_fails_the_task_before_anything_is_sent(
    portal, dag, waiting_call, run_task, values, complaint
):
    _, form = waiting_call(dag, model="fast")
    before = len(portal.requests)
    with pytest.raises(AirflowFailException, match=f"Nothing was sent.*{complaint}"):
        run_task(reply_with(dag, values), conf=conf_of(dag, form))
    assert len(portal.requests) == before


def test_a_run_started_by_hand_sends_nothing_and_shows_the_answer(portal, dag, run_task, logged):
    reply = reply_with(dag, {"score": 5})
    assert run_hand(reply, dag) is False
    assert "{'score': 5.0}" in logged()
    assert portal.requests == []


def run_hand(reply, dag):
    context = {
        "dag": dag,
        "dag_run": SimpleNamespace(conf={}),
        "params": {"model": "fast"},
        "ti": SimpleNamespace(try_number=1),
    }
    reply.render_template_fields(context)
    return reply.execute(context)


def test_a_process_that_does_not_wait_is_sent_nothing(portal, dag, waiting_call, run_task):
    _, form = waiting_call(dag, model="fast")
    conf = conf_of(dag, form | {"use_subscription": "N"})
    before = len(portal.requests)
    assert run_task(reply_with(dag, {"score": 5}), conf=conf) is False
    assert len(portal.requests) == before


class FailedRun:
    """What Airflow hands to a DAG's failure callback."""

    def __init__(self, dag, conf, states=None, reason="task_failure"):
        self.dag = dag
        self.context = {"dag": dag, "run_id": "run_1", "reason": reason}
        if conf is not None:
            self.context["dag_run"] = SimpleNamespace(conf=conf)
            self.context["ti"] = SimpleNamespace(get_task_states=lambda **_: {"run_1": states or {}})

    def call_back(self):
        for callback in self.dag.on_failure_callback:
            callback(self.context)


def test_a_failed_run_is_answered_with_the_values_for_failure_and_a_line_for_the_log(
    portal, dag, waiting_call
):
    process, form = waiting_call(dag, model="fast")
    FailedRun(dag, conf_of(dag, form), {"compute": "failed", "reply": "upstream_failed"}).call_back()
    assert process.wait().status == "completed"
    (answer,) = portal.answers
    assert answer.values == {"verdict": "not scored", "owner": "user_7"}
    assert "Airflow DAG score, run run_1: failed; failed tasks: compute" in [
        entry.message for entry in process.log
    ]


def test_a_run_that_took_too_long_says_so(portal, dag, waiting_call):
    process, form = waiting_call(dag, model="fast")
    FailedRun(dag, conf_of(dag, form), reason="timed_out").call_back()
    assert any("dagrun_timeout" in entry.message for entry in process.log)


def test_a_call_that_does_not_fit_is_answered_and_says_which_value(portal, dag, waiting_call):
    process, form = waiting_call(dag, model="slow")
    FailedRun(dag, conf_of(dag, form), {"compute": "failed"}).call_back()
    assert portal.answers[0].values["verdict"] == "not scored"
    assert any("values that do not fit: model" in entry.message for entry in process.log)


@pytest.mark.parametrize("answerer", ["reply", "reply_on_failure", "deadline", "hand"])
def test_the_callback_sends_nothing_when_it_is_noted_that_somebody_has_answered(
    portal, dag, waiting_call, xcoms, answerer
):
    _, form = waiting_call(dag, model="fast")
    before = len(portal.requests)
    AnswerNotes("score", "run_1").write(answerer, "delivered")
    FailedRun(dag, conf_of(dag, form), {"compute": "success", "later": "failed"}).call_back()
    assert len(portal.requests) == before


def test_a_process_that_has_its_answer_is_no_error(portal, dag, waiting_call, run_task, logged):
    _, form = waiting_call(dag, model="fast")
    conf = conf_of(dag, form)
    run_task(reply_with(dag, {"score": 5}), conf=conf)
    FailedRun(dag, conf, {"reply": "failed"}).call_back()
    assert len(portal.answers) == 1
    assert "answered before" in logged()


def test_unknown_task_states_do_not_keep_the_process_waiting(portal, dag, waiting_call):
    process, form = waiting_call(dag, model="fast")
    run = FailedRun(dag, conf_of(dag, form))

    def unreachable(**_):
        raise RuntimeError("no API server")

    run.context["ti"] = SimpleNamespace(get_task_states=unreachable)
    run.call_back()
    assert process.wait().status == "completed"


@pytest.mark.anyio
async def test_the_failure_answer_can_be_sent_from_the_triggerer(portal, dag, waiting_call):
    _, form = waiting_call(dag, model="fast")
    (notifier,) = dag.on_failure_callback
    notifier.context = FailedRun(dag, conf_of(dag, form)).context
    await notifier
    assert portal.answers[0].values["verdict"] == "not scored"


@pytest.mark.parametrize("conf", [{}, {"model": "fast"}])
def test_a_failed_run_that_was_started_by_hand_sends_nothing(portal, dag, conf):
    FailedRun(dag, conf).call_back()
    assert portal.requests == []


def test_a_process_that_does_not_wait_gets_no_failure_answer(portal, dag, waiting_call):
    _, form = waiting_call(dag, model="fast")
    before = len(portal.requests)
    FailedRun(dag, conf_of(dag, form | {"use_subscription": "N"})).call_back()
    assert len(portal.requests) == before


def test_a_callback_without_conf_says_that_it_cannot_answer(portal, dag, logged):
    FailedRun(dag, None).call_back()
    assert "cannot be answered" in logged()
    assert portal.requests == []


def test_a_portal_that_fails_for_a_moment_gets_the_failure_answer_all_the_same(portal, dag, waiting_call):
    process, form = waiting_call(dag, model="fast")
    portal.faults.add(AnswerStatus(500), method="bizproc.event.send")
    FailedRun(dag, conf_of(dag, form)).call_back()
    assert process.wait().status == "completed"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (AnswerStatus(500), ServerError),
        (AnswerStatus(403, "insufficient_scope", "Too few rights"), AuthError),
    ],
)
def test_a_portal_that_refuses_for_good_or_for_too_long_makes_the_callback_fail(
    portal, dag, waiting_call, monkeypatch, fault, error
):
    monkeypatch.setattr("airflow_provider_b24.notifications.bizproc.PATIENCE", 0.5)
    _, form = waiting_call(dag, model="fast")
    portal.faults.add(fault, method="bizproc.event.send", times=None)
    with pytest.raises(error):
        FailedRun(dag, conf_of(dag, form)).call_back()


def test_no_secret_is_logged(portal, dag, waiting_call, run_task, logged):
    process, form = waiting_call(dag, model="fast")
    conf = conf_of(dag, form)
    FailedRun(dag, conf).call_back()
    run_task(reply_with(dag, {"score": 5}), conf=conf | {"use_subscription": "N"})
    log = logged()
    assert "process" in log
    assert form["event_token"] not in log
    assert form["auth"]["application_token"] not in json.dumps(conf) + log
    assert form["event_token"] not in "".join(entry.message for entry in process.log)


def test_a_failed_task_of_any_dag_can_answer_with_the_notifier(portal, dag, waiting_call):
    from airflow_provider_b24.notifications.bizproc import BizprocEventSendNotifier

    process, form = waiting_call(dag, model="fast")
    notifier = BizprocEventSendNotifier(
        return_values={"score": "{{ 1 + 1 }}", "verdict": None}, log_message="{{ ti.task_id }} failed"
    )
    notifier(
        {
            "dag": dag,
            "ti": SimpleNamespace(task_id="compute"),
            "dag_run": SimpleNamespace(conf={"event_token": form["event_token"]}),
        }
    )
    assert portal.answers[0].values == {"score": "2", "verdict": ""}
    assert "compute failed" in [entry.message for entry in process.log]
