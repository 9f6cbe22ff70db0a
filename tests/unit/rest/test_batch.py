"""Many calls in few requests, each with its own fate."""

import json

import pytest

from airflow_provider_b24.exceptions import (
    AuthError,
    BatchError,
    Bitrix24Error,
    EventTokenError,
    OperationTimeLimitError,
    ProcessEndedError,
    ProcessLockedError,
    RateLimitError,
    ServerError,
    TransportError,
)
from airflow_provider_b24.rest import Call, Observer, Ref, Reply, UnsendableValueError
from airflow_provider_b24.rest import batch as batch_module
from airflow_provider_b24.rest.batch import converse_batch
from airflow_provider_b24.rest.encoding import parse_form
from airflow_provider_b24.rest.wire import NoResponse, Together, TransportFailure

TIMEOUT = NoResponse(TransportFailure.TIMEOUT, "ReadTimeout")
REFUSED = NoResponse(TransportFailure.REFUSED, "ConnectError")


class BatchPortal:
    """Answers batches call by call; single calls, too."""

    def __init__(self, answer):
        self.answer = answer
        self.batches: list[list[str]] = []
        self.alone: list[str] = []
        self.troubles: list = []
        self.errors: dict[str, list[str | int]] = {}
        self.done: list[str] = []

    def work(self, method, params):
        label = params.get("n") or params.get("EVENT_TOKEN") or method
        if self.errors.get(label):
            code = self.errors[label].pop(0)
            if code:
                return {"error": code, "error_description": "no"}
        self.done.append(label)
        return None

    def __call__(self, request):
        method, body = request.url.rpartition("/")[2], json.loads(request.body)
        if method != "batch":
            self.alone.append(method)
            error = self.work(method, body)
            return self.answer(error, 400) if error else self.answer({"result": body.get("n", True)})
        self.batches.append(list(body["cmd"].values()))
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble is not None and not (isinstance(trouble, tuple) and trouble[0] == "after"):
            return trouble
        parts = {"result": {}, "result_error": {}, "result_total": [], "result_next": [], "result_time": []}
        for key, command in body["cmd"].items():
            inner, _, query = command.partition("?")
            params = parse_form(query.encode())
            error = self.work(inner, params)
            if error:
                parts["result_error"][key] = error
                if body["halt"] == "1":
                    break
            else:
                parts["result"][key] = params.get("n", True)
        parts = {name: part or [] for name, part in parts.items()}
        return trouble[1] if trouble else self.answer({"result": parts})


@pytest.fixture
def batch_portal(answer):
    return BatchPortal(answer)


@pytest.fixture
def hold(batch_portal, drive, open_session):
    def run(calls, halt=False, deadline=None, **options):
        driver = drive(batch_portal)
        outcomes = driver.hold(converse_batch(calls, open_session(**options), halt=halt, deadline=deadline))
        run.driver = driver
        return outcomes

    return run


def numbered(count, method="crm.deal.get", first=0):
    return [(method, {"n": str(index)}) for index in range(first, first + count)]


def results(outcomes):
    return [outcome.result if isinstance(outcome, Reply) else type(outcome) for outcome in outcomes]


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (2, [2]), (50, [50]), (51, [50]), (120, [50, 50, 20])])
def test_calls_are_packed_by_fifty_and_answered_in_order(hold, batch_portal, count, sizes):
    outcomes = hold(numbered(count))

    assert results(outcomes) == [str(index) for index in range(count)]
    assert [len(commands) for commands in batch_portal.batches] == sizes
    assert len(batch_portal.alone) == (1 if count == 51 else 0)


def test_one_call_needs_no_batch(hold, batch_portal):
    assert results(hold([Call("profile")])) == [True]
    assert (batch_portal.alone, batch_portal.batches) == (["profile"], [])


@pytest.mark.parametrize("call", ["profile", ("profile",), ("profile", {}, 1), None])
def test_what_is_no_call_is_an_error(hold, call):
    with pytest.raises(ValueError, match="Expected a Call"):
        hold([call])


def test_a_value_that_cannot_be_sent_stops_everything_before_anything_is_sent(hold, batch_portal):
    with pytest.raises(UnsendableValueError):
        hold([*numbered(60), ("crm.deal.add", {"fields": b"bytes"})])
    assert batch_portal.batches == []


