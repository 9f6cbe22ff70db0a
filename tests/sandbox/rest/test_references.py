"""Calls of a batch that use each other's results, in both clients."""

import asyncio

import pytest

from airflow_provider_b24.exceptions import BatchError, Bitrix24Error, ServerError, TransportError
from airflow_provider_b24.rest import (
    AsyncBitrix24Client,
    Bitrix24Client,
    Call,
    Ref,
    Reply,
    UnsendableValueError,
)
from airflow_provider_b24.sandbox import AnswerStatus, DropConnection

ONCE = AnswerStatus(500, "INTERNAL_SERVER_ERROR")


@pytest.fixture(params=["blocking", "async"])
def batch(request, portal_webhook, quick, free_clock):
    """Make a batch, and give its outcomes."""

    def blocking(calls, options, **settings):
        with Bitrix24Client(portal_webhook, sleep=free_clock.sleep, **settings) as client:
            return client.batch(calls, **options)

    def in_a_loop(calls, options, **settings):
        async def run():
            async with AsyncBitrix24Client(portal_webhook, sleep=free_clock.asleep, **settings) as client:
                return await client.batch(calls, **options)

        return asyncio.run(run())

    def run(*calls, batch_size=50, **options):
        make = blocking if request.param == "blocking" else in_a_loop
        return make(calls, options, patience=quick, clock=free_clock, batch_size=batch_size)

    return run


def add(name, title="t"):
    return Call("crm.lead.add", {"fields": {"TITLE": title}}, name=name)


def echo(value, name=None, **options):
    return Call("sandbox.echo", {"value": value}, name=name, **options)


def values(outcomes):
    return [outcome.result["value"] for outcome in outcomes]


def titles(portal):
    leads = portal.records("lead")
    return [leads.get(number + 1)["TITLE"] for number in range(len(leads))]


def test_the_result_of_one_call_is_a_parameter_of_another_in_one_request(batch, portal):
    portal.add_records("lead", 6)

    outcomes = batch(
        add("lead", "seventh"),
        Call("crm.lead.list", {"filter": {">ID": 3}}, name="found"),
        echo({"new": Ref("lead"), "deep": [Ref("found", 1, "ID"), "and more"]}),
    )

    assert outcomes[2].result["value"] == {"new": 7, "deep": ["5", "and more"]}
    assert len(portal.requests) == 1


def test_calls_that_refer_to_others_can_be_referred_to(batch, portal):
    outcomes = batch(
        add("lead"), Call("crm.lead.get", {"ID": Ref("lead")}, name="got"), echo(Ref("got", "TITLE"))
    )

    assert outcomes[2].result["value"] == "t"
    assert len(portal.requests) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("halt", [False, True])
def test_it_is_the_same_in_requests_of_any_size(batch, portal, size, halt):
    calls = []
    for number in range(6):
        calls += [add(f"lead {number}", f"lead {number}"), echo("between")]
    calls += [Call("crm.lead.get", {"ID": Ref(f"lead {number}")}) for number in reversed(range(6))]

    outcomes = batch(*calls, batch_size=size, halt=halt)

    assert [outcome.result["TITLE"] for outcome in outcomes[12:]] == [f"lead {n}" for n in reversed(range(6))]
    assert len(portal.records("lead")) == 6


def test_a_chain_that_no_request_can_hold_is_made_in_order_all_the_same(batch, portal):
    calls = [add("0"), echo(Ref("0"), name="1")]
    calls += [
        Call("sandbox.echo", {"value": Ref(str(number), "value")}, name=str(number + 1))
        for number in range(1, 119)
    ]

    outcomes = batch(*calls)

    assert [str(value) for value in values(outcomes[1:])] == ["1"] * 119
    assert len(portal.records("lead")) == 1
    assert len(portal.requests) == 3


def test_pairs_share_requests(batch, portal):
    calls = []
    for number in range(60):
        calls += [add(f"{number}", f"{number}"), Call("crm.lead.get", {"ID": Ref(f"{number}")})]

    outcomes = batch(*calls)

    assert [outcome.result["TITLE"] for outcome in outcomes[1::2]] == [str(number) for number in range(60)]
    assert len(portal.requests) == 3


