"""Tasks of a business process, against a portal with real processes."""

import asyncio
import datetime as dt
import json
import logging
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_b24.exceptions import Bitrix24Error, ServerError, TransportError
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.sealing import seal
from airflow_provider_b24.operators._answer_note import NOTE_KEY, AnswerNote
from airflow_provider_b24.operators.bizproc import (
    BizprocActivityLogOperator,
    BizprocEventSendOperator,
    BizprocWorkflowKillOperator,
    BizprocWorkflowStartOperator,
    BizprocWorkflowTerminateOperator,
)
from airflow_provider_b24.sandbox import AnswerStatus, CallRobot, DropConnection, Finish
from airflow_provider_b24.triggers.bizproc import BizprocEventSendTrigger

pytestmark = pytest.mark.usefixtures("webhook_connection")


def test_the_answer_reaches_the_process_with_converted_values(portal, waiting_process, run_task, deferrable):
    token = waiting_process.waiting_for
    done = run_task(
        BizprocEventSendOperator(
            task_id="answer",
            return_values={"score": 0.5, "seen": [True, dt.date(2026, 1, 2)]},
            log_message="Scored by {{ params.get('model', 'nobody') }}",
            deferrable=deferrable,
        ),
        conf={"event_token": token},
    )
    assert done is True
    assert waiting_process.wait().status == "completed"
    [answer] = portal.answers
    assert (answer.token, answer.values) == (token, {"score": "0.5", "seen": ["Y", "2026-01-02"]})
    assert waiting_process.values["SCORE"] == "0.5"
    assert any("Scored by nobody" in entry.message for entry in waiting_process.log)


@pytest.mark.parametrize(
    "rendered", ['{"score": 5}', "{'score': 5}", "{{ dag_run.conf['values'] }}", {"score": "{{ 4 + 1 }}"}]
)
def test_templates_may_give_the_mapping_or_its_values(
    portal, waiting_process, run_task, deferrable, rendered
):
    run_task(
        BizprocEventSendOperator(task_id="answer", return_values=rendered, deferrable=deferrable),
        conf={"event_token": waiting_process.waiting_for, "values": {"score": 5}},
    )
    assert [int(answer.values["score"]) for answer in portal.answers] == [5]


def test_what_came_from_outside_is_never_taken_for_a_template(portal, waiting_process, run_task, deferrable):
    looks_like_one = "{{ 7 * 7 }} {% if 1 %} ${x} {{ macros }}"
    run_task(
        BizprocEventSendOperator(
            task_id="answer",
            return_values="{{ dag_run.conf['values'] }}",
            log_message="{{ dag_run.conf['values']['score'] }}",
            deferrable=deferrable,
        ),
        conf={"event_token": waiting_process.waiting_for, "values": {"score": looks_like_one}},
    )
    assert [answer.values["score"] for answer in portal.answers] == [looks_like_one]
    assert any(looks_like_one in entry.message for entry in waiting_process.log)


def test_the_note_and_the_log_say_what_was_sent_and_not_what_templates_say_later(
    portal, waiting_process, run_task, deferrable, xcoms, capfd, caplog
):
    caplog.set_level(logging.INFO)
    later = iter(["137.9", "142.96"])
    run_task(
        BizprocEventSendOperator(
            task_id="answer",
            event_token=waiting_process.waiting_for,
            return_values={"score": "{{ dag_run.conf['next']() }}"},
            deferrable=deferrable,
        ),
        conf={"next": lambda: next(later)},
    )
    assert [answer.values for answer in portal.answers] == [{"score": "137.9"}]
    note = AnswerNote.from_xcom(xcoms["dag", "run", "answer", -1, NOTE_KEY])
    assert (note.outcome, note.values) == ("delivered", {"score": "137.9"})
    printed = capfd.readouterr()
    log = printed.out + printed.err + caplog.text
    assert "score='137.9'" in log
    assert "142.96" not in log