def test_each_call_has_its_own_error(hold, batch_portal):
    batch_portal.errors = {"1": ["ERROR_METHOD_NOT_FOUND"], "2": ["NO_AUTH_FOUND"]}

    outcomes = hold(numbered(4))

    assert results(outcomes) == ["0", Bitrix24Error, AuthError, "3"]
    assert (outcomes[1].method, outcomes[1].portal) == ("crm.deal.get", "example.bitrix24.com")


def test_only_what_failed_repeatably_is_sent_again(hold, batch_portal):
    batch_portal.errors = {
        "1": ["INTERNAL_SERVER_ERROR", "INTERNAL_SERVER_ERROR"],
        "3": ["INTERNAL_SERVER_ERROR"],
        "4": ["ERROR_METHOD_NOT_FOUND"],
    }

    outcomes = hold(numbered(6))

    assert results(outcomes) == ["0", "1", "2", "3", Bitrix24Error, "5"]
    assert sorted(batch_portal.done) == ["0", "1", "2", "3", "5"]
    assert [len(commands) for commands in batch_portal.batches] == [6, 2]
    assert batch_portal.alone == ["crm.deal.get"]


def test_a_call_that_creates_is_not_repeated_after_a_failure_inside(hold, batch_portal):
    batch_portal.errors = {"1": ["INTERNAL_SERVER_ERROR"]}

    outcomes = hold(numbered(3, "crm.deal.add"))

    assert results(outcomes) == ["0", ServerError, "2"]
    assert outcomes[1].ambiguous


@pytest.mark.parametrize("code", ["ACCESS_DENIED", 404, "499"])
@pytest.mark.parametrize("arrived", [True, False])
def test_after_an_ambiguous_failure_each_call_goes_by_its_own_rule(hold, batch_portal, arrived, code):
    batch_portal.troubles = [("after", TIMEOUT) if arrived else TIMEOUT]
    batch_portal.errors = {"token": ["", code]} if arrived else {}
    calls = [
        ("crm.deal.get", {"n": "read"}),
        ("crm.deal.add", {"n": "create"}),
        ("bizproc.event.send", {"EVENT_TOKEN": "token"}),
    ]

    outcomes = hold(calls)

    assert results(outcomes) == ["read", TransportError, True]
    assert outcomes[1].ambiguous
    assert outcomes[1].method == "crm.deal.add"
    assert batch_portal.done.count("create") == (1 if arrived else 0)


def test_a_spent_event_token_is_an_error_of_its_own_call(hold, batch_portal):
    batch_portal.errors = {"spent": ["ACCESS_DENIED"], "over": [404], "stopped": ["499"]}
    tokens = ("good", "spent", "over", "stopped", "fine")
    calls = [("bizproc.event.send", {"EVENT_TOKEN": token}) for token in tokens]

    assert results(hold(calls)) == [True, EventTokenError, ProcessEndedError, ProcessEndedError, True]


@pytest.mark.parametrize("halt", [False, True])
def test_only_the_answer_to_a_locked_process_is_sent_again(hold, batch_portal, halt):
    batch_portal.errors = {"locked": [423, "423", 423]}
    calls = [("bizproc.event.send", {"EVENT_TOKEN": token}) for token in ("good", "locked", "fine")]

    assert results(hold(calls, halt=halt, attempts=1)) == [True, True, True]
    assert sorted(batch_portal.done) == ["fine", "good", "locked"]


def test_a_process_that_stays_locked_is_an_error_of_its_own_answer(hold, batch_portal):
    batch_portal.errors = {"locked": [423] * 99}
    calls = [("bizproc.event.send", {"EVENT_TOKEN": token}) for token in ("good", "locked")]

    outcomes = hold(calls, deadline=60)

    assert results(outcomes) == [True, ProcessLockedError]
    assert (outcomes[1].retryable, outcomes[1].ambiguous) == (True, False)


def test_a_batch_that_never_left_is_repeated_as_a_whole(hold, batch_portal):
    batch_portal.troubles = [REFUSED, REFUSED]

    assert results(hold(numbered(3, "crm.deal.add"))) == ["0", "1", "2"]
    assert len(batch_portal.batches) == 3


