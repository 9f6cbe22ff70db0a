"""The rules of repeating, the same in the generator and in both clients, against a portal with faults."""

import asyncio
import logging
from urllib.parse import urlsplit

import pytest

from airflow_provider_b24.exceptions import (
    AuthError,
    Bitrix24Error,
    EventTokenError,
    ProcessEndedError,
    ProcessLockedError,
    ServerError,
    TransportError,
)
from airflow_provider_b24.rest import (
    AsyncBitrix24Client,
    Call,
    Coalescer,
    Effect,
    MethodFacts,
    Patience,
    Webhook,
)
from airflow_provider_b24.sandbox import (
    AnswerHtml,
    AnswerStatus,
    AskPerson,
    CallRobot,
    Delay,
    DropConnection,
    SandboxPortal,
    TruncateJson,
)

READ = Call("sandbox.echo", {"a": 1}, repeatable=True)
CREATE = Call("crm.lead.add", {"fields": {"TITLE": "once"}})

REFUSED_BEFORE_WORK = [AnswerStatus(503, "QUERY_LIMIT_EXCEEDED"), AnswerHtml(503)]
LEFT_OPEN = [
    (DropConnection(), False),
    (DropConnection(after_work=True), True),
    (Delay(1.2, after_work=True), True),
    (Delay(1.2), False),
    (TruncateJson(), True),
    (AnswerHtml(502), False),
    (AnswerHtml(504), False),
    (AnswerHtml(500), False),
    (AnswerStatus(500), False),
    (AnswerStatus(500, "ERROR_UNEXPECTED_ANSWER"), False),
]


def short(fault):
    """A timeout that a delay exceeds; on a busy machine a short one exceeds itself elsewhere."""
    return 0.7 if isinstance(fault, Delay) else 5.0


@pytest.mark.parametrize("fault", [*REFUSED_BEFORE_WORK, *(fault for fault, _ in LEFT_OPEN)], ids=repr)
def test_reading_survives_every_fault(hold, portal, portal_webhook, fault):
    portal.faults.add(fault, "sandbox.echo", times=2)

    assert hold(portal_webhook, READ, timeout=short(fault)).result == {"a": "1"}


@pytest.mark.parametrize("fault", REFUSED_BEFORE_WORK, ids=repr)
def test_creating_is_repeated_when_it_was_refused_before_the_work(hold, portal, portal_webhook, fault):
    portal.faults.add(fault, "crm.lead.add", times=2)

    hold(portal_webhook, CREATE)

    assert len(portal.records("lead")) == 1


@pytest.mark.parametrize(("fault", "worked"), LEFT_OPEN, ids=repr)
def test_creating_is_never_done_twice(hold, portal, portal_webhook, fault, worked):
    portal.faults.add(fault, "crm.lead.add")

    with pytest.raises((TransportError, ServerError)) as caught:
        hold(portal_webhook, CREATE, timeout=short(fault))
    assert caught.value.ambiguous
    assert not caught.value.retryable
    assert len(portal.requests) == 1
    assert len(portal.records("lead")) == int(worked)


def test_a_portal_that_refuses_connections_is_tried_and_then_an_error(hold, closed_port):
    with pytest.raises(TransportError, match="nothing was sent") as caught:
        hold(Webhook(f"http://127.0.0.1:{closed_port}", "1", "s3cr3t"), CREATE)
    assert not caught.value.ambiguous
    assert caught.value.retryable
    assert "s3cr3t" not in str(caught.value)


def test_an_unknown_host_is_an_error(hold):
    with pytest.raises(TransportError, match="nothing was sent"):
        hold(Webhook("http://no-such-portal.localhost:9", "1", "code"), READ, attempts=1)


def test_a_page_that_is_no_portal_is_an_error(hold, portal):
    with pytest.raises((Bitrix24Error, AuthError)):
        hold(Webhook(portal.url, "1", "wrong"), READ)


# Answers to processes


@pytest.fixture(params=["portal", "older-portal", "documentation"])
def portal_by_any_rules(request):
    """A portal for each way to speak of an answer that nobody waits for."""
    with SandboxPortal(limits=False, answers=request.param) as running:
        yield running


def waiting(portal, *more):
    """A process that waits for its robot's answer."""
    robot = {
        "CODE": "score",
        "HANDLER": f"{portal.url}/nobody",
        "USE_SUBSCRIPTION": "Y",
        "NAME": "Score",
        "RETURN_PROPERTIES": {"score": {"Name": "Score", "Type": "int"}},
    }
    portal.robot_registry.add("robot", portal.application.client_id, robot)
    return portal.start_process([CallRobot("score"), *more])


def answer_of(process, score=5):
    params = {"EVENT_TOKEN": process.waiting_for, "RETURN_VALUES": {"score": score}}
    return Call("bizproc.event.send", params)


