"""One call from beginning to end, told by its generator."""

import json
import logging
import traceback

import pytest

from airflow_provider_b24.exceptions import (
    AuthError,
    Bitrix24Error,
    EventTokenError,
    OperationTimeLimitError,
    ProcessEndedError,
    ProcessLockedError,
    RateLimitError,
    ServerError,
    TransportError,
)
from airflow_provider_b24.rest import Call, Observer, Webhook
from airflow_provider_b24.rest.batch import converse_batch
from airflow_provider_b24.rest.conversation import converse
from airflow_provider_b24.rest.wire import NoResponse, TransportFailure

SAFE = Call("crm.deal.get", {"ID": 7})
UNSAFE = Call("crm.deal.add", {"fields": {"TITLE": "x"}})
ANSWER = Call("bizproc.event.send", {"EVENT_TOKEN": "ev3nt", "RETURN_VALUES": {"score": 1}})

REFUSED = NoResponse(TransportFailure.REFUSED, "ConnectError")
BROKEN = NoResponse(TransportFailure.BROKEN, "ReadError")
TIMEOUT = NoResponse(TransportFailure.TIMEOUT, "ReadTimeout")
UNTRUSTED = NoResponse(TransportFailure.UNTRUSTED, "SSLError")


def test_a_call_by_webhook_is_one_post_with_json(open_session, drive, ok):
    driver = drive([ok({"ID": "7"}, total=3)])

    reply = driver.hold(converse(SAFE, open_session()))

    (request,) = driver.requests
    assert (reply.result, reply.total) == ({"ID": "7"}, 3)
    assert (request.verb, request.url) == (
        "POST",
        "https://example.bitrix24.com/rest/1/s3cr3tcode/crm.deal.get",
    )
    assert driver.bodies() == [{"ID": "7"}]
    assert request.timeout == 30
    assert driver.sleeps == []


def test_a_batch_may_take_twice_as_long(open_session, drive, ok):
    driver = drive([ok({})])

    driver.hold(converse(Call("batch"), open_session(timeout=20)))

    assert driver.requests[0].timeout == 40


@pytest.mark.parametrize("failure", [REFUSED, BROKEN, TIMEOUT])
def test_a_safe_call_is_repeated_with_growing_delay(open_session, drive, ok, failure):
    driver = drive([failure, failure, failure, ok()])

    assert driver.hold(converse(SAFE, open_session())).result is True
    assert driver.sleeps == [0.5, 1.0, 2.0]


def test_the_delays_are_random_below_their_bounds_and_the_bounds_have_an_end(open_session, drive):
    driver = drive(lambda request: REFUSED)
    session = open_session(chance=lambda: 0.25, attempts=8, longest_delay=4)

    with pytest.raises(TransportError):
        driver.hold(converse(SAFE, session))
    assert driver.sleeps == [0.125, 0.25, 0.5, 1.0, 1.0, 1.0, 1.0]


def test_a_refused_connection_may_always_be_repeated(open_session, drive, ok):
    driver = drive([REFUSED, ok(5)])

    assert driver.hold(converse(UNSAFE, open_session())).result == 5


