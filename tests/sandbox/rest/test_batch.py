"""Batches against the sandbox: what arrives, what is answered, what is sent again."""

import asyncio
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_b24.exceptions import (
    BatchError,
    Bitrix24Error,
    EventTokenError,
    ProcessEndedError,
    ProcessLockedError,
    ServerError,
)
from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, Reply, Webhook
from airflow_provider_b24.rest.encoding import UnsendableValueError
from airflow_provider_b24.sandbox import AnswerHtml, AnswerStatus, CallRobot, DropConnection, SandboxPortal


@pytest.fixture
def client(portal_webhook, quick, free_clock):
    with Bitrix24Client(portal_webhook, patience=quick, clock=free_clock, sleep=free_clock.sleep) as client:
        yield client


def test_each_answer_of_a_batch_meets_its_own_process(portal, client):
    robot = {"CODE": "r", "NAME": "R", "HANDLER": "http://127.0.0.1:9/", "USE_SUBSCRIPTION": "Y"}
    portal.robot_registry.add("robot", portal.application.client_id, robot)
    kinds = ("waiting", "goes on", "completed", "killed", "terminated", "locked")
    processes = {
        kind: portal.start_process([CallRobot("r")] * (2 if kind == "goes on" else 1)) for kind in kinds
    }
    tokens = {kind: process.waiting_for for kind, process in processes.items()}
    for kind in ("completed", "goes on"):
        client.send_event(tokens[kind])
    client.call("bizproc.workflow.kill", {"ID": processes["killed"].id})
    client.call("bizproc.workflow.terminate", {"ID": processes["terminated"].id})
    portal.lock_process(processes["locked"])
    tokens["forged"] = tokens["waiting"][:-1]

    outcomes = client.batch(
        [("bizproc.event.send", {"EVENT_TOKEN": token}) for token in tokens.values()], deadline=60
    )

    assert dict(zip(tokens, [type(outcome) for outcome in outcomes], strict=True)) == {
        "waiting": Reply,
        "goes on": Reply,
        "completed": ProcessEndedError,
        "killed": ProcessEndedError,
        "terminated": ProcessEndedError,
        "locked": ProcessLockedError,
        "forged": EventTokenError,
    }
    assert len(portal.answers) == 3
    assert processes["goes on"].ignored == 1


@pytest.mark.parametrize("rules", ["portal", "documentation"])
def test_the_answers_of_a_batch_that_was_lost_on_the_way_back_are_delivered(quick, free_clock, rules):
    with SandboxPortal(limits=False, answers=rules) as portal:
        robot = {"CODE": "r", "NAME": "R", "HANDLER": "http://127.0.0.1:9/", "USE_SUBSCRIPTION": "Y"}
        portal.robot_registry.add("robot", portal.application.client_id, robot)
        tokens = [portal.start_process([CallRobot("r")]).waiting_for for _ in range(3)]
        portal.faults.add(DropConnection(after_work=True), "batch")
        with Bitrix24Client(
            Webhook.from_url(portal.webhook.url), patience=quick, clock=free_clock, sleep=free_clock.sleep
        ) as client:
            outcomes = client.batch([("bizproc.event.send", {"EVENT_TOKEN": token}) for token in tokens])

        assert [outcome.result for outcome in outcomes] == [True] * 3
        assert [(answer.count, answer.refused) for answer in portal.answers] == [(1, 1)] * 3


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=10) | st.sampled_from(
    [
        "",
        "$result[c0][ID]",
        "$result",
        "a&b=c%20+",
        "Grüße 你好 🚀",
        "0",
        "007",
    ]
)
ZONES = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
SCALARS = st.one_of(
    TEXTS,
    st.booleans(),
    st.none(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.dates(),
    st.datetimes(timezones=ZONES),
)
NAMES = TEXTS | st.sampled_from([">ID", "!%NAME", "@ID", "a.b", "a b", "0", "1"]) | st.integers(0, 3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), VALUES, max_size=4), min_size=2
    )
)
def test_what_is_sent_in_a_batch_arrives_as_if_it_was_sent_alone(client, calls):
    calls = [{"first": "x", **params} for params in calls if "auth" not in params]

    singly = [client.call("sandbox.echo", params).result for params in calls]
    together = client.batch([("sandbox.echo", params) for params in calls])

    assert [outcome.result for outcome in together] == singly


def test_values_arrive_by_the_table(client):
    params = {
        "yes": True,
        "no": False,
        "nothing": None,
        "price": Decimal("10.50"),
        "when": datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
        "day": date(2026, 3, 29),
        "names": ["Zoë", "李"],
        "nested": {"a": [{"b": 1.5}]},
    }
    arrived = {
        "yes": "Y",
        "no": "N",
        "nothing": "",
        "price": "10.50",
        "when": "2026-03-29T01:30:00+00:00",
        "day": "2026-03-29",
        "names": ["Zoë", "李"],
        "nested": {"a": [{"b": "1.5"}]},
    }

    assert client.call("sandbox.echo", params).result == arrived
    assert [outcome.result for outcome in client.batch([("sandbox.echo", params)] * 2)] == [arrived] * 2