@pytest.mark.parametrize("fault", [*REFUSED_BEFORE_WORK, *(fault for fault, _ in LEFT_OPEN)], ids=repr)
def test_an_answer_arrives_once_whatever_happens_to_its_first_copy(
    hold, portal, portal_webhook, fault, caplog
):
    call = answer_of(waiting(portal))
    portal.faults.add(fault, "bizproc.event.send")

    with caplog.at_level(logging.WARNING, "airflow_provider_b24.rest"):
        assert hold(portal_webhook, call, timeout=short(fault)).result is True

    assert len(portal.answers) == 1
    assert portal.answers[0].values == {"score": "5"}
    assert ("counts as delivered" in caplog.text) is (dict(LEFT_OPEN).get(fault, False))


@pytest.mark.parametrize("fault", [DropConnection(after_work=True), TruncateJson()], ids=repr)
def test_an_answer_whose_first_copy_arrived_is_delivered_whatever_the_portal_says(
    hold, portal_by_any_rules, fault
):
    portal = portal_by_any_rules
    call = answer_of(waiting(portal))
    portal.faults.add(fault, "bizproc.event.send")

    assert hold(Webhook.from_url(portal.webhook.url), call).result is True

    assert [(answer.count, answer.refused) for answer in portal.answers] == [(1, 1)]


def test_an_answer_whose_first_copy_arrived_is_ignored_while_the_process_goes_on(
    hold, portal, portal_webhook
):
    call = answer_of(waiting(portal, AskPerson(1)))
    portal.faults.add(DropConnection(after_work=True), "bizproc.event.send")

    assert hold(portal_webhook, call).result is True

    assert [(answer.count, answer.ignored) for answer in portal.answers] == [(1, 1)]


def test_an_answer_to_a_process_that_is_over_is_an_error(hold, portal_by_any_rules, request):
    portal = portal_by_any_rules
    credentials, call = Webhook.from_url(portal.webhook.url), answer_of(waiting(portal))
    hold(credentials, call)

    with pytest.raises(EventTokenError) as caught:
        hold(credentials, call)
    documented = request.node.callspec.params["portal_by_any_rules"] == "documentation"
    assert isinstance(caught.value, ProcessEndedError) is not documented
    assert not caught.value.retryable
    assert str(call.params["EVENT_TOKEN"]) not in str(caught.value)


@pytest.mark.parametrize("method", ["bizproc.event.send", "bizproc.activity.log"])
def test_a_process_that_is_locked_for_a_moment_is_asked_again(hold, portal, portal_webhook, method):
    process = waiting(portal)
    portal.faults.add(AnswerStatus(400, 423, "Locked"), method, times=8)

    params = {"EVENT_TOKEN": process.waiting_for, "LOG_MESSAGE": "arrived"}
    assert hold(portal_webhook, Call(method, params), attempts=1).result is True

    assert [entry.message for entry in process.log] == ["arrived"]


def test_a_process_that_stays_locked_has_got_nothing_and_can_be_answered_later(hold, portal, portal_webhook):
    process = waiting(portal)
    call = answer_of(process)
    portal.lock_process(process)

    with pytest.raises(ProcessLockedError) as caught:
        hold(portal_webhook, call, lock_attempts=3)
    assert (caught.value.retryable, caught.value.ambiguous) == (True, False)
    assert len(portal.requests) == 3
    assert portal.answers == []

    portal.unlock_process(process)
    assert hold(portal_webhook, call).result is True
    assert portal.answers[0].values == {"score": "5"}


# Moves


def test_a_friendly_move_is_followed(hold, portal, portal_webhook):
    with SandboxPortal(limits=False) as new:
        portal.move_to(new)
        host = urlsplit(new.url).netloc

        assert hold(portal_webhook, CREATE, trusted_hosts=(host,)).result == 1
        assert [request.verb for request in new.requests] == ["POST"]
        assert len(new.records("lead")) == 1


def test_a_hostile_move_is_an_error_and_the_other_host_gets_nothing(hold, portal, portal_webhook):
    with SandboxPortal(limits=False) as stranger:
        portal.move_to(stranger.url)

        with pytest.raises(Bitrix24Error, match="nothing was sent there") as caught:
            hold(portal_webhook, READ)
        assert urlsplit(stranger.url).netloc in str(caught.value)
        assert urlsplit(portal.url).netloc in str(caught.value)
        assert stranger.requests == []


def test_slow_polls_do_not_fail_and_hold_up_no_answer(portal, portal_webhook, fresh_clock):
    portal.faults.add(Delay(0.05), "sandbox.echo", times=None)
    process = waiting(portal)
    reads = {"sandbox.": MethodFacts(effect=Effect.READS)}
    patience = Patience(timeout=0.5, attempts=12, first_delay=0.01, longest_delay=0.05)

    async def main():
        async with AsyncBitrix24Client(
            portal_webhook, patience=patience, clock=fresh_clock, methods=reads
        ) as client:
            coalescer = Coalescer(client)
            polls = [coalescer.call("sandbox.echo", {"n": number}) for number in range(49)]
            answer = coalescer.call("bizproc.event.send", {"EVENT_TOKEN": process.waiting_for})
            return await asyncio.gather(answer, *polls)

    answer, *polls = asyncio.run(main())

    assert answer.result is True
    assert [reply.result["n"] for reply in polls] == [str(number) for number in range(49)]
    first = next(request for request in portal.requests if request.status is not None)
    assert first.method == "bizproc.event.send"