@pytest.mark.parametrize("failure", [BROKEN, TIMEOUT])
def test_a_call_that_creates_is_not_repeated_when_it_may_have_arrived(open_session, drive, failure):
    driver = drive([failure])

    with pytest.raises(TransportError, match="may have done the work") as caught:
        driver.hold(converse(UNSAFE, open_session()))
    assert caught.value.ambiguous
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b'{"error": "INTERNAL_SERVER_ERROR"}', ServerError),
        (500, b"<html>", ServerError),
        (502, b"<html>", TransportError),
        (504, b"<html>", TransportError),
        (200, b'{"result": tr', TransportError),
        (200, b"<html>login</html>", TransportError),
        (200, b"[]", TransportError),
        (200, b"{}", TransportError),
        pytest.param(200, b'{"result": ' + b"[" * 100_000, TransportError, id="too deep"),
    ],
)
def test_an_answer_that_leaves_things_open_is_repeated_only_where_it_is_safe(
    open_session, drive, answer, ok, status, body, kind
):
    assert drive([answer(body, status), ok()]).hold(converse(SAFE, open_session())).result is True
    with pytest.raises(kind) as caught:
        drive([answer(body, status)]).hold(converse(UNSAFE, open_session()))
    assert caught.value.ambiguous


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b'{"error": "NO_AUTH_FOUND"}', AuthError),
        (403, b'{"error": "insufficient_scope"}', AuthError),
        (404, b'{"error": "ERROR_METHOD_NOT_FOUND"}', Bitrix24Error),
        (404, b"<html>", Bitrix24Error),
        (200, b'{"error": "SOMETHING", "result": true}', Bitrix24Error),
        (400, b'{"error": {"code": "BITRIX_REST_V3_X", "message": "text"}}', Bitrix24Error),
        (400, b'{"error": 0, "error_description": "text"}', Bitrix24Error),
    ],
)
def test_a_refusal_is_final(open_session, drive, answer, status, body, kind):
    driver = drive([answer(body, status)])

    with pytest.raises(kind) as caught:
        driver.hold(converse(SAFE, open_session()))
    assert (caught.value.method, caught.value.portal) == ("crm.deal.get", "example.bitrix24.com")
    assert driver.sleeps == []


def test_an_untrusted_certificate_is_final(open_session, drive):
    with pytest.raises(TransportError, match="certificate") as caught:
        drive([UNTRUSTED]).hold(converse(SAFE, open_session()))
    assert not caught.value.retryable


def test_a_call_gives_up_after_its_attempts(open_session, drive):
    driver = drive([REFUSED] * 3)

    with pytest.raises(TransportError):
        driver.hold(converse(SAFE, open_session(attempts=3)))


def test_a_call_gives_up_before_its_deadline(open_session, drive, hand_clock):
    driver = drive(lambda request: REFUSED)
    started = hand_clock.now

    with pytest.raises(TransportError):
        driver.hold(converse(SAFE, open_session(attempts=99), deadline=10))
    assert hand_clock.now - started <= 10


def test_a_request_waits_no_longer_than_the_deadline(open_session, drive, ok):
    driver = drive([ok()])

    driver.hold(converse(SAFE, open_session(), deadline=3))

    assert driver.requests[0].timeout == 3


def test_an_error_after_an_ambiguous_failure_stays_ambiguous(open_session, drive):
    driver = drive([TIMEOUT, REFUSED])

    with pytest.raises(TransportError) as caught:
        driver.hold(converse(SAFE, open_session(attempts=2)))
    assert caught.value.code == "connection_refused"
    assert caught.value.ambiguous


# Answers to a process


GONE = [
    (403, "ACCESS_DENIED", "Access denied!"),
    (400, 404, "Workflow not found"),
    (404, "404", "Workflow not found"),
    (400, "", "Empty root activity"),
    (400, 0, "Empty root activity"),
    (400, 499, "Terminated"),
]
LOG = Call("bizproc.activity.log", {"EVENT_TOKEN": "ev3nt", "LOG_MESSAGE": "half"})


@pytest.mark.parametrize("refused", GONE)
@pytest.mark.parametrize("failure", [BROKEN, TIMEOUT])
def test_an_answer_whose_first_copy_had_arrived_counts_as_delivered(
    open_session, drive, refusal, caplog, failure, refused
):
    driver = drive([failure, refusal(*refused)])

    with caplog.at_level(logging.WARNING):
        assert driver.hold(converse(ANSWER, open_session())).result is True
    assert "counts as delivered" in caplog.text
    assert "ev3nt" not in caplog.text


