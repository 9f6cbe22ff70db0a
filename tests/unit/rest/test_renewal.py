"""An expired pair of tokens is renewed once, stored before it is used, and never lost."""

import json
import traceback
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_b24.exceptions import AuthError, Bitrix24Error, PortalBlockedError, TransportError
from airflow_provider_b24.rest import Call, Observer, Tokens
from airflow_provider_b24.rest.conversation import converse
from airflow_provider_b24.rest.wire import NoResponse, Sleep, TransportFailure

CALL = Call("profile")


class OAuthPortal:
    """Portal and authorization server in one: knows which tokens are good, and gives out the next ones."""

    def __init__(self, answer):
        self.answer = answer
        self.good = "access-1"
        self.refresh = "refresh-0"
        self.refreshes = 0
        self.trouble = []
        self.member_id = "member-1"
        self.server_endpoint = None

    def __call__(self, request):
        if request.verb == "GET":
            return self.token(request)
        if json.loads(request.body)["auth"] == self.good:
            return self.answer({"result": "hello"})
        return self.answer({"error": "expired_token", "error_description": "expired"}, 401)

    def token(self, request):
        if self.trouble:
            return self.trouble.pop(0)
        query = parse_qs(urlsplit(request.url).query)
        if query["refresh_token"] != [self.refresh]:
            return self.answer({"error": "invalid_grant"}, 400)
        self.refreshes += 1
        self.refresh, self.good = f"refresh-{self.refreshes}", f"access-{self.refreshes}"
        return self.answer(
            {
                "access_token": self.good,
                "refresh_token": self.refresh,
                "expires": 5,
                "member_id": self.member_id,
                "server_endpoint": self.server_endpoint,
            }
        )


@pytest.fixture
def oauth(answer, drive, token_pair, open_session, oauth_app):
    """A portal, a driver with an expired pair in its store, and a session."""
    portal = OAuthPortal(answer)
    driver = drive(portal, stored=token_pair)
    session = open_session(oauth_app, chance=lambda: 0.0)
    return portal, driver, session


def test_the_access_token_travels_in_the_body_and_the_secret_does_not_travel(oauth):
    portal, driver, session = oauth
    portal.good = "access-0"

    driver.hold(converse(Call("profile", {"A": "b"}), session))

    (request,) = driver.requests
    assert request.url == "https://example.bitrix24.com/rest/profile"
    assert driver.bodies() == [{"A": "b", "auth": "access-0"}]


def test_an_expired_pair_is_renewed_stored_and_then_used(oauth):
    _portal, driver, session = oauth

    assert driver.hold(converse(CALL, session)).result == "hello"

    assert driver.stored == Tokens("access-1", "refresh-1", 5.0, "member-1")
    assert [request.verb for request in driver.requests] == ["POST", "GET", "POST"]
    refresh_at = [i for i, name in enumerate(driver.log) if name == "Send"][1]
    assert driver.log[refresh_at + 1] == "StoreTokens"
    assert driver.log[-1] == "Send"


def test_the_secret_goes_to_the_authorization_server_only(oauth):
    _portal, driver, session = oauth

    driver.hold(converse(CALL, session))

    told = [request for request in driver.requests if "client-s3cr3t" in f"{request.url} {request.body!r}"]
    assert [request.url.partition("?")[0] for request in told] == ["https://oauth.bitrix.info/oauth/token/"]


def test_the_next_call_does_not_renew_again(oauth):
    portal, driver, session = oauth

    driver.hold(converse(CALL, session))
    driver.hold(converse(CALL, session))

    assert portal.refreshes == 1
    assert len(driver.requests) == 4


def test_the_pair_another_worker_has_stored_is_used_instead(oauth):
    portal, driver, session = oauth
    driver.hold(converse(CALL, session))
    portal.good = "access-other"
    driver.stored = Tokens("access-other", "refresh-other")

    driver.hold(converse(CALL, session))

    assert portal.refreshes == 1
    assert driver.bodies()[-1]["auth"] == "access-other"


