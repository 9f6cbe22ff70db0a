"""Who waits says so: what for, how long, and at which portal."""

import logging

import pytest

from airflow_provider_b24.rest.batch import converse_batch
from airflow_provider_b24.rest.call import Call
from airflow_provider_b24.rest.conversation import converse
from airflow_provider_b24.rest.pacing import pacer_for

LEAD = Call("crm.lead.get", {"ID": 7})


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "airflow_provider_b24.rest")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_wait_for_the_request_limit_is_announced(open_session, drive, ok, hand_clock, lines):
    session = open_session()
    for _ in range(50 + 30):
        pacer_for(session.portal, clock=hand_clock).reserve()

    drive([ok()]).hold(converse(LEAD, session))

    assert lines() == [
        "crm.lead.get at example.bitrix24.com waits for 16.2 s: the portal's request limit leaves no room before."
    ]


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (429, "OPERATION_TIME_LIMIT", "waits for 60.0 s: the method has used up its operating time."),
        (500, "INTERNAL_SERVER_ERROR", "waits for 8.0 s: then it is sent again."),
    ],
)
def test_other_waits_are_announced_with_their_reason(
    open_session, drive, ok, refusal, lines, status, code, reason
):
    session = open_session(first_delay=8.0)

    drive([refusal(status, code), ok()]).hold(converse(LEAD, session))

    assert lines() == [f"crm.lead.get at example.bitrix24.com {reason}"]


def test_the_loser_of_a_renewal_says_what_it_waits_for(
    open_session, drive, refusal, oauth_app, token_pair, lines
):
    session = open_session(oauth_app, timeout=10.0)
    driver = drive([refusal(401, "expired_token"), refusal(400, "invalid_grant")], stored=token_pair)

    with pytest.raises(Exception, match="invalid_grant"):
        driver.hold(converse(LEAD, session))

    assert "another process may be renewing the tokens" in lines()[0]
    assert len(lines()) <= 3


def test_steady_waiting_is_told_now_and_then(open_session, drive, ok, hand_clock, lines):
    session = open_session()
    pacer_for(session.portal, "standard", clock=hand_clock).overflow()
    driver = drive(lambda request: ok())

    began = hand_clock.now
    for _ in range(200):
        driver.hold(converse(LEAD, session))
        hand_clock.now += 1.0  # The next one finds the limit used up again.
        session.pacer.overflow()
    seconds = hand_clock.now - began

    assert seconds > 200
    assert 1 <= len(lines()) <= seconds / 10 + 1


def test_short_waits_are_not_worth_a_line(open_session, drive, ok, lines):
    session = open_session()
    driver = drive(lambda request: ok())

    for _ in range(120):
        driver.hold(converse(LEAD, session))
        driver.clock.now += 0.2

    assert 0.5 < max(driver.sleeps) < 1
    assert lines() == []


def test_nothing_secret_is_in_the_lines(open_session, drive, ok, refusal, lines):
    session = open_session(first_delay=8.0)
    driver = drive([refusal(500, "INTERNAL_SERVER_ERROR"), ok()])

    driver.hold(converse(Call("bizproc.event.send", {"EVENT_TOKEN": "ev3nt"}), session))

    assert lines()
    assert not any("s3cr3t" in line or "ev3nt" in line for line in lines())


def test_the_waits_of_a_batch_are_announced(open_session, drive, ok, hand_clock, lines):
    session = open_session()
    session.pacer.overflow()

    drive([ok({"result": {"c0": 1, "c1": 2}})]).hold(converse_batch([LEAD, LEAD], session))

    assert lines() == [
        "batch at example.bitrix24.com waits for 1.2 s: the portal's request limit leaves no room before."
    ]