def test_an_answer_that_was_cut_off_and_then_refused_counts_as_delivered(
    open_session, drive, answer, refusal
):
    driver = drive([answer(b'{"resu'), refusal(403, "ACCESS_DENIED")])

    assert driver.hold(converse(ANSWER, open_session())).result is True


@pytest.mark.parametrize("call", [ANSWER, LOG])
@pytest.mark.parametrize("refused", GONE)
def test_an_answer_that_is_refused_at_once_is_an_error(open_session, drive, refusal, call, refused):
    with pytest.raises(EventTokenError) as caught:
        drive([refusal(*refused)]).hold(converse(call, open_session()))
    assert isinstance(caught.value, ProcessEndedError) is (refused[1] != "ACCESS_DENIED")
    assert not caught.value.ambiguous


@pytest.mark.parametrize("call", [ANSWER, LOG])
@pytest.mark.parametrize("locked", [(400, 423), (423, "423"), (500, 423)])
def test_a_locked_process_is_asked_again_with_growing_delay(open_session, drive, ok, refusal, call, locked):
    driver = drive([refusal(*locked)] * 8 + [ok()])

    assert driver.hold(converse(call, open_session(attempts=2, limit_attempts=2))).result is True
    assert driver.sleeps == [0.5, 1, 2, 4, 8, 10, 10, 10]


def test_a_process_that_stays_locked_is_an_error_that_can_be_tried_again(open_session, drive, refusal):
    driver = drive([refusal(400, 423, "Locked")] * 3)

    with pytest.raises(ProcessLockedError) as caught:
        driver.hold(converse(ANSWER, open_session(lock_attempts=3)))
    assert (caught.value.retryable, caught.value.ambiguous) == (True, False)


def test_a_locked_process_is_not_waited_for_after_the_deadline(open_session, drive, refusal, hand_clock):
    driver = drive(lambda request: refusal(400, 423, "Locked"))
    started = hand_clock.now

    with pytest.raises(ProcessLockedError):
        driver.hold(converse(ANSWER, open_session(), deadline=20))
    assert 5 < hand_clock.now - started <= 20


def test_a_locked_process_leaves_open_what_was_open_before(open_session, drive, refusal):
    driver = drive([TIMEOUT, refusal(400, 423), refusal(400, 404)])
    assert driver.hold(converse(ANSWER, open_session())).result is True

    with pytest.raises(ProcessLockedError) as caught:
        drive([TIMEOUT, refusal(400, 423)]).hold(converse(ANSWER, open_session(lock_attempts=1)))
    assert (caught.value.retryable, caught.value.ambiguous) == (True, True)


def test_a_refusal_that_is_not_about_the_token_is_no_delivery(open_session, drive, refusal):
    with pytest.raises(Bitrix24Error) as caught:
        drive([TIMEOUT, refusal(400, "TARIFF", "Not in your plan")]).hold(converse(ANSWER, open_session()))
    assert not isinstance(caught.value, EventTokenError)
    assert caught.value.ambiguous


def test_an_answer_refused_after_a_failure_that_sent_nothing_is_an_error(open_session, drive, refusal):
    driver = drive([REFUSED, refusal(503, "QUERY_LIMIT_EXCEEDED"), refusal(403, "ACCESS_DENIED")])

    with pytest.raises(EventTokenError):
        driver.hold(converse(ANSWER, open_session()))


def test_an_answer_is_repeated_until_it_arrives(open_session, drive, ok, refusal):
    driver = drive([TIMEOUT, BROKEN, refusal(500, "INTERNAL_SERVER_ERROR"), ok()])

    assert driver.hold(converse(ANSWER, open_session())).result is True


def test_a_log_line_that_is_refused_after_an_ambiguous_failure_is_no_success(open_session, drive, refusal):
    log = Call("bizproc.activity.log", {"EVENT_TOKEN": "t", "LOG_MESSAGE": "m"}, repeatable=True)

    with pytest.raises(EventTokenError):
        drive([TIMEOUT, refusal(403, "ACCESS_DENIED")]).hold(converse(log, open_session()))


