"""Whatever is wrong with the credentials is said in words of its own, with what to do next."""

import asyncio
import time

import pytest

from airflow_provider_b24.exceptions import AuthError, Bitrix24Error, PortalBlockedError
from airflow_provider_b24.rest import (
    AsyncBitrix24Client,
    Bitrix24Client,
    MemoryTokenStore,
    OAuthApp,
    Reply,
    Tokens,
    Webhook,
)
from airflow_provider_b24.sandbox import AnswerStatus


@pytest.fixture
def refused(make_any_client):
    """Calls and returns the error; no secret is in it."""

    def refused(credentials, method="profile", tokens=None, **options):
        store = MemoryTokenStore(tokens) if tokens else None
        client = make_any_client(credentials, token_store=store)
        with pytest.raises(Bitrix24Error) as caught:
            client.call(method, **options)
        secrets = [getattr(credentials, name, "") for name in ("code", "client_secret")]
        secrets += [tokens.access_token, tokens.refresh_token] if tokens else []
        assert not any(secret and secret in str(caught.value) for secret in secrets)
        return caught.value

    return refused


@pytest.mark.parametrize("api", ["v2", "v3"])
class TestWebhooks:
    def test_one_that_is_mistyped(self, portal, refused, api):
        error = refused(Webhook(portal.url, "1", "mistypedcode"), "tasks.task.list", api=api)
        assert type(error) is AuthError
        assert "mistyped, or it was deleted" in str(error)

    def test_one_that_was_deleted(self, portal, refused, portal_webhook, api):
        portal.callers.webhooks.clear()
        error = refused(portal_webhook, "tasks.task.list", api=api)
        assert "mistyped, or it was deleted" in str(error)

    def test_one_without_the_scope(self, portal, refused, api):
        webhook = Webhook.from_url(portal.create_webhook(scope=["crm"]).url)
        error = refused(webhook, "tasks.task.list", api=api)
        assert type(error) is AuthError
        assert "Add the missing permission (scope)" in str(error)


def test_a_webhook_whose_user_lacks_the_rights(portal, refused):
    webhook = Webhook.from_url(portal.create_webhook(user_id=2).url)
    error = refused(webhook, "bizproc.workflow.template.list")
    assert type(error) is AuthError
    assert "The user behind the credentials may not do this" in str(error)


def test_a_webhook_where_only_an_application_may_call(refused, portal_webhook):
    error = refused(portal_webhook, "bizproc.robot.add")
    assert "only an OAuth application" in str(error)


class TestApplications:
    def test_an_access_token_of_another_portal(self, refused, portal_app):
        error = refused(portal_app, tokens=Tokens("another", "another-refresh"))
        assert "not one of this portal and application. Connect the application" in str(error)

    def test_a_user_who_may_not_use_it(self, portal, refused, portal_app):
        portal.application.allowed_users = {1}
        pair = portal.application.issue_tokens(user_id=2)
        error = refused(portal_app, tokens=Tokens(pair.access_token, pair.refresh_token))
        assert "application's settings" in str(error)

    def test_one_that_was_removed(self, portal, refused, portal_app, portal_tokens):
        portal.faults.add(AnswerStatus(401, "NOT_INSTALLED", "Not installed"), method="profile")
        assert "was removed. Connect the application" in str(refused(portal_app, tokens=portal_tokens))

    @pytest.fixture
    def _expired(self, portal):
        portal.expire_access_tokens()

    @pytest.mark.usefixtures("_expired")
    @pytest.mark.parametrize(
        ("client_id", "client_secret", "words"),
        [
            ("mistyped", None, "There is no application with this client_id"),
            (None, "mistyped-secret", "The client_secret is not that of this client_id"),
        ],
    )
    def test_a_mistyped_id_is_told_from_a_mistyped_secret(
        self, portal, refused, portal_app, portal_tokens, client_id, client_secret, words
    ):
        app = OAuthApp(
            portal.url,
            client_id or portal_app.client_id,
            client_secret or portal_app.client_secret,
            portal.url,
        )
        error = refused(app, tokens=portal_tokens)
        assert type(error) is AuthError
        assert words in str(error)
        assert "token refresh at" in str(error)

    @pytest.mark.usefixtures("_expired")
    @pytest.mark.parametrize("how", ["used", "old"])
    def test_a_refresh_token_that_was_used_or_is_too_old(
        self, portal, refused, portal_app, portal_tokens, how
    ):
        if how == "used":
            portal.revoke_refresh_tokens()
        else:
            portal.clock.advance(181 * 24 * 3600)
        error = refused(portal_app, tokens=portal_tokens)
        assert "was used before, is older than 180 days" in str(error)
        assert "open or reinstall it in Bitrix24" in str(error)

    @pytest.mark.usefixtures("_expired")
    def test_one_that_is_not_paid_for(self, portal, refused, portal_app, portal_tokens):
        portal.application.paid = False
        error = refused(portal_app, tokens=portal_tokens)
        assert type(error) is PortalBlockedError
        assert "pay for it" in str(error)


@pytest.mark.parametrize(
    ("status", "code", "description", "words"),
    [
        (500, "PORTAL_DELETED", "Portal was deleted", "check the address"),
        (503, "OVERLOAD_LIMIT", "REST API is blocked due to overload", "support can lift it"),
        (403, "ACCESS_DENIED", "REST API is available only on commercial plans", "needs a commercial plan"),
    ],
)
def test_a_portal_that_answers_nobody(portal, refused, portal_webhook, status, code, description, words):
    portal.faults.add(AnswerStatus(status, code, description))
    error = refused(portal_webhook)
    assert type(error) is PortalBlockedError
    assert words in str(error)
    assert len(portal.requests) == 1


MANY = [("crm.lead.list", {"start": number}) for number in range(200)]


class TestReplacedWhileManyAreRefused:
    """One looks, and all of them go on."""

    @pytest.fixture
    def mistyped(self, portal):
        return Webhook(portal.url, "1", "mistypedcode")

    def test_in_threads(self, mistyped, portal_webhook, fresh_clock):
        looks = []

        def look():
            looks.append("look")
            time.sleep(0.3)
            return portal_webhook, None

        with Bitrix24Client(mistyped, reconnect=look, clock=fresh_clock) as client:
            outcomes = client.batch(MANY)

        assert [type(outcome) for outcome in outcomes] == [Reply] * 200
        assert len(looks) == 1

    def test_in_an_event_loop(self, mistyped, portal_webhook, fresh_clock):
        looks = []

        async def look():
            looks.append("look")
            await asyncio.sleep(0.3)
            return portal_webhook, None

        async def run():
            async with AsyncBitrix24Client(mistyped, reconnect=look, clock=fresh_clock) as client:
                return await client.batch(MANY)

        assert [type(outcome) for outcome in asyncio.run(run())] == [Reply] * 200
        assert len(looks) == 1