def test_a_thousand_calls_are_twenty_requests(client, portal):
    outcomes = client.batch([("sandbox.echo", {"n": number}) for number in range(1000)])

    assert [outcome.result["n"] for outcome in outcomes] == [str(number) for number in range(1000)]
    assert [request.method for request in portal.requests] == ["batch"] * 20


def test_the_async_client_does_the_same(portal, portal_webhook, quick, fresh_clock):
    async def main():
        async with AsyncBitrix24Client(portal_webhook, patience=quick, clock=fresh_clock) as client:
            return await client.batch([("sandbox.echo", {"n": number}) for number in range(1000)])

    outcomes = asyncio.run(main())

    assert [outcome.result["n"] for outcome in outcomes] == [str(number) for number in range(1000)]
    assert [request.method for request in portal.requests] == ["batch"] * 20


def test_each_call_has_its_own_fate(client, portal):
    outcomes = client.batch(
        [
            ("profile", {}),
            ("no.such.method", {}),
            ("crm.lead.get", {"ID": 99}),
            ("crm.lead.list", {}),
        ]
    )

    assert outcomes[0].result["ID"] == "1"
    assert outcomes[1].code == "ERROR_METHOD_NOT_FOUND"
    assert isinstance(outcomes[2], Bitrix24Error)
    assert (outcomes[3].result, outcomes[3].total) == ([], 0)
    assert outcomes[0].time is not None


def test_only_the_calls_that_failed_repeatably_are_sent_again(client, portal):
    portal.faults.add(AnswerStatus(500), "sandbox.echo", times=3)
    calls = [("sandbox.echo", {"n": 1}), ("profile", {}), ("crm.lead.add", {"fields": {"TITLE": "x"}})]
    calls = [*calls, ("crm.lead.list", {})]

    outcomes = client.batch(calls)

    # sandbox.echo is unknown to the rules, so it must not be repeated.
    assert isinstance(outcomes[0], ServerError)
    assert [isinstance(outcome, Reply) for outcome in outcomes[1:]] == [True, True, True]
    assert len(portal.records("lead")) == 1

    portal.faults.clear()
    portal.faults.add(AnswerStatus(500), "profile", times=2)
    outcomes = client.batch(
        [("profile", {}), ("profile", {}), ("profile", {}), ("crm.lead.add", {"fields": {}})]
    )
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert len(portal.records("lead")) == 2


@pytest.mark.parametrize(
    "fault", [AnswerHtml(502), DropConnection(), DropConnection(after_work=True)], ids=repr
)
def test_creations_in_a_batch_are_never_done_twice(client, portal, fault):
    portal.faults.add(fault, "batch")

    create = ("crm.lead.add", {"fields": {"TITLE": "x"}})

    outcomes = client.batch([create, ("profile", {}), create])

    assert [type(outcome).__name__ for outcome in outcomes] == ["TransportError", "Reply", "TransportError"]
    assert len(portal.records("lead")) == (2 if fault == DropConnection(after_work=True) else 0)


def test_halt(client, portal):
    calls = [("crm.lead.add", {"fields": {}}), ("no.such.method", {}), ("crm.lead.add", {"fields": {}})]

    outcomes = client.batch(calls, halt=True)

    assert outcomes[0].result == 1
    assert outcomes[1].code == "ERROR_METHOD_NOT_FOUND"
    assert isinstance(outcomes[2], BatchError)
    assert len(portal.records("lead")) == 1


@pytest.mark.parametrize(
    "fault", [AnswerHtml(502), AnswerHtml(504), DropConnection(), DropConnection(after_work=True)], ids=repr
)
def test_halt_never_creates_twice(client, portal, fault):
    portal.add_records("lead", 1)
    portal.faults.add(fault, "batch")
    create = ("crm.lead.add", {"fields": {"TITLE": "x"}})

    outcomes = client.batch([("crm.lead.get", {"ID": 1}), create, create], halt=True)

    assert outcomes[0].result["ID"] == "1"
    assert [(type(outcome).__name__, outcome.ambiguous) for outcome in outcomes[1:]] == [
        ("TransportError", True)
    ] * 2
    assert len(portal.records("lead")) == (3 if fault == DropConnection(after_work=True) else 1)


def test_a_value_that_cannot_be_sent_stops_everything(client, portal):
    with pytest.raises(UnsendableValueError, match=r"fields\[PHOTO\]"):
        client.batch([("crm.lead.add", {"fields": {}}), ("crm.lead.add", {"fields": {"PHOTO": b"x"}})])
    assert portal.requests == []