def test_a_pair_stored_while_this_one_hesitates_is_used(oauth, open_session, oauth_app):
    portal, driver, _ = oauth
    session = open_session(oauth_app)
    portal.good = "access-other"

    def somebody_else(seconds):
        driver.stored = Tokens("access-other", "refresh-other")

    driver.on_sleep = somebody_else
    driver.hold(converse(CALL, session))

    assert portal.refreshes == 0
    assert [request.verb for request in driver.requests] == ["POST", "POST"]


@pytest.mark.parametrize("seconds_to_win", [0.6, 9, 30])
def test_the_loser_of_the_race_waits_for_the_winners_pair(oauth, seconds_to_win):
    portal, driver, session = oauth
    portal.refresh = "spent by somebody else"
    portal.good = "access-winner"

    def winner_stores(seconds):
        if sum(driver.sleeps) > seconds_to_win:
            driver.stored = Tokens("access-winner", "refresh-winner")

    driver.on_sleep = winner_stores
    assert driver.hold(converse(CALL, session)).result == "hello"
    assert portal.refreshes == 0


def test_the_loser_of_the_race_waits_no_longer_than_its_deadline_and_may_be_tried_again(oauth, hand_clock):
    portal, driver, session = oauth
    portal.refresh = "spent by somebody else"
    started = hand_clock.now

    with pytest.raises(AuthError) as caught:
        driver.hold(converse(CALL, session, deadline=3))
    assert hand_clock.now - started == pytest.approx(3)
    assert caught.value.retryable
    assert "Connect the application" not in str(caught.value), "nobody knows yet that it is necessary"


@pytest.mark.parametrize("trouble", [NoResponse(TransportFailure.REFUSED, "x"), "away"])
def test_a_renewal_takes_no_longer_than_the_deadline(oauth, hand_clock, answer, trouble):
    portal, driver, session = oauth
    portal.trouble = [answer(b"<html>", 503) if trouble == "away" else trouble] * 99
    session.chance = lambda: 1.0
    started = hand_clock.now

    with pytest.raises(Bitrix24Error) as caught:
        driver.hold(converse(CALL, session, deadline=3))
    assert hand_clock.now - started <= 3
    assert caught.value.retryable


def test_another_renewal_of_this_process_is_waited_for_until_the_deadline(oauth, hand_clock):
    _portal, driver, session = oauth
    started = hand_clock.now

    with session.renewal_lock, pytest.raises(AuthError) as caught:
        driver.hold(converse(CALL, session, deadline=3))
    assert hand_clock.now - started == pytest.approx(3, abs=0.1)
    assert caught.value.retryable


def test_the_only_copy_of_the_next_pair_is_not_given_up_for_a_deadline(oauth):
    _portal, driver, session = oauth

    driver.hold(converse(CALL, session, deadline=3))

    [refresh] = [request for request in driver.requests if request.verb == "GET"]
    assert refresh.timeout == 30


def test_nothing_is_refreshed_after_the_deadline(oauth):
    portal, driver, session = oauth
    session.chance = lambda: 1.0

    with pytest.raises(AuthError):
        driver.hold(converse(CALL, session, deadline=0.4))
    assert portal.refreshes == 0
    assert [request.verb for request in driver.requests] == ["POST"]


def test_a_pair_that_was_waited_for_in_vain_is_not_waited_for_again(oauth, hand_clock):
    portal, driver, session = oauth
    portal.refresh = "something else"
    with pytest.raises(AuthError):
        driver.hold(converse(CALL, session))
    started = hand_clock.now

    with pytest.raises(AuthError, match="Connect the application"):
        driver.hold(converse(CALL, session))
    assert hand_clock.now == started


def test_a_dead_refresh_token_is_an_error_that_says_how_to_reconnect(oauth):
    portal, driver, session = oauth
    portal.refresh = "something else"

    with pytest.raises(AuthError, match="Connect the application to the portal again") as caught:
        driver.hold(converse(CALL, session))
    assert not caught.value.retryable
    assert len([request for request in driver.requests if request.verb == "GET"]) == 1
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))
    assert "refresh-0" not in "".join(traceback.format_exception(caught.value))