ENDED = [
    (400, "", "Workflow not found"),
    (400, "NOT_FOUND", "x"),
    (404, "ERROR_NOT_FOUND", "x"),
    (400, 404, "x"),
]


@pytest.mark.parametrize("method", ["bizproc.workflow.terminate", "bizproc.workflow.kill", "crm.lead.delete"])
@pytest.mark.parametrize("ended", ENDED)
def test_what_was_ended_by_a_call_whose_response_was_lost_counts_as_done(
    open_session, drive, refusal, caplog, method, ended
):
    driver = drive([TIMEOUT, refusal(*ended)])

    assert driver.hold(converse(Call(method, {"ID": 1}), open_session())).result is True
    assert "counts as done" in caplog.text


@pytest.mark.parametrize(
    "refused",
    [
        (403, "ACCESS_DENIED", "Not found"),
        (400, "ERROR_ARGUMENT", "ID is missing"),
        (404, "ERROR_METHOD_NOT_FOUND", "Method not found!"),
    ],
)
def test_another_refusal_of_a_repeated_end_is_an_error(open_session, drive, refusal, refused):
    with pytest.raises(Bitrix24Error) as caught:
        drive([TIMEOUT, refusal(*refused)]).hold(converse(Call("crm.lead.delete", {"ID": 1}), open_session()))
    assert caught.value.ambiguous


@pytest.mark.parametrize("method", ["crm.lead.delete", "crm.lead.update", "crm.lead.get"])
def test_what_is_not_there_at_the_first_attempt_is_an_error(open_session, drive, refusal, method):
    with pytest.raises(Bitrix24Error):
        drive([REFUSED, refusal(400, "NOT_FOUND")]).hold(converse(Call(method, {"ID": 1}), open_session()))


def test_an_update_of_what_is_gone_is_an_error_at_any_attempt(open_session, drive, refusal):
    with pytest.raises(Bitrix24Error):
        drive([TIMEOUT, refusal(400, "NOT_FOUND")]).hold(converse(Call("crm.lead.update"), open_session()))


# Limits


@pytest.mark.parametrize("page", [True, False])
def test_a_refused_request_corrects_the_bucket_and_is_repeated(
    open_session, drive, ok, answer, refusal, page
):
    refused = answer(b"<html>", 503) if page else refusal(503, "QUERY_LIMIT_EXCEEDED")
    driver = drive([refused, ok()])

    assert driver.hold(converse(UNSAFE, open_session())).result is True
    assert driver.sleeps == [0.5, pytest.approx(2.75)], (
        "first the delay, then what the corrected bucket demands"
    )


def test_a_slot_that_became_void_while_waiting_is_taken_anew(open_session, drive, ok, hand_clock):
    session = open_session()
    for _ in range(50):
        session.pacer.reserve()
    driver = drive([ok()])
    driver.on_sleep = lambda seconds: session.pacer.overflow() if len(driver.sleeps) == 1 else None

    driver.hold(converse(SAFE, session))

    assert driver.sleeps == pytest.approx([1.25, 1.25])


def test_a_call_that_is_abandoned_gives_its_slot_back(open_session):
    session = open_session()
    for _ in range(48):
        session.pacer.reserve()
    before = session.pacer.waiting_time()
    conversation = converse(SAFE, session)
    next(conversation)
    conversation.close()

    assert session.pacer.waiting_time() == before


def test_no_room_for_a_repetition_leaves_open_what_was_open_before(open_session, drive):
    session = open_session()

    def lose(_request):
        for _ in range(60):
            session.pacer.reserve()
        return TIMEOUT

    with pytest.raises(RateLimitError) as caught:
        drive(lose).hold(converse(Call("crm.lead.delete"), session, deadline=3))
    assert caught.value.ambiguous


