"""Credentials that were replaced while somebody waited are noticed when the old ones are refused."""

import pytest

from airflow_provider_b24.exceptions import AuthError
from airflow_provider_b24.rest import OAuthApp, Tokens, Webhook
from airflow_provider_b24.rest.batch import converse_batch
from airflow_provider_b24.rest.call import Call
from airflow_provider_b24.rest.conversation import converse

LEAD = Call("crm.lead.get", {"ID": 7})
ADD = Call("crm.lead.add")
NEW = Webhook("https://example.bitrix24.com", "1", "n3wcode")
REFUSED = (401, "INVALID_CREDENTIALS")


@pytest.mark.parametrize("call", [LEAD, ADD])
def test_a_refused_call_is_made_again_with_the_new_webhook(open_session, drive, ok, refusal, call):
    session = open_session()
    driver = drive([refusal(*REFUSED), ok(7), ok(8)], credentials=NEW)

    assert driver.hold(converse(call, session)).result == 7
    assert driver.hold(converse(call, session)).result == 8
    assert [request.url.split("/")[5] for request in driver.requests] == ["s3cr3tcode", "n3wcode", "n3wcode"]


def test_a_refused_batch_is_made_again(open_session, drive, ok, refusal):
    driver = drive([refusal(*REFUSED), ok({"result": {"c0": 1, "c1": 2}})], credentials=NEW)

    outcomes = driver.hold(converse_batch([LEAD, ADD], open_session()))

    assert [outcome.result for outcome in outcomes] == [1, 2]


@pytest.mark.parametrize(
    "found",
    [
        None,
        Webhook("https://example.bitrix24.com", "1", "s3cr3tcode"),
        Webhook("https://other.bitrix24.com", "1", "n3wcode"),
    ],
    ids=["nowhere to look", "the same", "another portal"],
)
def test_nothing_is_sent_again_where_there_is_nothing_new_for_this_portal(
    open_session, drive, refusal, webhook, found
):
    session = open_session()
    driver = drive([refusal(*REFUSED)], credentials=found)

    with pytest.raises(AuthError, match="INVALID_CREDENTIALS"):
        driver.hold(converse(LEAD, session))
    assert (session.credentials, session.portal) == (webhook, "example.bitrix24.com")


def test_new_credentials_that_are_refused_too_are_an_error(open_session, drive, refusal):
    driver = drive(
        [refusal(*REFUSED), refusal(401, "NO_AUTH_FOUND", "n3wcode and s3cr3tcode")], credentials=NEW
    )

    with pytest.raises(AuthError, match="NO_AUTH_FOUND") as caught:
        driver.hold(converse(LEAD, open_session()))
    assert "n3wcode" not in str(caught.value)
    assert "s3cr3tcode" not in str(caught.value)


def test_many_refusals_are_few_looks(open_session, drive, refusal, hand_clock):
    session = open_session()
    driver = drive(lambda request: refusal(403, "ACCESS_DENIED"))

    for _ in range(20):
        with pytest.raises(AuthError):
            driver.hold(converse(LEAD, session))
    assert driver.log.count("LoadCredentials") <= 3
    assert hand_clock.now < 1000 + 15


def test_a_call_that_was_under_way_while_another_noticed_needs_no_look(open_session, drive, ok, refusal):
    session = open_session()
    late = converse(LEAD, session)
    next(late)
    drive([refusal(*REFUSED), ok()], credentials=NEW).hold(converse(LEAD, session))

    again = late.send(refusal(*REFUSED))

    assert "n3wcode" in again.request.url


@pytest.mark.parametrize(
    "found",
    [
        OAuthApp("https://example.bitrix24.com", "local.app", "client-s3cr3t"),
        OAuthApp("https://example.bitrix24.com", "local.other", "another"),
    ],
    ids=["the same application, installed again", "another application"],
)
def test_an_application_that_was_connected_anew_goes_on(
    open_session, drive, ok, refusal, oauth_app, token_pair, found
):
    session = open_session(oauth_app)
    driver = drive([ok(1), refusal(401, "invalid_token"), ok(2)], stored=token_pair)
    driver.hold(converse(LEAD, session))
    driver.credentials, driver.stored = found, Tokens("access-9", "refresh-9", None, "member-1")

    assert driver.hold(converse(LEAD, session)).result == 2
    assert [body["auth"] for body in driver.bodies()] == ["access-0", "access-0", "access-9"]


def test_an_applications_new_secret_is_found_when_the_old_one_renews_nothing(
    open_session, drive, ok, answer, refusal, oauth_app, token_pair
):
    found = OAuthApp("https://example.bitrix24.com", "local.app", "n3w-s3cr3t")
    pair = {"access_token": "access-1", "refresh_token": "refresh-1", "member_id": "member-1"}
    expired = refusal(401, "expired_token")
    outcomes = [expired, refusal(400, "invalid_client"), expired, answer(pair), ok(2)]
    driver = drive(outcomes, stored=token_pair, credentials=found)

    assert driver.hold(converse(LEAD, open_session(oauth_app))).result == 2
    assert "client_secret=n3w-s3cr3t" in driver.requests[3].url
    assert driver.bodies()[-1]["auth"] == "access-1"


def test_a_webhook_may_take_the_place_of_an_application(
    open_session, drive, ok, refusal, oauth_app, token_pair
):
    driver = drive([refusal(401, "NO_AUTH_FOUND"), ok(2)], stored=token_pair, credentials=NEW)

    assert driver.hold(converse(LEAD, open_session(oauth_app))).result == 2
    assert "auth" not in driver.bodies()[1]