def test_no_tokens_at_all_is_an_error_before_anything_is_sent(oauth):
    _, driver, session = oauth
    driver.stored = None

    with pytest.raises(AuthError, match="No tokens are stored"):
        driver.hold(converse(CALL, session))
    assert driver.requests == []


@pytest.mark.parametrize(
    "trouble",
    [
        NoResponse(TransportFailure.REFUSED, "x"),
        NoResponse(TransportFailure.TIMEOUT, "x"),
        "server error",
        "page",
        "cut off",
    ],
)
def test_trouble_at_the_authorization_server_is_waited_out(oauth, answer, trouble):
    portal, driver, session = oauth
    made = {
        "server error": answer({"error": "oops"}, 500),
        "page": answer(b"<html>", 502),
        "cut off": answer(b'{"access_token": "a"'),
    }
    portal.trouble = [made.get(trouble, trouble)] * 3

    assert driver.hold(converse(CALL, session)).result == "hello"


def test_an_authorization_server_that_stays_away_is_an_error(oauth):
    portal, driver, session = oauth
    portal.trouble = [NoResponse(TransportFailure.REFUSED, "x")] * 99

    with pytest.raises(Bitrix24Error, match=r"token refresh at oauth\.bitrix\.info") as caught:
        driver.hold(converse(CALL, session))
    assert caught.value.retryable


def test_a_repetition_that_no_renewal_makes_possible_leaves_open_what_was_open(oauth, answer):
    portal, driver, session = oauth
    lost = NoResponse(TransportFailure.BROKEN, "x")
    driver.respond = lambda request: portal(request) if len(driver.requests) > 1 else lost
    portal.trouble = [answer({"error": "PAYMENT_REQUIRED"}, 401)]

    with pytest.raises(PortalBlockedError) as caught:
        driver.hold(converse(CALL, session))
    assert caught.value.ambiguous


def test_an_unpaid_application_is_not_asked_twice(oauth, answer):
    portal, driver, session = oauth
    portal.trouble = [answer({"error": "PAYMENT_REQUIRED"}, 402)]

    with pytest.raises(PortalBlockedError):
        driver.hold(converse(CALL, session))


def test_a_redirect_of_the_authorization_server_is_not_followed(oauth, answer):
    portal, driver, session = oauth
    portal.trouble = [answer(b"", 302, location="https://evil.com/oauth/token/")]

    with pytest.raises(AuthError):
        driver.hold(converse(CALL, session))
    assert len(driver.requests) == 2


def test_tokens_of_another_portal_are_thrown_away(oauth, token_pair):
    portal, driver, session = oauth
    portal.member_id = "member-2"

    with pytest.raises(AuthError, match="another portal"):
        driver.hold(converse(CALL, session))
    assert driver.stored == token_pair


def test_a_store_that_fails_is_tried_again(oauth):
    _portal, driver, session = oauth
    driver.store_failures = 3

    assert driver.hold(converse(CALL, session)).result == "hello"
    assert driver.stored.access_token == "access-1"


def test_a_pair_that_cannot_be_stored_is_kept_and_stored_with_the_next_call(oauth):
    portal, driver, session = oauth
    driver.store_failures = 5

    with pytest.raises(AuthError, match="could not be stored \\(OSError\\)") as caught:
        driver.hold(converse(CALL, session))
    assert caught.value.retryable
    assert driver.bodies() == [{"auth": "access-0"}], "not used before it was stored"

    assert driver.hold(converse(CALL, session)).result == "hello"
    assert driver.stored.access_token == "access-1"
    assert portal.refreshes == 1


def test_a_token_that_is_always_called_expired_ends_in_an_error(oauth):
    portal, driver, session = oauth
    portal.trouble = []
    original = portal.__class__.token

    def forgetful(request):
        answer = original(portal, request)
        portal.good = "nothing is good"
        return answer

    portal.token = forgetful
    with pytest.raises(AuthError):
        driver.hold(converse(CALL, session))
    assert portal.refreshes == 3