def test_no_room_before_the_deadline_fails_at_once_with_the_time_it_would_take(open_session, drive):
    session = open_session()
    for _ in range(70):
        session.pacer.reserve()
    driver = drive([])

    with pytest.raises(RateLimitError, match=r"11\.2 s") as caught:
        driver.hold(converse(SAFE, session, deadline=5))
    assert caught.value.retry_after == pytest.approx(11.25)
    assert caught.value.retryable, "a later try may find room"
    assert driver.log == []


def timed(result, operating, reset_at, finish=1_000_000.0):
    time = {"start": finish, "finish": finish, "operating": operating, "operating_reset_at": reset_at}
    return json.dumps({"result": result, "time": time}).encode()


def test_a_method_that_used_up_its_time_waits_for_its_reset_while_others_go_on(
    open_session, drive, answer, ok
):
    session = open_session()
    driver = drive([answer(timed(1, 500, 1_000_200)), ok(), ok()])

    driver.hold(converse(SAFE, session))
    driver.hold(converse(Call("profile"), session))
    assert driver.sleeps == []
    driver.hold(converse(SAFE, session))
    assert driver.sleeps == [201.0]


@pytest.mark.parametrize("page", [True, False])
def test_a_method_that_is_refused_for_its_time_waits_for_the_reset_in_the_last_good_reply(
    open_session, drive, answer, ok, refusal, page
):
    refused = answer(b"<html>", 429) if page else refusal(429, "OPERATION_TIME_LIMIT")
    driver = drive([answer(timed(1, 300, 1_000_120)), refused, ok(2)])
    session = open_session()

    driver.hold(converse(SAFE, session))
    assert driver.hold(converse(SAFE, session)).result == 2
    assert driver.sleeps == [121.0]


def test_a_reset_after_the_deadline_fails_at_once_with_the_time_it_would_take(open_session, drive, answer):
    session = open_session()
    driver = drive([answer(timed(1, 500, 1_000_200))])
    driver.hold(converse(SAFE, session))

    with pytest.raises(OperationTimeLimitError) as caught:
        driver.hold(converse(SAFE, session, deadline=60))
    assert (caught.value.retry_after, caught.value.reset_at) == (201.0, 1_000_200)
    assert driver.sleeps == []


def test_a_refusal_for_operating_time_with_a_deadline_carries_the_reset(open_session, drive, refusal):
    driver = drive([refusal(429, "OPERATION_TIME_LIMIT")])

    with pytest.raises(OperationTimeLimitError) as caught:
        driver.hold(converse(SAFE, open_session(), deadline=30))
    assert caught.value.retry_after == 60.0


# Moved portals