def test_a_portal_that_stays_away_is_an_error_of_each_call(hold, batch_portal):
    batch_portal.troubles = [REFUSED] * 99

    outcomes = hold(numbered(60), attempts=2)

    assert {type(outcome) for outcome in outcomes} == {TransportError}
    assert len(outcomes) == 60


def test_wrong_credentials_are_not_tried_with_every_request(hold, batch_portal, refusal):
    batch_portal.troubles = [refusal(401, "NO_AUTH_FOUND")] * 99

    outcomes = hold(numbered(500))

    assert {type(outcome) for outcome in outcomes} == {AuthError}
    assert len(outcomes) == 500
    assert len(batch_portal.batches) == 1


def test_an_answer_that_omits_a_call_leaves_that_call_open(hold, batch_portal, ok):
    batch_portal.troubles = [ok({"result": {"c0": "0"}, "result_error": []})]

    outcomes = hold([("crm.deal.get", {"n": "0"}), ("crm.deal.add", {"n": "1"})])

    assert results(outcomes) == ["0", TransportError]
    assert outcomes[1].ambiguous


@pytest.mark.parametrize("result", [[], True, None])
def test_an_answer_that_is_no_batch_is_not_taken_for_success(hold, batch_portal, ok, result):
    batch_portal.troubles = [ok(result)] * 9

    assert results(hold(numbered(2, "crm.deal.add"))) == [TransportError, TransportError]


# What goes alone


@pytest.mark.parametrize(
    "call",
    [
        ("crm.deal.get", {"n": "$result[c0][ID]"}),
        ("crm.deal.get", {"n": "x", "filter": []}),
        ("batch", {"cmd": {"a": "profile"}, "n": "x"}),
    ],
)
def test_what_no_batch_can_carry_goes_alone(hold, batch_portal, call):
    batch_portal.work = lambda method, params: None

    outcomes = hold([*numbered(2), call, *numbered(2, first=2)])

    assert len(outcomes) == 5
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert max(len(commands) for commands in batch_portal.batches) == 4 or call[0] == "batch"


def test_a_method_that_refuses_batches_is_called_alone(hold, batch_portal):
    batch_portal.errors = {"1": ["ERROR_BATCH_METHOD_NOT_ALLOWED"]}

    assert results(hold(numbered(3))) == ["0", "1", "2"]
    assert batch_portal.alone == ["crm.deal.get"]


def test_long_calls_are_split_by_length(hold, batch_portal, monkeypatch):
    monkeypatch.setattr(batch_module, "MAX_BYTES", 1000)
    calls = [("crm.deal.get", {"n": str(index), "text": "x" * 300}) for index in range(6)]
    calls.append(("crm.deal.get", {"n": "6", "text": "x" * 2000}))

    assert results(hold(calls)) == [str(index) for index in range(7)]
    assert [len(commands) for commands in batch_portal.batches] == [2, 2, 2]
    assert batch_portal.alone == ["crm.deal.get"]


@pytest.mark.parametrize("status", [413, 400])
def test_a_request_the_portal_finds_too_large_is_halved(hold, batch_portal, answer, refusal, status):
    too_large = answer(b"<html>", 413) if status == 413 else refusal(400, "ERROR_BATCH_LENGTH_EXCEEDED")
    batch_portal.troubles = [too_large, too_large]

    assert results(hold(numbered(8, "crm.deal.add"))) == [str(index) for index in range(8)]
    assert len(batch_portal.done) == 8
    assert [len(commands) for commands in batch_portal.batches][:4] == [8, 4, 2, 2]


# halt


def test_halt_stops_at_the_first_failure(hold, batch_portal):
    batch_portal.errors = {"60": ["ERROR_METHOD_NOT_FOUND"]}

    outcomes = hold(numbered(170), halt=True)

    assert results(outcomes[:60]) == [str(index) for index in range(60)]
    assert type(outcomes[60]) is Bitrix24Error
    assert {(type(outcome), outcome.code) for outcome in outcomes[61:]} == {(BatchError, "halted")}
    assert "call number 61 (crm.deal.get) failed" in str(outcomes[61])
    assert batch_portal.done == [str(index) for index in range(60)]
    assert len(batch_portal.batches) == 2