def test_a_webhook_is_not_refreshed(open_session, drive, refusal):
    with pytest.raises(AuthError):
        drive([refusal(401, "expired_token")]).hold(converse(CALL, open_session()))


def test_two_conversations_that_notice_together_renew_once(oauth):
    portal, driver, session = oauth
    first, second = converse(CALL, session), converse(CALL, session)
    actions = {first: next(first), second: next(second)}
    results = []
    # Step by step in turns, as two tasks of an event loop do.
    while actions:
        for conversation in list(actions):
            try:
                actions[conversation] = conversation.send(driver.perform(actions[conversation]))
            except StopIteration as end:
                results.append(end.value.result)
                del actions[conversation]

    assert results == ["hello", "hello"]
    assert portal.refreshes == 1


def test_a_renewal_that_is_abandoned_lets_the_next_one_in(oauth):
    _portal, driver, session = oauth
    session.chance = lambda: 1.0
    first = converse(CALL, session)
    action = next(first)
    while not isinstance(action, Sleep):
        action = first.send(driver.perform(action))
    assert session.renewal_lock.locked()
    first.close()

    assert driver.hold(converse(CALL, session)).result == "hello"


def test_an_observer_hears_of_a_refresh(oauth, open_session, oauth_app):
    heard = []

    class Ears(Observer):
        def on_refresh(self):
            heard.append("refresh")

        def on_retry(self, cause):
            heard.append(cause)

    _, driver, _ = oauth
    driver.hold(converse(CALL, open_session(oauth_app, observer=Ears())))
    assert heard == ["expired_token", "refresh"]


class TestAuthorizationServers:
    """There are two. A refresh token works once, so the second is asked only where the first got nothing."""

    @staticmethod
    def hosts(driver):
        return [urlsplit(request.url).hostname for request in driver.requests if request.verb == "GET"]

    def test_what_could_not_be_reached_got_nothing_so_the_other_is_asked_and_remembered(self, oauth):
        portal, driver, session = oauth
        portal.trouble = [NoResponse(TransportFailure.REFUSED, "firewall")]
        portal.server_endpoint = "https://oauth.bitrix24.tech/rest/"

        assert driver.hold(converse(CALL, session)).result == "hello"

        assert self.hosts(driver) == ["oauth.bitrix.info", "oauth.bitrix24.tech"]
        assert driver.stored.oauth_server == "https://oauth.bitrix24.tech"

    @pytest.mark.parametrize("failure", [TransportFailure.TIMEOUT, TransportFailure.BROKEN])
    def test_one_that_may_have_spent_the_token_is_asked_again_and_no_other(self, oauth, failure):
        portal, driver, session = oauth
        portal.trouble = [NoResponse(failure, "lost")]

        driver.hold(converse(CALL, session))

        assert self.hosts(driver) == ["oauth.bitrix.info"] * 2

    def test_a_certificate_that_is_not_trusted_is_no_reason_to_ask_the_other(self, oauth):
        portal, driver, session = oauth
        portal.trouble = [NoResponse(TransportFailure.UNTRUSTED, "certificate")]

        with pytest.raises(TransportError):
            driver.hold(converse(CALL, session))

        assert self.hosts(driver) == ["oauth.bitrix.info"]

    @pytest.mark.parametrize("code", ["invalid_client", "invalid_grant", "PAYMENT_REQUIRED"])
    def test_a_refusal_is_final(self, oauth, answer, code):
        portal, driver, session = oauth
        portal.trouble = [answer({"error": code}, 400)]

        with pytest.raises(Bitrix24Error):
            driver.hold(converse(CALL, session))

        assert self.hosts(driver) == ["oauth.bitrix.info"]

    def test_a_redirect_of_it_leads_nowhere(self, oauth, answer):
        portal, driver, session = oauth
        portal.trouble = [answer({}, 302, location="https://oauth.example.com/oauth/token/")]

        with pytest.raises(AuthError):
            driver.hold(converse(CALL, session))

        assert self.hosts(driver) == ["oauth.bitrix.info"]
