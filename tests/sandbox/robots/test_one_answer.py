"""The task ``reply``: what it sends, what it tries again, and when it leaves the process to others."""

import datetime as dt
import json
import time
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)
from airflow.sdk import task

from airflow_provider_b24._airflow.reply_states import SeenRun
from airflow_provider_b24.calls.rules import Owed, next_step
from airflow_provider_b24.exceptions import Bitrix24Error, ConnectionConfigError, TransportError
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.sealing import seal
from airflow_provider_b24.operators._answer_note import NOTE_KEY, AnswerNote, AnswerNotes
from airflow_provider_b24.robots import Property, RobotCall, robot_dag
from airflow_provider_b24.robots.answer_mark import NOBODY, AnswerMark
from airflow_provider_b24.robots.definition import definition_of
from airflow_provider_b24.sandbox import AnswerHtml, AnswerStatus, AskPerson, DropConnection

pytestmark = pytest.mark.usefixtures("webhook_connection")

NOON = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)


@task
def compute():
    return {}


@pytest.fixture
def dag():
    @robot_dag(
        code="score",
        name="Score",
        properties={"model": Property.select("Model", {"fast": "Fast", "deep": "Deep"}, default="fast")},
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


@pytest.fixture
def called(dag, waiting_call):
    """A process that waits, and the conf of the run that its call starts."""
    process, form = waiting_call(dag)
    call = RobotCall.from_form(form, definition_of(dag))
    sealed = seal(call.token, PortalConnection.load("bitrix24_default"))
    return SimpleNamespace(
        process=process, token=call.token, conf=call.to_conf() | {"event_token": sealed}, form=form
    )


@pytest.fixture
def reply(dag, called, run_task, deferrable):
    """Run the task ``reply``."""

    def run(values=None, *, try_number=1, **conf):
        operator = dag.get_task("reply")
        operator.deferrable = deferrable
        operator.return_values = {"score": 5} if values is None else values
        return run_task(operator, try_number=try_number, conf=called.conf | conf)

    return run


@pytest.fixture
def note(xcoms):
    """Read what the task has noted for the dispatcher."""
    return lambda: AnswerNote.from_xcom(xcoms.get(("dag", "run", "reply", -1, NOTE_KEY)))


def counts(portal):
    return [(answer.count, answer.refused) for answer in portal.answers]


def test_the_answer_is_checked_converted_and_sent(portal, called, reply, note, logged):
    assert reply({"score": 5, "owner": 14}) is True

    assert called.process.wait().status == "completed"
    [answer] = portal.answers
    assert answer.values == {"score": "5.0", "owner": "user_14"}
    assert note().outcome == "delivered"
    assert note().values == {"score": 5.0, "owner": "user_14"}
    log = logged()
    assert f"for process {called.process.id} at {portal.url}: score=5.0, owner='user_14'" in log
    assert called.token not in log


def test_a_plain_event_token_works_as_a_sealed_one(portal, called, reply):
    assert called.conf["event_token"].startswith("sealed:")
    assert reply(event_token=called.token) is True
    assert counts(portal) == [(1, 0)]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"score": 5, "grade": "A"}, "grade: no such return property"),
        ({"score": "high"}, "'high' is no number"),
        ({"verdict": "good"}, "'score' is required"),
        ("5", "must be a mapping"),
        ("{[1]: 2}", "neither JSON nor a Python literal"),
    ],
)
def test_values_that_do_not_fit_fail_at_once_and_nothing_is_sent(portal, reply, note, values, complaint):
    before = len(portal.requests)

    with pytest.raises(AirflowFailException, match="Nothing was sent") as caught:
        reply(values)

    assert complaint in str(caught.value)
    assert len(portal.requests) == before
    assert note() is None


def test_an_event_token_that_is_no_good_fails_at_once(portal, called, reply, note):
    with pytest.raises(AirflowFailException, match="Nobody waits") as caught:
        reply(event_token=called.token[:-4] + "0000")

    assert portal.answers == []
    assert note().outcome == "refused"
    assert called.token[:-4] not in str(caught.value)


@pytest.mark.parametrize("verb", ["kill", "terminate"])
def test_a_process_that_has_ended_fails_at_once(portal, called, reply, note, verb):
    getattr(portal.engine, verb)(called.process, *([""] if verb == "terminate" else []))

    with pytest.raises(AirflowFailException, match="Nobody waits"):
        reply()

    assert portal.answers == []
    assert note().outcome == "refused"


def test_a_secret_that_was_changed_after_the_call_fails_at_once_and_says_so(
    portal, called, reply, monkeypatch
):
    monkeypatch.setenv(
        "AIRFLOW_CONN_BITRIX24_DEFAULT",
        json.dumps({"conn_type": "bitrix24", "host": portal.create_webhook().url}),
    )

    with pytest.raises(AirflowFailException, match="the secret of the Airflow connection .* was changed"):
        reply()

    assert called.process.waiting_for == called.token