def test_halt_goes_on_after_a_failure_that_was_repeated(hold, batch_portal):
    batch_portal.errors = {"1": ["INTERNAL_SERVER_ERROR"], "2": ["INTERNAL_SERVER_ERROR"]}

    assert results(hold(numbered(5), halt=True)) == ["0", "1", "2", "3", "4"]
    assert batch_portal.done == ["0", "1", "2", "3", "4"]


def test_halt_keeps_the_order_around_calls_that_go_alone(hold, batch_portal):
    calls = [*numbered(2), ("crm.deal.get", {"n": "2", "filter": []}), *numbered(2, first=3)]

    hold(calls, halt=True)

    assert batch_portal.done == ["0", "1", "2", "3", "4"]


def test_halt_after_an_ambiguous_failure_of_a_call_that_creates_reports_it(hold, batch_portal):
    batch_portal.troubles = [TIMEOUT]

    outcomes = hold(numbered(3, "crm.deal.add"), halt=True)

    assert type(outcomes[0]) is TransportError
    assert outcomes[0].ambiguous
    assert len(batch_portal.batches) == 1


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize(
    ("methods", "read_again"),
    [
        (["crm.lead.get", "crm.lead.add"], 1),
        (["crm.lead.get", "crm.lead.list", "crm.lead.add", "crm.lead.get"], 2),
        # To delete again what has been made anew in between would undo the second call.
        (["crm.lead.delete", "crm.lead.add"], 0),
        (["crm.lead.add", "crm.lead.get"], 0),
    ],
)
def test_halt_never_sends_again_what_may_be_done_and_must_not_be_done_twice(
    hold, batch_portal, arrived, methods, read_again
):
    batch_portal.troubles = [("after", TIMEOUT) if arrived else TIMEOUT]
    calls = [(method, {"n": str(index)}) for index, method in enumerate(methods)]

    outcomes = hold(calls, halt=True)

    assert results(outcomes) == [str(index) for index in range(read_again)] + [TransportError] * (
        len(calls) - read_again
    )
    assert all(outcome.ambiguous for outcome in outcomes[read_again:])
    once = [str(index) for index in range(len(calls))] if arrived else []
    assert batch_portal.done == once + [str(index) for index in range(read_again)]


def test_halt_says_not_called_of_nothing_but_what_was_not_called(hold, batch_portal):
    batch_portal.troubles = [("after", TIMEOUT)]
    calls = [("crm.lead.add", {"n": str(index)}) for index in range(60)]

    outcomes = hold(calls, halt=True)

    assert [outcome.code for outcome in outcomes] == ["connection_timeout"] * 50 + ["halted"] * 10
    assert batch_portal.done == [str(index) for index in range(50)]


def test_halt_says_not_called_of_nothing_that_was_in_a_lost_request(hold, batch_portal):
    batch_portal.troubles = [("after", TIMEOUT)]
    batch_portal.errors = {"0": [0, "ERROR_CORE"]}
    calls = [("crm.lead.update", {"n": str(index)}) for index in range(60)]

    outcomes = hold(calls, halt=True)

    assert [outcome.code for outcome in outcomes] == [
        "ERROR_CORE",
        *["connection_timeout"] * 49,
        *["halted"] * 10,
    ]
    assert [outcome.ambiguous for outcome in outcomes] == [True] * 50 + [False] * 10
    assert batch_portal.done == [str(index) for index in range(50)]


def test_halt_after_the_deadline_of_one_says_not_called_of_nothing_that_may_be_done(hold, batch_portal):
    batch_portal.troubles = [("after", TIMEOUT)]
    calls = [Call("crm.lead.update", {"n": "0"}, deadline=0.1), ("crm.lead.update", {"n": "1"})]

    outcomes = hold(calls, halt=True)

    assert [(outcome.code, outcome.ambiguous) for outcome in outcomes] == [("connection_timeout", True)] * 2
    assert batch_portal.done == ["0", "1"]