@pytest.mark.parametrize("forget", [False, True], ids=["note", "no note"])
def test_an_answer_that_was_sent_is_delivered_also_when_its_templates_fit_no_more(
    portal, waiting_process, run_task, deferrable, xcoms, forget, monkeypatch
):
    async def settled(since):
        if forget:
            xcoms.clear()

    monkeypatch.setattr("airflow_provider_b24.triggers.bizproc.settled", settled)
    later = iter(["{'score': 5}", "nothing that names a value"])
    done = run_task(
        BizprocEventSendOperator(
            task_id="answer",
            event_token=waiting_process.waiting_for,
            return_values="{{ dag_run.conf['next']() }}",
            deferrable=deferrable,
        ),
        conf={"next": lambda: next(later)},
    )
    assert done is True
    assert [answer.values for answer in portal.answers] == [{"score": "5"}]
    note = AnswerNote.from_xcom(xcoms["dag", "run", "answer", -1, NOTE_KEY])
    assert note.outcome == "delivered"
    assert note.values in ({"score": 5}, None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"return_values": {"score": {"nested": 1}}}, "score: a dict cannot be sent"),
        ({"return_values": {"1st": 1}}, "'1st' cannot name"),
        ({"return_values": "not a mapping"}, "not a mapping"),
        ({"event_token": " "}, "event_token is empty"),
        ({"on_denied": "ignore"}, "on_denied is 'fail' or 'skip'"),
        ({"return_values": {"score": "half a smile: \ud83d"}}, "RETURN_VALUES[score]: the text holds half"),
        ({"log_message": "half a smile: \ud83d"}, "LOG_MESSAGE: the text holds half"),
        ({"return_values": {"score": 10**5000}}, "4300 digits"),
    ],
)
def test_what_cannot_be_sent_fails_at_once_and_nothing_is_sent(
    portal, waiting_process, run_task, deferrable, fields, reason
):
    operator = BizprocEventSendOperator(
        task_id="answer", deferrable=deferrable, **({"event_token": waiting_process.waiting_for} | fields)
    )
    with pytest.raises(AirflowFailException, match="Nothing was sent") as caught:
        run_task(operator)
    assert reason in str(caught.value)
    assert [request.method for request in portal.requests] == ["bizproc.robot.add"]


@pytest.fixture
def sealed(waiting_process):
    """The event token as a robot's run has it in its conf."""
    return seal(waiting_process.waiting_for, PortalConnection.load("bitrix24_default"))


def test_a_sealed_token_answers_and_is_nowhere_to_be_read(
    portal, waiting_process, run_task, deferrable, sealed, caplog
):
    token = waiting_process.waiting_for
    with caplog.at_level(logging.DEBUG):
        done = run_task(
            BizprocEventSendOperator(task_id="answer", return_values={"score": 1}, deferrable=deferrable),
            conf={"event_token": sealed},
        )
    assert done is True
    assert [answer.token for answer in portal.answers] == [token]
    assert token not in caplog.text


@pytest.fixture
def run_trigger():
    """Run a trigger; give what it reports."""

    async def first(trigger):
        async for event in trigger.run():
            return event.payload
        raise AssertionError("The trigger ended without an event")

    return lambda trigger: asyncio.run(first(trigger))


def deferral_of(operator, conf):
    """Begin the task; give what it tells Airflow about its trigger."""
    ti = SimpleNamespace(dag_id="dag", task_id=operator.task_id, run_id="run", map_index=-1, try_number=1)
    context = {"ti": ti, "dag_run": SimpleNamespace(conf=conf), "params": {}}
    operator.render_template_fields(context)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    return deferred.value


@pytest.mark.usefixtures("xcoms")
def test_a_sealed_token_stays_sealed_in_what_airflow_shows_of_the_trigger(waiting_process, sealed):
    operator = BizprocEventSendOperator(task_id="answer", deferrable=True)
    deferred = deferral_of(operator, {"event_token": sealed})
    shown = f"{deferred.trigger.serialize()} {deferred.trigger!r} {deferred.kwargs}"
    assert sealed in shown
    assert waiting_process.waiting_for not in shown


@pytest.mark.usefixtures("xcoms")
def test_a_trigger_of_an_older_version_has_the_token_itself_and_answers(portal, waiting_process, run_trigger):
    arguments = {
        "event_token": waiting_process.waiting_for,
        "return_values": {"score": 5},
        "log_message": None,
        "bitrix24_conn_id": "bitrix24_default",
        "answering_task": {"dag_id": "dag", "task_id": "answer", "run_id": "run", "map_index": -1},
        "send_until": None,
    }
    assert run_trigger(BizprocEventSendTrigger(**arguments))["status"] == "delivered"
    assert [answer.values for answer in portal.answers] == [{"score": "5"}]