@pytest.mark.parametrize(
    "fault",
    [
        AnswerStatus(403, "insufficient_scope", "Too few rights"),
        AnswerStatus(403, "user_access_error", "No access"),
        AnswerStatus(401, "expired_token", "Expired"),
        AnswerStatus(401, "NO_AUTH_FOUND", "Wrong credentials"),
        AnswerStatus(404, "ERROR_METHOD_NOT_FOUND", "No such method"),
        AnswerStatus(400, "", "The tariff does not cover this"),
        AnswerStatus(500, "PORTAL_DELETED", "Deleted"),
        AnswerHtml(401),
        AnswerHtml(502),
        DropConnection(),
    ],
    ids=repr,
)
@pytest.mark.usefixtures("impatient")
def test_what_a_person_can_mend_is_tried_again(portal, called, reply, fault):
    methods = ("bizproc.event.send", "batch")
    for method in methods:
        portal.faults.add(fault, method=method, times=None)
    with pytest.raises(Bitrix24Error) as caught:
        reply()
    assert not isinstance(caught.value, AirflowFailException)
    assert called.process.waiting_for == called.token

    portal.faults.clear()

    assert reply(try_number=2) is True
    assert counts(portal) == [(1, 0)]


@pytest.mark.usefixtures("impatient")
def test_a_process_that_is_locked_is_tried_again(portal, called, reply, note):
    portal.lock_process(called.process)
    with pytest.raises(Bitrix24Error):
        reply()
    assert note() is None
    portal.unlock_process(called.process)

    assert reply(try_number=2) is True
    assert counts(portal) == [(1, 0)]


@pytest.mark.parametrize(
    ("connection", "error"),
    [(None, AirflowNotFoundException), ({"conn_type": "bitrix24", "host": ""}, ConnectionConfigError)],
)
def test_a_connection_that_is_gone_or_broken_is_waited_for(
    portal, called, reply, monkeypatch, connection, error
):
    before = len(portal.requests)
    with monkeypatch.context() as changed:
        if connection is None:
            changed.delenv("AIRFLOW_CONN_BITRIX24_DEFAULT")
        else:
            changed.setenv("AIRFLOW_CONN_BITRIX24_DEFAULT", json.dumps(connection))
        for token in (called.conf["event_token"], called.token):
            with pytest.raises((error, TransportError)):
                reply(event_token=token)
    assert len(portal.requests) == before

    assert reply(try_number=2) is True
    assert counts(portal) == [(1, 0)]


@pytest.mark.usefixtures("impatient")
def test_a_portal_that_is_down_is_waited_for(reply, portal, note):
    portal.stop()

    with pytest.raises(TransportError):
        reply()
    assert note() is None, "nothing can have arrived"


def test_after_its_time_nothing_is_sent(portal, reply, note):
    before = len(portal.requests)

    with pytest.raises(
        AirflowFailException, match="Too late, nothing was sent: until .* UTC this task could"
    ):
        reply(answer_by=int(time.time()) - 1)

    assert len(portal.requests) == before
    assert note() is None


def test_before_its_time_is_over_it_answers(portal, reply):
    assert reply(answer_by=int(time.time()) + 100) is True
    assert counts(portal) == [(1, 0)]


@pytest.mark.parametrize("deferrable", [True])
def test_a_trigger_that_begins_too_late_sends_nothing(portal, reply, monkeypatch):
    before, now = len(portal.requests), time.time()
    moments = iter([now, now, now])
    monkeypatch.setattr(time, "time", lambda: next(moments, now + 100))

    with pytest.raises(TransportError, match="the time to answer was over"):
        reply(answer_by=int(now) + 50)

    assert len(portal.requests) == before


@pytest.fixture
def clock(monkeypatch):
    """A clock that can be put forward."""
    usual, forward = time.time, []
    monkeypatch.setattr(time, "time", lambda: usual() + sum(forward))
    return SimpleNamespace(forward=forward.append)


@pytest.fixture
def slow_to_note(clock, monkeypatch):
    """Notes of a sending that take 100 seconds to be written."""
    write = AnswerNotes.write

    def slow(self, outcome, *args, **kwargs):
        write(self, outcome, *args, **kwargs)
        clock.forward(100 if outcome == "sending" else 0)

    monkeypatch.setattr(AnswerNotes, "write", slow)


@pytest.fixture
def slow_to_connect(clock, monkeypatch):
    """Connections that take 30 seconds to be looked up."""
    load = PortalConnection.load
    monkeypatch.setattr(PortalConnection, "load", lambda conn_id: (clock.forward(30), load(conn_id))[1])