def test_a_call_whose_need_fails_after_a_lost_request_is_not_said_to_be_not_called(hold, batch_portal):
    batch_portal.troubles = [("after", TIMEOUT)]
    batch_portal.errors = {"0": [0, "ERROR_CORE"]}
    calls = [
        Call("crm.lead.update", {"n": "0"}, name="lead"),
        Call("crm.deal.update", {"n": "1", "of": Ref("lead")}),
    ]

    outcomes = hold(calls)

    assert [(outcome.code, outcome.ambiguous) for outcome in outcomes] == [
        ("ERROR_CORE", True),
        ("connection_timeout", True),
    ]
    assert batch_portal.done == ["0", "1"]


def test_what_may_be_done_stays_open_when_a_later_request_is_refused(hold, batch_portal, refusal):
    batch_portal.troubles = [TIMEOUT, refusal(401, "INVALID_CREDENTIALS")]

    outcomes = hold(numbered(4, "crm.deal.update"))

    assert [(outcome.code, outcome.ambiguous) for outcome in outcomes] == [("INVALID_CREDENTIALS", True)] * 4


def test_halt_sends_a_whole_request_again_when_all_of_it_may_be_done_twice(hold, batch_portal):
    batch_portal.troubles = [("after", TIMEOUT)]
    calls = [("crm.lead.update", {"n": "0"}), ("crm.lead.get", {"n": "1"})]

    assert results(hold(calls, halt=True)) == ["0", "1"]
    assert batch_portal.done == ["0", "1"] * 2


@pytest.mark.parametrize("halt", [False, True])
def test_a_response_that_omits_a_call_before_others_leaves_that_call_open(hold, batch_portal, ok, halt):
    batch_portal.troubles = [ok({"result": {"c0": "0", "c2": "2"}, "result_error": []})]

    outcomes = hold(numbered(3, "crm.deal.add"), halt=halt)

    assert results(outcomes) == ["0", TransportError, "2"]
    assert outcomes[1].ambiguous
    assert batch_portal.done == []


# Limits


def test_a_method_refused_for_its_time_waits_while_others_are_done(hold, batch_portal):
    batch_portal.errors = {"slow": ["OPERATION_TIME_LIMIT"]}
    calls = [("crm.item.list", {"n": "slow"}), ("crm.deal.get", {"n": "a"}), ("crm.deal.get", {"n": "b"})]

    assert results(hold(calls)) == ["slow", "a", "b"]
    assert batch_portal.done == ["a", "b", "slow"]
    assert hold.driver.sleeps == [60.0]


def test_a_closed_method_with_a_deadline_fails_alone(hold, batch_portal):
    batch_portal.errors = {"slow": ["OPERATION_TIME_LIMIT"]}
    calls = [("crm.item.list", {"n": "slow"}), ("crm.deal.get", {"n": "a"}), ("crm.deal.get", {"n": "b"})]

    outcomes = hold(calls, deadline=30)

    assert results(outcomes) == [OperationTimeLimitError, "a", "b"]
    assert outcomes[0].retry_after == pytest.approx(60.0)
    assert hold.driver.sleeps == []


def test_a_refused_batch_is_paced_and_repeated(hold, batch_portal, refusal):
    batch_portal.troubles = [refusal(503, "QUERY_LIMIT_EXCEEDED")]

    assert results(hold(numbered(3, "crm.deal.add"))) == ["0", "1", "2"]
    assert sum(hold.driver.sleeps) == pytest.approx(3.25)


def test_a_batch_without_room_before_its_deadline_is_an_error_of_each_call(hold, batch_portal, open_session):
    session = open_session()
    for _ in range(100):
        session.pacer.reserve()

    outcomes = hold(numbered(3), deadline=5)

    assert results(outcomes) == [RateLimitError] * 3
    assert batch_portal.batches == []


def test_requests_of_a_long_batch_go_together(open_session, drive, batch_portal):
    conversation = converse_batch(numbered(1000), open_session())
    action = next(conversation)
    conversation.close()

    assert isinstance(action, Together)
    assert 1 < len(action.conversations) <= 8


def test_an_observer_hears_of_each_batch(drive, batch_portal, open_session):
    sizes = []

    class Ears(Observer):
        def on_batch(self, size):
            sizes.append(size)

    drive(batch_portal).hold(converse_batch(numbered(70), open_session(observer=Ears())))
    assert sizes == [50, 20]