@pytest.mark.parametrize(
    ("old", "new", "trusted"),
    [
        ("https://old.bitrix24.com", "https://new.bitrix24.com", ()),
        ("https://old.bitrix24.com", "https://new.bitrix24.de", ()),
        ("https://old.bitrix24.com", "https://new.bitrix24.com.br", ()),
        ("https://crm.example.org", "https://portal.example.org", ("portal.example.org",)),
        ("http://127.0.0.1:1000", "http://127.0.0.1:2000", ("127.0.0.1:2000",)),
        ("http://127.0.0.1:1000", "http://localhost:2000", ("LOCALHOST",)),
    ],
)
def test_a_friendly_move_is_followed_with_the_same_post(open_session, drive, answer, ok, old, new, trusted):
    session = open_session(Webhook(old, "1", "code"), trusted_hosts=trusted)
    driver = drive([answer(b"", 302, location=f"{new}/rest/1/code/crm.deal.add"), ok(5), ok(6)])

    assert driver.hold(converse(UNSAFE, session)).result == 5
    assert driver.hold(converse(UNSAFE, session)).result == 6
    assert [request.url for request in driver.requests] == [
        f"{old}/rest/1/code/crm.deal.add",
        f"{new}/rest/1/code/crm.deal.add",
        f"{new}/rest/1/code/crm.deal.add",
    ]
    assert {request.verb for request in driver.requests} == {"POST"}
    assert driver.bodies() == [{"fields": {"TITLE": "x"}}] * 3


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.com/rest/1/s3cr3tcode/crm.deal.get",
        "https://new.bitrix24.com.evil.com/rest/1/s3cr3tcode/crm.deal.get",
        "https://bitrix24.com/rest/1/s3cr3tcode/crm.deal.get",
        "https://a.b.bitrix24.evil/rest/1/s3cr3tcode/crm.deal.get",
        "https://evil.com\\@new.bitrix24.com/rest/1/s3cr3tcode/crm.deal.get",
        "https://new.bitrix24.com@evil.com/rest/1/s3cr3tcode/crm.deal.get",
        "https://new.bitrix24.com:8443/rest/1/s3cr3tcode/crm.deal.get",
        "http://new.bitrix24.com/rest/1/s3cr3tcode/crm.deal.get",
        "//evil.com/rest/1/s3cr3tcode/crm.deal.get",
        "https://new.bitrix24.com/auth/?backurl=/rest/1/s3cr3tcode/crm.deal.get",
        "https://new.bitrix24.com/rest/1/s3cr3tcode/crm.deal.delete",
        "/auth/",
        "",
        "https://[::1",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_hostile_move_gets_nothing(open_session, drive, answer, location, status):
    driver = drive([answer(b"", status, location=location)])

    with pytest.raises(Bitrix24Error, match=r"example\.bitrix24\.com redirects") as caught:
        driver.hold(converse(SAFE, open_session()))
    assert len(driver.requests) == 1
    assert not caught.value.retryable
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(("scheme", "advice"), [("https", "trusted_hosts"), ("http", "secure")])
def test_a_hostile_move_names_both_hosts(open_session, drive, answer, scheme, advice):
    location = f"{scheme}://other.example.org/rest/1/s3cr3tcode/crm.deal.get"
    driver = drive([answer(b"", 302, location=location)])

    with pytest.raises(
        Bitrix24Error, match=rf"example\.bitrix24\.com redirects to other\.example\.org.*{advice}"
    ):
        driver.hold(converse(SAFE, open_session()))


def test_a_portal_that_moves_in_circles_is_an_error(open_session, drive, answer):
    driver = drive(
        lambda request: answer(
            b"", 302, location=request.url.replace("example", "other").replace("other.other", "x")
        )
    )

    with pytest.raises(Bitrix24Error, match="again and again"):
        driver.hold(converse(SAFE, open_session()))


def test_a_moved_portal_keeps_its_bucket(open_session, drive, answer, ok):
    session = open_session()
    driver = drive(
        [answer(b"", 302, location="https://new.bitrix24.com/rest/1/s3cr3tcode/crm.deal.get"), ok()]
    )
    driver.hold(converse(SAFE, session))

    assert open_session(Webhook("https://new.bitrix24.com", "1", "x")).pacer is session.pacer


# Secrets and parameters


def test_a_parameter_cannot_pose_as_authorization(open_session):
    with pytest.raises(ValueError, match="'auth' is not a parameter"):
        next(converse(Call("profile", {"Auth": "x"}), open_session()))


@pytest.mark.parametrize(
    "command", ["profile?auth=x", "profile?a=b&Auth[0]=x", "profile?%61uth=x", "profile?+auth=x"]
)
@pytest.mark.parametrize("names", ["cmd", "CMD"])
@pytest.mark.parametrize("form", [list, dict])
def test_a_parameter_of_a_call_in_a_batch_made_by_hand_cannot_either(open_session, command, names, form):
    commands = ["profile", command] if form is list else {"a": "profile", "b": command}
    with pytest.raises(ValueError, match="'auth' is not a parameter"):
        next(converse(Call("batch", {names: commands}), open_session()))