def test_a_sealed_token_that_the_triggerer_cannot_read_is_sent_by_the_task(
    portal, waiting_process, run_task, sealed, monkeypatch
):
    from airflow_provider_b24.triggers import bizproc

    class WithoutConnection(bizproc.BizprocEventSendTrigger):
        async def run(self):
            with monkeypatch.context() as here:
                here.delenv("AIRFLOW_CONN_BITRIX24_DEFAULT")
                async for event in super().run():
                    yield event

    monkeypatch.setattr(bizproc, "BizprocEventSendTrigger", WithoutConnection)
    operator = BizprocEventSendOperator(task_id="answer", deferrable=True)
    assert run_task(operator, conf={"event_token": sealed}) is True
    assert [(answer.count, answer.refused, answer.ignored) for answer in portal.answers] == [(1, 0, 0)]


def test_a_secret_that_changes_while_the_task_is_deferred_leaves_nothing_to_count_as_delivered(
    portal, waiting_process, run_task, sealed, monkeypatch, xcoms
):
    from airflow_provider_b24.triggers import bizproc

    class LateForTheOldSecret(bizproc.BizprocEventSendTrigger):
        async def run(self):
            changed = json.dumps({"conn_type": "bitrix24", "host": portal.create_webhook().url})
            monkeypatch.setenv("AIRFLOW_CONN_BITRIX24_DEFAULT", changed)
            async for event in super().run():
                yield event

    monkeypatch.setattr(bizproc, "BizprocEventSendTrigger", LateForTheOldSecret)
    operator = BizprocEventSendOperator(task_id="answer", deferrable=True)
    with pytest.raises(AirflowFailException, match="Nothing was sent.*was changed"):
        run_task(operator, conf={"event_token": sealed})
    assert portal.answers == []
    assert not xcoms


def test_a_sealed_token_writes_to_the_log_of_the_process(waiting_process, run_task, sealed):
    operator = BizprocActivityLogOperator(task_id="log", log_message="half way")
    run_task(operator, conf={"event_token": sealed})
    assert any("half way" in entry.message for entry in waiting_process.log)


@pytest.mark.parametrize("rendered", ["", " ", "None", None])
def test_a_token_that_is_none_is_refused_before_anything_is_sent(portal, waiting_process, run_task, rendered):
    before = len(portal.requests)
    for operator in (BizprocEventSendOperator, BizprocActivityLogOperator):
        more = {"log_message": "x"}
        with pytest.raises(AirflowFailException, match="event_token is empty"):
            run_task(
                operator(task_id="answer", event_token="{{ dag_run.conf['token'] }}", **more),
                conf={"token": rendered},
            )
    assert len(portal.requests) == before


def test_the_log_says_what_was_sent_to_whom(portal, waiting_process, run_task, deferrable, capfd, caplog):
    caplog.set_level(logging.INFO)
    run_task(
        BizprocEventSendOperator(task_id="answer", return_values={"score": "x" * 900}, deferrable=deferrable),
        conf={"event_token": waiting_process.waiting_for, "workflow_id": waiting_process.id},
    )
    printed = capfd.readouterr()
    log = printed.out + printed.err + caplog.text
    assert f"for process {waiting_process.id} at {portal.url}: score=" in log
    assert "x" * 190 in log
    assert "x" * 201 not in log


def test_a_used_token_fails_at_once(portal, waiting_process, run_task, deferrable):
    token = waiting_process.waiting_for
    run_task(BizprocEventSendOperator(task_id="answer", event_token=token))
    with pytest.raises(AirflowFailException, match=r"bizproc\.event\.send") as caught:
        run_task(BizprocEventSendOperator(task_id="again", event_token=token, deferrable=deferrable))
    assert token not in str(caught.value)
    assert len(portal.answers) == 1


def test_a_used_token_may_skip_the_task(waiting_process, run_task, deferrable):
    token = waiting_process.waiting_for
    run_task(BizprocEventSendOperator(task_id="answer", event_token=token))
    with pytest.raises(AirflowSkipException):
        run_task(
            BizprocEventSendOperator(
                task_id="again", event_token=token, on_denied="skip", deferrable=deferrable
            )
        )


both_memories = pytest.mark.parametrize("try_memory", ["state store", "xcom keys"], indirect=True)


