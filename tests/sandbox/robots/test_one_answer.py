"""Who answers a call, who is too late, and what a refusal by the portal means: task by task, against a portal."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException, DownstreamTasksSkipped

from airflow_provider_b24.exceptions import ServerError
from airflow_provider_b24.robots import Property, RobotCall, robot_dag
from airflow_provider_b24.robots.answers import AnswerNotes
from airflow_provider_b24.robots.deadline import answer_unless_answered
from airflow_provider_b24.robots.definition import definition_of
from airflow_provider_b24.sandbox import AnswerHtml, AnswerStatus, DropConnection

pytestmark = pytest.mark.usefixtures("webhook_connection")

NOTES = AnswerNotes("dag", "run")


@task
def compute():
    return {}


@pytest.fixture
def dag():
    @robot_dag(
        code="score",
        name="Score",
        return_properties={"verdict": Property.string("Verdict")},
        on_failure={"verdict": "not scored"},
    )
    def score():
        return compute()

    return score()


@pytest.fixture
def called(portal, dag, waiting_call, xcoms):
    """A process that waits, and the conf of the run that its call starts."""
    process, form = waiting_call(dag)
    conf = RobotCall.from_form(form, definition_of(dag)).to_conf()
    return SimpleNamespace(process=process, conf=conf)


@pytest.fixture
def reply(dag, called, run_task):
    def run(try_number=1, **conf):
        operator = dag.get_task("reply")
        operator.return_values = {"verdict": "hot"}
        return run_task(operator, try_number=try_number, conf=called.conf | conf)

    return run


@pytest.fixture
def reply_on_failure(dag, called, run_task):
    def run(try_number=1, **conf):
        return run_task(dag.get_task("reply_on_failure"), try_number=try_number, conf=called.conf | conf)

    return run


@pytest.fixture
def at_deadline(dag, called, monkeypatch):
    """What the triggerer does when the deadline has come."""
    states = {"run": "running"}
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_dagrun_state",
        lambda dag_id, run_id: states[run_id],
    )

    def answer(state="running", **conf):
        states["run"] = state
        run = {"dag_id": "dag", "dag_run_id": "run", "conf": called.conf | conf}
        return asyncio.run(
            answer_unless_answered(
                bitrix24_conn_id="bitrix24_default",
                return_values={"verdict": "not scored"},
                context={"dag_run": run},
            )
        )

    return answer


PASSED = {"ts": int(time.time()) - 100, "timeout_duration": 110}
"""A time of the call at which the deadline has passed, and the patience of the process has not."""


def values(portal):
    return [answer.values["verdict"] for answer in portal.answers]


def test_a_delivered_reply_is_noted_and_skips_the_failure_answer(portal, dag, reply):
    assert reply() is True

    assert NOTES.read("reply").outcome == "delivered"
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        dag.get_task("reply").post_execute({}, True)
    assert skipped.value.tasks == ["reply_on_failure"]


def test_a_reply_that_nobody_can_wait_for_skips_nothing():
    @robot_dag(code="unasked", name="Unasked", use_subscription=False)
    def unasked():
        pass

    dag = unasked()
    dag.get_task("reply").post_execute({}, False)
    assert "reply_on_failure" not in dag.task_dict


def test_an_unwanted_answer_is_noted(portal, reply):
    assert reply(use_subscription="N") is False

    assert NOTES.read("reply").outcome == "not wanted"
    assert portal.answers == []


def test_the_failure_answer_is_sent_and_noted(portal, called, reply_on_failure):
    assert reply_on_failure() is True

    assert values(portal) == ["not scored"]
    assert NOTES.read("reply_on_failure").outcome == "delivered"
    assert any("DAG dag, run run: failed" in entry.message for entry in called.process.log)


@pytest.mark.parametrize("conf", [{"use_subscription": "N"}, {"event_token": ""}])
def test_nobody_gets_a_failure_answer_who_does_not_wait(portal, reply_on_failure, conf):
    assert reply_on_failure(**conf) is False
    assert portal.answers == []


@pytest.mark.parametrize("answerer", ["reply", "deadline", "hand"])
def test_no_failure_answer_is_tried_when_somebody_else_has_answered(portal, reply_on_failure, answerer):
    NOTES.write(answerer, "delivered")
    before = len(portal.requests)

    assert reply_on_failure() is False
    assert len(portal.requests) == before


def test_a_reply_whose_worker_died_after_sending_counts_as_delivered(portal, reply):
    reply()
    NOTES.write("reply", "sending")  # all that is left when the worker dies before it can note the outcome

    assert reply(try_number=2) is True
    assert NOTES.read("reply").outcome == "delivered"
    assert (portal.answers[0].count, portal.answers[0].refused) == (1, 1)


def test_a_second_try_that_is_the_first_to_send_does_not_claim_a_delivery(portal, called, reply):
    called.process.status = "terminated"  # whoever ended it, it waits no longer
    with portal.changed:
        called.process.waiting = None

    with pytest.raises(AirflowFailException, match="answered from elsewhere, or has ended"):
        reply(try_number=2)
    assert NOTES.read("reply").outcome == "refused"


def test_a_failure_answer_whose_worker_died_after_sending_counts_as_delivered(portal, reply_on_failure):
    reply_on_failure()
    NOTES.write("reply_on_failure", "sending")

    assert reply_on_failure(try_number=2) is True
    assert NOTES.read("reply_on_failure").outcome == "delivered"


def test_a_reply_after_another_answer_says_who_was_faster(portal, reply, reply_on_failure):
    reply_on_failure()

    with pytest.raises(
        AirflowFailException, match="Too late.*with the on_failure values, by this run's task"
    ):
        reply(try_number=2)
    assert values(portal) == ["not scored"]
    assert NOTES.read("reply").outcome == "refused"


def test_a_reply_waits_for_the_note_of_an_answer_that_is_on_its_way(
    portal, reply, reply_on_failure, monkeypatch
):
    reply_on_failure()
    NOTES.write("reply_on_failure", "sending")
    monkeypatch.setattr(
        "airflow_provider_b24.robots.reply.time.sleep",
        lambda seconds: NOTES.write("reply_on_failure", "delivered"),
    )

    with pytest.raises(AirflowFailException, match="Too late"):
        reply()


def test_a_reply_after_the_end_of_patience_says_so(portal, reply, at_deadline):
    at_deadline(**PASSED)
    NOTES.write("deadline", "refused")

    with pytest.raises(AirflowFailException, match="Too late: the process has stopped waiting at 2001-09-09"):
        reply(ts=1_000_000_000, timeout_duration=60)


def test_a_failure_answer_that_is_refused_is_no_error(portal, reply, reply_on_failure):
    reply()
    NOTES.write("reply", "refused")  # as if another run of the same call had answered

    assert reply_on_failure() is False
    assert NOTES.read("reply_on_failure").outcome == "refused"


def test_an_answer_that_cannot_be_put_together_is_not_tried_for_a_day(dag, called, run_task):
    operator = dag.get_task("reply")
    operator.return_values = {"verdict": "{{ nothing.at_all }}"}

    with pytest.raises(Exception, match="nothing") as first:
        run_task(operator, try_number=1, conf=called.conf)
    assert not isinstance(first.value, AirflowFailException)
    with pytest.raises(AirflowFailException, match="Nothing was sent. The answer cannot be put together"):
        run_task(operator, try_number=5, conf=called.conf)


def test_the_tasks_that_answer_are_repeated_for_about_a_day(dag):
    for name in ("reply", "reply_on_failure"):
        one = dag.get_task(name)
        assert one.retries * one.max_retry_delay.total_seconds() > 24 * 3600


def test_the_deadline_answers_before_the_process_stops_waiting(portal, called, at_deadline):
    assert at_deadline(**PASSED) == "delivered"

    assert values(portal) == ["not scored"]
    assert NOTES.read("deadline").outcome == "delivered"
    assert any("does not wait much longer" in entry.message for entry in called.process.log)


@pytest.mark.parametrize("state", ["failed", "success"])
def test_the_deadline_answers_a_run_that_has_ended_without_an_answer(portal, at_deadline, state):
    assert at_deadline(state) == "delivered"
    assert values(portal) == ["not scored"]


@pytest.mark.parametrize("answerer", ["reply", "reply_on_failure", "hand"])
@pytest.mark.parametrize("conf", [PASSED, {}])
def test_the_deadline_sends_nothing_when_somebody_has_answered(portal, at_deadline, answerer, conf):
    NOTES.write(answerer, "delivered")
    before = len(portal.requests)

    assert at_deadline(**conf) == "answered before"
    assert len(portal.requests) == before


def test_a_triggerer_that_died_after_sending_counts_as_delivered(portal, at_deadline):
    at_deadline(**PASSED)
    NOTES.write("deadline", "sending")

    assert at_deadline(**PASSED) == "delivered"
    assert (portal.answers[0].count, portal.answers[0].refused) == (1, 1)


def test_a_connection_that_breaks_after_the_work_was_done_is_no_failure(portal, at_deadline, impatient):
    portal.faults.add(DropConnection(after_work=True), method="bizproc.event.send")

    assert at_deadline(**PASSED) == "delivered"
    assert portal.answers[0].count == 1


def test_the_deadline_is_refused_when_somebody_answered_who_could_not_note_it(
    portal, dag, called, at_deadline
):
    (callback,) = dag.on_failure_callback
    callback({"dag": dag, "run_id": "run", "reason": "x", "dag_run": SimpleNamespace(conf=called.conf)})

    assert at_deadline("failed") == "refused"
    assert NOTES.read("deadline").outcome == "refused"


def test_the_deadline_tries_again_while_the_portal_is_in_trouble(portal, at_deadline, impatient, monkeypatch):
    monkeypatch.setattr("airflow_provider_b24.robots.deadline._FIRST_PAUSE", 0.01)
    portal.faults.add(AnswerStatus(500), method="bizproc.event.send", times=5)

    assert at_deadline(**PASSED) == "delivered"
    assert values(portal) == ["not scored"]


def test_nothing_secret_is_said_when_the_deadline_goes_wrong(
    portal, called, at_deadline, monkeypatch, logged
):
    def broken(*_):
        raise ServerError("X", called.conf["event_token"])

    monkeypatch.setattr("airflow_provider_b24.rest.client.answer_params", broken)

    outcome = at_deadline(**PASSED)

    assert outcome == "The call could not be answered: ServerError"
    assert called.conf["event_token"] not in logged()


def test_a_run_that_no_robot_call_started_is_no_trouble_for_the_deadline(portal, at_deadline):
    assert "no robot call" in at_deadline(event_token="")


@pytest.mark.parametrize("answerer", ["reply", "reply_on_failure"])
def test_an_attempt_that_cannot_have_arrived_is_no_reason_to_claim_a_delivery(
    portal, called, request, answerer
):
    answer = request.getfixturevalue(answerer)
    portal.faults.add(AnswerHtml(401), method="bizproc.event.send")
    with pytest.raises(AirflowFailException, match="does not accept the credentials"):
        answer()
    with portal.changed:
        called.process.waiting = None

    if answerer == "reply":
        with pytest.raises(AirflowFailException, match="answered from elsewhere, or has ended"):
            answer(try_number=2)
    else:
        assert answer(try_number=2) is False
    assert NOTES.read(answerer).outcome == "refused"


@pytest.mark.parametrize("answerer", ["reply", "reply_on_failure"])
def test_an_attempt_that_may_have_arrived_is_remembered_whatever_comes_after_it(
    portal, request, answerer, impatient
):
    answer = request.getfixturevalue(answerer)
    portal.faults.add(DropConnection(after_work=True), method="bizproc.event.send")
    portal.faults.add(AnswerStatus(500), method="bizproc.event.send")
    with pytest.raises(ServerError):
        answer()
    portal.faults.add(AnswerHtml(401), method="bizproc.event.send")
    with pytest.raises(AirflowFailException):
        answer(try_number=2)

    assert answer(try_number=3) is True
    assert [one.count for one in portal.answers] == [1]