def test_a_batch_made_by_hand_may_speak_of_auth(open_session, drive, ok):
    call = Call(
        "batch", {"halt": 0, "cmd": {"a": "crm.lead.add?fields[auth]=x&title=auth", "auth": "profile"}}
    )
    driver = drive([ok({"result": {}})])
    driver.hold(converse(call, open_session()))
    assert len(driver.requests) == 1


def test_no_secret_shows_in_an_error_even_if_the_portal_repeats_it(open_session, drive, refusal):
    text = "token ev3nt of /rest/1/s3cr3tcode/ is bad"
    driver = drive([refusal(403, "ACCESS_DENIED", text)])

    with pytest.raises(EventTokenError) as caught:
        driver.hold(converse(ANSWER, open_session()))
    printed = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(driver.requests)
    assert "s3cr3t" not in printed
    assert "ev3nt" not in printed


@pytest.mark.parametrize("status", [400, 500])
def test_no_event_token_shows_in_an_error_of_a_batch(open_session, drive, answer, status):
    def echo(request):
        return answer({"error": "BAD", "error_description": f"cannot read {request.body.decode()}"}, status)

    calls = [("bizproc.event.send", {"EVENT_TOKEN": f"wf|A{number}|s3cr3t{number}"}) for number in range(3)]
    outcomes = drive(echo).hold(converse_batch(calls, open_session(attempts=1)))
    assert [outcome.code for outcome in outcomes] == ["BAD"] * 3
    assert not any("s3cr3t" in repr(outcome) + str(outcome) for outcome in outcomes)


def test_each_request_is_logged_without_its_parameters(open_session, drive, answer, caplog):
    driver = drive([answer(timed(1, 2.5, 1_000_200))])

    with caplog.at_level(logging.DEBUG, "airflow_provider_b24.rest"):
        driver.hold(converse(ANSWER, open_session()))
    assert "bizproc.event.send at example.bitrix24.com: status 200" in caplog.text
    assert "attempt 1, operating time 2.5" in caplog.text
    assert "ev3nt" not in caplog.text
    assert "score" not in caplog.text


class Notes(Observer):
    def __init__(self):
        self.notes = []

    def on_request(self, method, portal, duration, attempt, status, operating):
        self.notes.append(("request", method, portal, attempt, status, operating))

    def on_retry(self, cause):
        self.notes.append(("retry", cause))

    def on_wait(self, seconds, cause):
        self.notes.append(("wait", seconds, cause))


def test_an_observer_hears_of_requests_retries_and_waits(open_session, drive, answer, ok, refusal):
    notes = Notes()
    driver = drive(
        [
            REFUSED,
            refusal(500, "INTERNAL_SERVER_ERROR"),
            refusal(429, "OPERATION_TIME_LIMIT"),
            answer(b"", 302, location="https://new.bitrix24.com/rest/1/s3cr3tcode/crm.deal.get"),
            ok(),
        ]
    )

    driver.hold(converse(SAFE, open_session(observer=notes)))

    method, old, new = "crm.deal.get", "example.bitrix24.com", "new.bitrix24.com"
    assert notes.notes == [
        ("request", method, old, 1, None, None),
        ("retry", "transport"),
        ("wait", 0.5, "retry"),
        ("request", method, old, 2, 500, None),
        ("retry", "server"),
        ("wait", 1.0, "retry"),
        ("request", method, old, 3, 429, None),
        ("retry", "operating_time"),
        ("wait", 60.0, "operating_time"),
        ("request", method, old, 4, 302, None),
        ("retry", "moved"),
        ("request", method, new, 5, 200, None),
    ]