@both_memories
@pytest.mark.parametrize(
    "first", [None, AnswerStatus(503, "OVERLOAD_LIMIT", "blocked")], ids=["refused", "sent nothing"]
)
def test_a_refusal_is_no_delivery_when_the_earlier_try_certainly_delivered_nothing(
    portal, waiting_process, run_task, deferrable, first
):
    token = waiting_process.waiting_for
    run_task(BizprocEventSendOperator(task_id="other", event_token=token))
    operator = BizprocEventSendOperator(task_id="answer", event_token=token, deferrable=deferrable)
    if first is not None:
        portal.faults.add(first)
    for number in (1, 2):
        with pytest.raises(AirflowFailException):
            run_task(operator, try_number=number)
    assert [answer.refused for answer in portal.answers] == [2 if first is None else 1]


@both_memories
def test_a_try_that_sent_nothing_does_not_hide_that_one_before_it_may_have_delivered(
    portal, waiting_process, run_task, deferrable, impatient
):
    operator = BizprocEventSendOperator(
        task_id="answer", event_token=waiting_process.waiting_for, deferrable=deferrable
    )
    portal.faults.add(DropConnection(after_work=True))
    portal.faults.add(DropConnection(), times=1)
    with pytest.raises(TransportError):
        run_task(operator)
    portal.faults.add(AnswerStatus(503, "OVERLOAD_LIMIT", "blocked"))
    with pytest.raises(AirflowFailException):
        run_task(operator, try_number=2)
    assert run_task(operator, try_number=3) is True
    assert [(answer.count, answer.refused) for answer in portal.answers] == [(1, 1)]


@both_memories
def test_a_retry_that_is_refused_counts_the_earlier_try_as_delivered(
    portal, waiting_process, run_task, deferrable, caplog
):
    token = waiting_process.waiting_for
    operator = BizprocEventSendOperator(task_id="answer", event_token=token, deferrable=deferrable)
    run_task(operator)
    with caplog.at_level(logging.WARNING):
        assert run_task(operator, try_number=2) is True
    assert len(portal.answers) == 1


@pytest.mark.parametrize("limit", [None, dt.timedelta(minutes=5)])
def test_a_deferred_answer_does_not_wait_for_ever_for_a_triggerer(waiting_process, xcoms, limit):
    operator = BizprocEventSendOperator(
        task_id="answer", event_token=waiting_process.waiting_for, deferrable=True, execution_timeout=limit
    )
    ti = SimpleNamespace(dag_id="dag", task_id="answer", run_id="run", map_index=-1, try_number=1)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute({"ti": ti})
    assert deferred.value.timeout == (limit or dt.timedelta(hours=1))


@both_memories
def test_a_try_that_no_triggerer_took_is_no_reason_to_claim_a_delivery(
    portal, waiting_process, run_task, xcoms
):
    answer = BizprocEventSendOperator(
        task_id="answer", event_token=waiting_process.waiting_for, deferrable=True
    )
    with pytest.raises(AirflowException, match="Trigger timeout"):
        run_task(answer, has_triggerer=False)
    assert not [key for *_, key in xcoms if key == NOTE_KEY]
    portal.engine.terminate(waiting_process, "")

    with pytest.raises(AirflowFailException, match="Nobody waits"):
        run_task(answer, try_number=2)
    assert portal.answers == []


@both_memories
def test_a_try_that_no_triggerer_took_does_not_hide_that_one_before_it_may_have_delivered(
    portal, waiting_process, run_task
):
    answer = BizprocEventSendOperator(
        task_id="answer", event_token=waiting_process.waiting_for, deferrable=True
    )
    run_task(answer)
    with pytest.raises(AirflowException, match="Trigger timeout"):
        run_task(answer, try_number=2, has_triggerer=False)

    assert run_task(answer, try_number=3) is True
    assert [(answer.count, answer.refused) for answer in portal.answers] == [(1, 1)]


@both_memories
def test_a_trigger_that_fails_after_it_began_to_send_may_have_delivered(
    portal, waiting_process, run_task, xcoms, monkeypatch
):
    answer = BizprocEventSendOperator(
        task_id="answer", event_token=waiting_process.waiting_for, deferrable=True
    )

    async def fail(since):
        raise OSError("the triggerer ends")

    with monkeypatch.context() as failing:
        failing.setattr("airflow_provider_b24.triggers.bizproc.settled", fail)
        with pytest.raises(AirflowException, match="Trigger failure"):
            run_task(answer)

    assert run_task(answer, try_number=2) is True
    assert [(answer.count, answer.refused) for answer in portal.answers] == [(1, 1)]