@pytest.fixture
def triggerer_has_no_connection(monkeypatch):
    """Let a triggerer find no connection, and something happen in the meantime."""

    def during(happens):
        def no_connection(conn_id):
            happens()
            raise AirflowNotFoundException(f"The conn_id {conn_id!r} isn't defined")

        monkeypatch.setattr("airflow_provider_b24.triggers._shared_portal.shared_portal", no_connection)

    return during


def is_begun_by_the_dispatcher(note):
    """What the dispatcher does when the time of ``reply`` is over."""
    kept = None if note is None else note.to_xcom()
    seen = SeenRun(run_state="running", task_state="up_for_retry", tries=1, note=kept)
    step = next_step(seen, answer_by=NOON, process_ends_at=None, now=dt.datetime.now(dt.UTC))
    return step == Owed("no answer yet, and the process does not wait much longer")


@pytest.mark.parametrize("slow", ["slow_to_note", "slow_to_connect"])
def test_whose_time_ends_while_it_prepares_sends_nothing_and_leaves_it_to_the_dispatcher(
    portal, called, reply, note, slow, request
):
    before = len(portal.requests)
    request.getfixturevalue(slow)
    with pytest.raises(TransportError, match="the time to answer was over"):
        reply(answer_by=int(time.time()) + 50)

    assert len(portal.requests) == before
    assert is_begun_by_the_dispatcher(note())
    portal.engine.kill(called.process)
    with pytest.raises(AirflowFailException, match="Nobody waits"):
        reply(try_number=2)


@pytest.mark.usefixtures("slow_to_note")
def test_whose_time_ends_leaves_the_note_when_an_earlier_try_may_have_arrived(portal, reply, note):
    before = len(portal.requests)
    with pytest.raises(TransportError, match="the time to answer was over"):
        reply(answer_by=int(time.time()) + 50, **AnswerMark(maybe_sent=True).put_into({}))
    assert len(portal.requests) == before
    assert note().outcome == "sending"


@pytest.mark.parametrize("deferrable", [True])
def test_a_task_that_must_send_itself_looks_at_the_time_again(
    portal, reply, note, clock, triggerer_has_no_connection
):
    before = len(portal.requests)
    triggerer_has_no_connection(lambda: clock.forward(100))
    with pytest.raises(TransportError, match="the time to answer was over"):
        reply(answer_by=int(time.time()) + 50)
    assert len(portal.requests) == before
    assert note() is None


def test_a_task_that_must_send_itself_leaves_a_process_alone_that_a_person_has_answered_meanwhile(
    portal, dag, called, run_task, note, triggerer_has_no_connection
):
    before, conf = len(portal.requests), called.conf
    triggerer_has_no_connection(lambda: conf.update(marked("hand:eve")))
    operator = dag.get_task("reply")
    operator.deferrable, operator.return_values = True, {"score": 5}
    with pytest.raises(AirflowSkipException, match="by hand, by eve"):
        run_task(operator, conf=conf)
    assert len(portal.requests) == before
    assert note() is None


@pytest.mark.usefixtures("slow_to_note")
@pytest.mark.parametrize("deferrable", [True])
def test_the_dispatcher_need_not_wait_for_the_worker_to_learn_that_nothing_was_sent(reply, note, monkeypatch):
    noted = []

    async def settled(since):
        noted.append(note())

    monkeypatch.setattr("airflow_provider_b24.triggers.bizproc.settled", settled)
    with pytest.raises(TransportError, match="the time to answer was over"):
        reply(answer_by=int(time.time()) + 50)
    assert [is_begun_by_the_dispatcher(one) for one in noted] == [True]


def marked(by, **values):
    return AnswerMark(by, NOON, **values).put_into({})


def test_a_run_that_is_cleared_after_its_answer_sends_nothing_and_ends_well(portal, reply, logged):
    before = len(portal.requests)

    assert reply(**marked("reply")) is False

    assert len(portal.requests) == before
    assert "answered by this run's task reply, at 2026-05-04 12:00:00 UTC" in logged()


@pytest.mark.parametrize(
    ("by", "error", "words"),
    [
        ("dispatcher", AirflowFailException, "Too late.*with the on_failure values, by the dispatcher"),
        ("hand:eve", AirflowSkipException, "by hand, by eve"),
        (NOBODY, AirflowFailException, "Too late.*nobody waits for the answer any more"),
    ],
)
def test_a_process_that_others_have_answered_is_left_alone(portal, reply, note, by, error, words):
    before = len(portal.requests)

    with pytest.raises(error, match=words):
        reply(**marked(by))

    assert len(portal.requests) == before
    assert note() is None