class TestRest3:
    """What the sandbox does not say, or says otherwise."""

    CALL = Call("tasks.task.get", {"id": 1}, api="v3")

    @pytest.mark.parametrize(
        "body",
        [
            {"error": "expired_token", "error_description": "The access token provided has expired"},
            {"error": {"code": "BITRIX_REST_V3_EXCEPTION_ACCESSDENIEDEXCEPTION", "message": "Access denied"}},
        ],
        ids=["documentation", "portals"],
    )
    def test_an_expired_token_is_renewed_whichever_word_the_portal_has_for_it(
        self, body, open_session, drive, oauth_app, token_pair, answer, ok
    ):
        driver = drive(
            [answer(body, 401), answer({"access_token": "access-1", "refresh_token": "refresh-1"}), ok({})],
            stored=token_pair,
        )
        driver.hold(converse(self.CALL, open_session(oauth_app)))

        assert [body["auth"] for body in driver.bodies()] == ["access-0", "access-1"]

    @pytest.mark.parametrize("status", [200, 400])
    def test_an_error_object_is_an_error_whatever_its_status(self, status, open_session, drive, answer):
        body = {"error": {"code": "BITRIX_REST_V3_EXCEPTION_INVALIDORDEREXCEPTION", "message": "Order?"}}
        with pytest.raises(Bitrix24Error, match=r"Order\?"):
            drive([answer(body, status)]).hold(converse(self.CALL, open_session()))

    @pytest.mark.parametrize(
        "validation", [None, {}, "text", [None], [{"field": None, "message": None}], [{}]]
    )
    def test_strange_details_do_not_hide_the_message(self, validation, open_session, drive, answer):
        body = {"error": {"code": "X", "message": "What is wrong", "validation": validation}}
        with pytest.raises(Bitrix24Error, match="What is wrong"):
            drive([answer(body, 400)]).hold(converse(self.CALL, open_session()))

    def test_secrets_in_what_it_says_are_taken_out(self, open_session, drive, answer):
        problem = {"field": "x", "message": "s3cr3tcode is wrong"}
        body = {"error": {"code": "X", "message": "No", "validation": [problem]}}
        with pytest.raises(Bitrix24Error) as caught:
            drive([answer(body, 400)]).hold(converse(self.CALL, open_session()))
        assert "s3cr3tcode" not in str(caught.value)
        assert "x: *** is wrong" in str(caught.value)

    def test_the_key_travels_as_a_header_and_not_in_the_body(self, open_session, drive, ok):
        driver = drive([ok({})])
        call = Call("tasks.task.add", {"fields": {}}, api="v3", idempotency_key="k1")
        driver.hold(converse(call, open_session()))
        assert driver.requests[0].headers["Idempotency-Key"] == "k1"
        assert driver.bodies() == [{"fields": {}}]

    @pytest.mark.parametrize("result", [[{"item": {}}], {"0": {"item": {}}}, "text", None, {"a": {}}])
    def test_a_batch_whose_answer_is_not_for_each_call_may_have_been_done(
        self, result, open_session, drive, ok
    ):
        calls = [Call("tasks.task.get", {"id": number}, api="v3") for number in (1, 2)]
        outcomes = drive([ok(result)]).hold(converse_batch(calls, open_session(attempts=1)))
        assert [outcome.code for outcome in outcomes] == ["unreadable_answer"] * 2
        assert all(outcome.ambiguous for outcome in outcomes)

    @pytest.mark.parametrize("result", [[{"a": 1}, {"a": 2}], {"0": {"a": 1}, "1": {"a": 2}}])
    def test_a_batch_may_be_answered_by_array_or_by_number(
        self, result, open_session, drive, oauth_app, token_pair, ok
    ):
        driver = drive([ok(result)], stored=token_pair)
        calls = [Call("tasks.task.get", {"id": number}, api="v3") for number in (1, 2)]
        outcomes = driver.hold(converse_batch(calls, open_session(oauth_app)))
        assert [outcome.result for outcome in outcomes] == [{"a": 1}, {"a": 2}]
        [body] = driver.bodies()
        assert body["auth"] == "access-0"
        assert body["1"] == {"method": "tasks.task.get", "query": {"id": 2}}