def test_what_the_triggerer_has_no_connection_for_is_sent_by_the_task(
    portal, waiting_process, run_task, monkeypatch
):
    """Airflow's triggers belong to no team, and find no team's connection."""
    from airflow_provider_b24.triggers import _shared_portal

    def no_connection(conn_id):
        raise AirflowNotFoundException(f"The conn_id {conn_id!r} isn't defined")

    monkeypatch.setattr(_shared_portal, "shared_portal", no_connection)
    done = run_task(
        BizprocEventSendOperator(task_id="answer", event_token=waiting_process.waiting_for, deferrable=True)
    )

    assert done is True
    assert [(answer.count, answer.refused, answer.ignored) for answer in portal.answers] == [(1, 0, 0)]


def test_what_fails_while_it_is_sent_is_not_called_a_connection_that_cannot_be_read(
    portal, waiting_process, run_task, monkeypatch
):
    from airflow_provider_b24.rest import Coalescer

    usual = Coalescer.call

    async def fail_afterwards(self, *args, **kwargs):
        await usual(self, *args, **kwargs)
        raise RuntimeError("with a s3cr3t")

    monkeypatch.setattr(Coalescer, "call", fail_afterwards)
    answer = BizprocEventSendOperator(
        task_id="answer", event_token=waiting_process.waiting_for, deferrable=True
    )
    with pytest.raises(TransportError, match="the portal may have the answer.*") as caught:
        run_task(answer)

    assert "RuntimeError" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert [(answer.count, answer.ignored) for answer in portal.answers] == [(1, 0)]
    monkeypatch.setattr(Coalescer, "call", usual)
    assert run_task(answer, try_number=2) is True
    assert [(answer.count, answer.ignored + answer.refused) for answer in portal.answers] == [(1, 1)]


def test_a_triggerer_that_died_after_sending_does_not_fail_the_task(portal, waiting_process, run_task, xcoms):
    from airflow_provider_b24.triggers import bizproc

    class Twice(bizproc.BizprocEventSendTrigger):
        async def run(self):
            sent = [event async for event in super().run()]
            assert len(sent) == 1, "and it dies before Airflow has it"
            note = AnswerNote("sending", dt.datetime.now(dt.UTC), self.return_values)
            xcoms["dag", "run", "answer", -1, NOTE_KEY] = note.to_xcom()
            async for event in super().run():
                yield event

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bizproc, "BizprocEventSendTrigger", Twice)
        done = run_task(
            BizprocEventSendOperator(
                task_id="answer", event_token=waiting_process.waiting_for, deferrable=True
            )
        )

    assert done is True
    assert [(answer.count, answer.refused) for answer in portal.answers] == [(1, 1)]


def test_an_answer_survives_a_connection_that_breaks_after_delivery(
    portal, waiting_process, run_task, deferrable
):
    portal.faults.add(DropConnection(after_work=True), times=1)
    done = run_task(
        BizprocEventSendOperator(
            task_id="answer", event_token=waiting_process.waiting_for, deferrable=deferrable
        )
    )
    assert done is True
    assert len(portal.answers) == 1


def test_a_portal_that_keeps_failing_leaves_the_task_to_airflows_retries(
    portal, waiting_process, run_task, deferrable, impatient
):
    portal.faults.add(AnswerStatus(500, "INTERNAL_SERVER_ERROR", "down"), times=None)
    with pytest.raises(ServerError) as caught:
        run_task(
            BizprocEventSendOperator(
                task_id="answer", event_token=waiting_process.waiting_for, deferrable=deferrable
            )
        )
    assert caught.value.retryable
    assert waiting_process.waiting_for not in str(caught.value)


def test_a_log_line_leaves_the_process_waiting(waiting_process, run_task):
    token = waiting_process.waiting_for
    run_task(BizprocActivityLogOperator(task_id="log", event_token=token, log_message="half way"))
    assert waiting_process.waiting_for == token
    assert any("half way" in entry.message for entry in waiting_process.log)


def test_a_workflow_is_started_and_stopped(portal, run_task):
    portal.add_template("Wait", [CallRobot("score", name="A1"), Finish()])
    template = portal.add_template("Done", [Finish()])
    workflow_id = run_task(
        BizprocWorkflowStartOperator(
            task_id="start",
            template_id=template,
            document_id=["crm", "CCrmDocumentLead", "{{ dag_run.conf['lead'] }}"],
            parameters={"Parameter1": "x"},
        ),
        conf={"lead": "LEAD_5"},
    )
    assert portal.processes[workflow_id].document_id[2] == "LEAD_5"