@pytest.mark.parametrize("by", ["dispatcher", "reply", "hand:eve"])
def test_what_answered_before_does_not_matter_to_a_run_that_is_told_to_go_on(portal, reply, by):
    told = AnswerMark().put_into(marked(by))

    assert reply(**told) is True
    assert counts(portal) == [(1, 0)]


@pytest.mark.parametrize("use_subscription", ["N", "n"])
def test_a_process_that_does_not_wait_is_sent_nothing(portal, reply, use_subscription, logged):
    before = len(portal.requests)

    assert reply(use_subscription=use_subscription) is False

    assert len(portal.requests) == before
    assert "It would be: score=5.0" in logged()


def test_a_run_started_by_hand_sends_nothing_and_shows_the_answer(portal, dag, deferrable, logged):
    operator = dag.get_task("reply")
    operator.deferrable = deferrable
    operator.return_values = {"score": 5}
    ti = SimpleNamespace(try_number=1)
    context = {"dag": dag, "dag_run": SimpleNamespace(conf={}), "params": {"model": "fast"}, "ti": ti}
    operator.render_template_fields(context)

    assert operator.execute(context) is False

    assert "The answer would be: score=5.0" in logged()
    assert portal.requests == []


def test_a_worker_or_triggerer_that_died_after_sending_leaves_a_delivered_answer(
    portal, called, reply, note, xcoms
):
    reply()
    left = AnswerNote("sending", NOON, {"score": 5.0})  # all that is left when it could not note the outcome
    xcoms["dag", "run", "reply", -1, NOTE_KEY] = left.to_xcom()

    assert reply(try_number=2) is True

    assert note().outcome == "delivered"
    assert counts(portal) == [(1, 1)]


def test_a_lost_try_that_only_the_dispatcher_knows_of_counts_too(portal, called, reply, note):
    portal.engine.kill(called.process)

    assert reply(try_number=2, **AnswerMark(maybe_sent=True).put_into({})) is True
    assert note().outcome == "delivered"


def test_a_second_try_that_is_the_first_to_send_does_not_claim_a_delivery(portal, called, reply, note):
    portal.engine.kill(called.process)

    with pytest.raises(AirflowFailException, match="Nobody waits"):
        reply(try_number=2)
    assert note().outcome == "refused"


@pytest.mark.usefixtures("impatient")
def test_an_attempt_that_cannot_have_arrived_is_no_reason_to_claim_a_delivery(portal, called, reply, note):
    for method in ("bizproc.event.send", "batch"):
        portal.faults.add(AnswerHtml(401), method=method, times=None)
    with pytest.raises(Bitrix24Error):
        reply()
    portal.faults.clear()
    portal.engine.kill(called.process)

    with pytest.raises(AirflowFailException, match="Nobody waits"):
        reply(try_number=2)
    assert note().outcome == "refused"


@pytest.mark.usefixtures("impatient")
def test_an_attempt_that_may_have_arrived_is_remembered_by_the_next(portal, called, reply, note):
    for method in ("bizproc.event.send", "batch"):
        portal.faults.add(DropConnection(after_work=True), method=method)
        portal.faults.add(AnswerStatus(500), method=method, times=None)
    with pytest.raises(Bitrix24Error):
        reply()
    portal.faults.clear()

    assert reply(try_number=2) is True
    assert counts(portal) == [(1, 1)]
    assert note().outcome == "delivered"


def test_the_portal_ignores_an_answer_that_comes_again_while_the_process_goes_on(
    portal, dag, run_task, waiting_call, deferrable
):
    process, form = waiting_call(dag, then=[AskPerson(1, "Is it true?")])
    conf = RobotCall.from_form(form, definition_of(dag)).to_conf()
    operator = dag.get_task("reply")
    operator.deferrable, operator.return_values = deferrable, {"score": 5}

    assert [run_task(operator, try_number=number, conf=conf) for number in (1, 2)] == [True, True]

    assert process.ignored == 1
    assert counts(portal) == [(1, 0)]


def test_an_answer_that_cannot_be_put_together_is_not_tried_for_a_day(reply):
    with pytest.raises(Exception, match="nothing") as first:
        reply({"verdict": "{{ nothing.at_all }}"})
    assert not isinstance(first.value, AirflowFailException)

    with pytest.raises(AirflowFailException, match="Nothing was sent. The answer cannot be put together"):
        reply({"verdict": "{{ nothing.at_all }}"}, try_number=5)


def test_no_secret_is_logged_or_kept(called, reply, xcoms, logged):
    reply()

    everything = logged() + json.dumps(called.conf) + repr(xcoms)
    for secret in (called.token, called.form["auth"]["application_token"]):
        assert secret not in everything