def test_a_call_is_not_made_when_one_that_it_needs_has_failed(batch, portal):
    portal.faults.add(AnswerStatus(400, "WRONG", "no"), "crm.lead.get")

    failed, needs, needs_that, other, alone = batch(
        Call("crm.lead.get", {"ID": 1}, name="first"),
        Call("crm.lead.add", {"fields": {"TITLE": Ref("first", "TITLE")}}, name="second"),
        Call("crm.lead.add", {"fields": {"TITLE": Ref("second")}}),
        add("other", "other"),
        echo(Ref("other")),
    )

    assert failed.code == "WRONG"
    assert [type(needs), needs.code] == [BatchError, "needed_call_failed"]
    assert "Not called: it needs the result of 'first' (crm.lead.get), and it failed." in str(needs)
    assert "'second'" in str(needs_that)
    assert isinstance(other, Reply)
    assert alone.result["value"] == 1
    assert titles(portal) == ["other"]


def test_what_fails_for_a_moment_is_called_again_and_what_needs_it_only_then(batch, portal):
    portal.add_records("lead", 1)
    portal.faults.add(ONCE, "crm.lead.get", times=2)

    outcomes = batch(
        add("lead", "first"),
        Call("crm.lead.get", {"ID": 1}, name="got"),
        Call("crm.lead.add", {"fields": {"TITLE": Ref("got", "TITLE"), "UF_CRM_PARENT": Ref("lead")}}),
    )

    assert [type(outcome) for outcome in outcomes] == [Reply] * 3
    assert titles(portal) == ["lead 1", "first", "lead 1"]
    assert portal.records("lead").get(3)["UF_CRM_PARENT"] == "2"


def test_what_may_be_done_after_a_lost_request_is_not_done_again(batch, portal):
    portal.add_records("lead", 1)
    portal.faults.add(DropConnection(after_work=True), "batch")

    got, made, needs = batch(
        Call("crm.lead.get", {"ID": 1}, name="got"),
        Call("crm.lead.add", {"fields": {"TITLE": Ref("got", "TITLE")}}, name="made"),
        echo(Ref("made")),
    )

    assert got.result["TITLE"] == "lead 1"
    assert [type(made), made.ambiguous, made.retryable] == [TransportError, True, False]
    assert [type(needs), needs.ambiguous, needs.retryable] == [TransportError, True, False]
    assert len(portal.records("lead")) == 2


def test_a_lost_request_of_calls_that_may_be_repeated_is_made_again(batch, portal):
    portal.add_records("lead", 1)
    portal.faults.add(DropConnection(after_work=True), "batch", times=2)

    outcomes = batch(Call("crm.lead.get", {"ID": 1}, name="got"), echo(Ref("got", "TITLE"), repeatable=True))

    assert outcomes[1].result["value"] == "lead 1"


def test_a_method_that_no_batch_may_hold_is_called_alone_and_its_result_used(batch, portal):
    portal.faults.add(AnswerStatus(405, "ERROR_BATCH_METHOD_NOT_ALLOWED", "no"), "profile")

    outcomes = batch(Call("profile", name="me"), echo(Ref("me", "ID")))

    assert outcomes[1].result["value"] == "1"
    assert [request.method for request in portal.requests] == ["batch", "profile", "sandbox.echo"]


def test_what_a_result_does_not_hold_is_said(batch, portal, caplog):
    """The portal puts nothing in its place, and nobody can keep it from that."""
    outcomes = batch(add("lead"), echo([Ref("lead", "nothing"), "x"]))
    assert isinstance(outcomes[1], Reply)
    assert "sandbox.echo at" in caplog.text
    assert "nothing in the place of lead[nothing]" in caplog.text

    [_, later] = batch(add("lead"), echo(Ref("lead", "nothing")), batch_size=1)
    assert [type(later), later.code] == [BatchError, "no_such_result"]
    assert "lead[nothing]" in str(later)