def test_without_a_document_id_the_workflow_is_started_for_the_document_of_the_call(portal, run_task):
    template = portal.add_template("Done", [Finish()])
    workflow_id = run_task(
        BizprocWorkflowStartOperator(task_id="start", template_id=template),
        conf={"document_id": ["crm", "CCrmDocumentLead", "LEAD_9"]},
    )
    assert portal.processes[workflow_id].document_id == ("crm", "CCrmDocumentLead", "LEAD_9")


def test_a_refusal_without_a_code_says_why(portal, run_task):
    template = portal.add_template("For leads", [Finish()])
    with pytest.raises(AirflowFailException, match="DOCUMENT_ID mismatch"):
        run_task(
            BizprocWorkflowStartOperator(
                task_id="start", template_id=template, document_id=["crm", "CCrmDocumentDeal", "DEAL_9"]
            )
        )


def test_a_running_workflow_is_terminated(portal, waiting_process, run_task):
    run_task(
        BizprocWorkflowTerminateOperator(task_id="stop", workflow_id=waiting_process.id, status="no need")
    )
    assert waiting_process.wait().status == "terminated"


def test_a_workflow_that_is_stopped_by_a_call_whose_response_is_lost_is_stopped(
    portal, waiting_process, run_task
):
    portal.faults.add(DropConnection(after_work=True), method="bizproc.workflow.terminate")
    run_task(BizprocWorkflowTerminateOperator(task_id="stop", workflow_id=waiting_process.id))
    assert waiting_process.wait().status == "terminated"


def test_a_workflow_that_never_was_cannot_be_stopped(run_task):
    with pytest.raises(AirflowFailException, match="not found"):
        run_task(BizprocWorkflowTerminateOperator(task_id="stop", workflow_id="never.was"))


@pytest.mark.parametrize("workflow_id", ["{{ None }}", " ", None])
@pytest.mark.parametrize("operator", [BizprocWorkflowTerminateOperator, BizprocWorkflowKillOperator])
def test_a_workflow_without_an_id_is_not_stopped(portal, run_task, operator, workflow_id):
    with pytest.raises(AirflowFailException, match="workflow_id is empty"):
        run_task(operator(task_id="stop", workflow_id=workflow_id))
    assert portal.requests == []


def test_a_workflow_is_deleted(portal, waiting_process, run_task):
    run_task(BizprocWorkflowKillOperator(task_id="delete", workflow_id=f" {waiting_process.id} "))
    assert portal.requests[-1].parameters == {"ID": waiting_process.id}


def test_a_start_that_may_have_happened_is_not_repeated_by_anybody(portal, run_task):
    template = portal.add_template("Done", [Finish()])
    portal.faults.add(DropConnection(after_work=True), method="bizproc.workflow.start")
    with pytest.raises(AirflowFailException):
        run_task(
            BizprocWorkflowStartOperator(
                task_id="start", template_id=template, document_id=["crm", "CCrmDocumentLead", "LEAD_1"]
            )
        )
    assert len(portal.processes) == 1


@pytest.mark.parametrize("document_id", ["LEAD_1", ["crm", "LEAD_1"], "[1, 2, 3]", "{}"])
def test_a_document_id_without_three_parts_starts_nothing(portal, run_task, document_id):
    with pytest.raises(AirflowFailException, match="three parts"):
        run_task(BizprocWorkflowStartOperator(task_id="start", template_id=1, document_id=document_id))
    assert portal.requests == []


def test_an_unknown_connection_is_named(run_task):
    with pytest.raises(Exception, match="nowhere"):
        run_task(
            BizprocActivityLogOperator(
                task_id="log", event_token="t", log_message="x", bitrix24_conn_id="nowhere"
            )
        )


def test_every_error_is_a_bitrix24_error_that_names_method_and_portal(portal, run_task):
    with pytest.raises(AirflowFailException, match=portal.host) as caught:
        run_task(BizprocActivityLogOperator(task_id="log", event_token="forged", log_message="x"))
    assert isinstance(caught.value.__cause__, Bitrix24Error)
    assert "bizproc.activity.log" in str(caught.value)
    assert "forged" not in str(caught.value)