def test_halt_stops_at_a_call_that_is_not_made_for_want_of_a_result(batch, portal):
    outcomes = batch(
        add("lead", "one"), echo(Ref("lead", "nothing")), add("two", "two"), batch_size=1, halt=True
    )

    assert [outcome.code for outcome in outcomes[1:]] == ["no_such_result", "halted"]
    assert titles(portal) == ["one"]


@pytest.mark.parametrize("halt", [False, True])
def test_a_result_that_cannot_be_sent_fails_the_call_that_needs_it_and_no_other(batch, portal, halt):
    value = "deep"
    for _ in range(30):
        value = [value]

    created, deep, needs, other = batch(
        add("lead"), echo(value, "deep"), echo([Ref("deep")]), echo("other"), batch_size=1, halt=halt
    )

    assert [created.result, deep.result["value"]] == [1, value]
    assert [type(needs), needs.code] == [BatchError, "unsendable_result"]
    assert "value[0]" in str(needs)
    assert "nested deeper" in str(needs)
    assert other.code == "halted" if halt else other.result["value"] == "other"


def test_a_halted_batch_stops_at_a_call_that_is_referred_to(batch, portal):
    outcomes = batch(
        add("one", "one"),
        Call("sandbox.nothing", {"n": Ref("one")}, name="two"),
        add("three", "three"),
        echo(Ref("two")),
        halt=True,
    )

    assert [isinstance(outcome, Bitrix24Error) for outcome in outcomes] == [False, True, True, True]
    assert titles(portal) == ["one"]


def test_texts_that_look_like_references_stay_texts(batch, portal):
    texts = ["$result[c0]", "$result", "a $result[c0][ID]"]

    outcomes = batch(add("lead"), echo([*texts, Ref("lead")]), *(echo(text) for text in texts))

    assert outcomes[1].result["value"] == [*texts, "1"]
    assert values(outcomes[2:]) == texts


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        ([echo(Ref("nobody"))], "'nobody'"),
        ([add("one"), echo({"deep": [Ref("nobody")]})], "value.*deep.*'nobody'"),
        ([echo(Ref("later")), add("later")], "'later'"),
        ([echo(Ref("me"), name="me")], "'me'"),
        ([add("one"), add("one")], "Two calls .* name 'one'"),
    ],
)
def test_a_reference_to_no_call_before_it_is_refused_and_nothing_sent(batch, portal, calls, told):
    with pytest.raises(UnsendableValueError, match=told):
        batch(*calls)
    assert portal.requests == []


@pytest.mark.parametrize("path", [("a[b]",), ("",), ("$x",), (None, "a b"), (-1,)])
def test_a_path_that_no_portal_understands_is_refused(path):
    with pytest.raises(UnsendableValueError, match="names of fields or places"):
        Ref("one", *path)


def test_a_reference_outside_a_batch_is_refused(portal, portal_webhook):
    with (
        Bitrix24Client(portal_webhook) as client,
        pytest.raises(UnsendableValueError, match="'x', but no call of this name comes before it"),
    ):
        client.call("sandbox.echo", {"value": Ref("x")})
    assert portal.requests == []


def test_retries_that_do_not_help_are_the_first_ones_error(batch, portal):
    portal.faults.add(ONCE, "crm.lead.get", times=None)

    first, second = batch(Call("crm.lead.get", {"ID": 1}, name="got"), echo(Ref("got")))

    assert type(first) is ServerError
    assert second.code == "needed_call_failed"


def test_calls_of_rest_3_wait_for_the_results_that_they_need(batch, portal):
    fields = {"title": "Report", "creatorId": 1, "responsibleId": 2}
    made, got, listed = batch(
        Call("tasks.task.add", {"fields": fields}, api="v3", name="made"),
        Call("tasks.task.get", {"id": Ref("made", "item", "id")}, api="v3", name="got"),
        echo([Ref("got", "item", "title"), Ref("made", "item", "id")]),
    )

    assert got.result["item"]["id"] == made.result["item"]["id"] == 1
    assert listed.result["value"] == ["Report", "1"]
    assert len(portal.records("task")) == 1
