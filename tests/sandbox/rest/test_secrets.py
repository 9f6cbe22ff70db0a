"""No secret in any log, error or trace, whichever library wrote it."""

import asyncio
import logging
import traceback

import pytest

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, Webhook
from airflow_provider_b24.sandbox import AnswerHtml, DropConnection, SandboxPortal

# The source lines in a trace must not be what the test finds.
EVENT_TOKEN = "-".join(("ev3nt", "s3cr3t"))
PARAMS = {"EVENT_TOKEN": EVENT_TOKEN}
METHODS = {"v2": "profile", "v3": "tasks.task.list"}
CLIENT_LOGGERS = ("airflow_provider_b24.rest", "urllib3", "requests", "httpx", "httpcore", "asyncio")


@pytest.fixture
def everything(caplog):
    """All that the client's side logs, at the lowest level."""
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(CLIENT_LOGGERS):
            logging.getLogger(name).setLevel(logging.DEBUG)

    def text():
        return "\n".join(
            record.getMessage() for record in caplog.records if record.name.startswith(CLIENT_LOGGERS)
        )

    return text


def use_blocking(credentials, store, api="v2", **options):
    errors = []
    with Bitrix24Client(credentials, token_store=store, **options) as client:
        for method in (METHODS[api], "no.such.method", METHODS[api]):
            try:
                client.call(method, PARAMS, api=api)
            except Bitrix24Error as error:
                errors.append(error)
    return errors


def use_async(credentials, store, api="v2", **options):
    async def run():
        errors = []
        async with AsyncBitrix24Client(credentials, token_store=store, **options) as client:
            for method in (METHODS[api], "no.such.method", METHODS[api]):
                try:
                    await client.call(method, PARAMS, api=api)
                except Bitrix24Error as error:
                    errors.append(error)
        return errors

    return asyncio.run(run())


def printed(errors):
    return "".join(f"{error!r}{''.join(traceback.format_exception(error))}" for error in errors)


@pytest.mark.parametrize("use", [use_blocking, use_async])
@pytest.mark.parametrize("api", ["v2", "v3"])
@pytest.mark.parametrize("trouble", ["none", "drops", "pages", "moves"])
def test_a_webhooks_code_shows_nowhere(
    portal, portal_webhook, quick, fresh_clock, everything, use, api, trouble
):
    if trouble == "drops":
        portal.faults.add(DropConnection(), times=None)
    if trouble == "pages":
        portal.faults.add(AnswerHtml(502), times=None)
    with SandboxPortal() as other:
        if trouble == "moves":
            portal.move_to(other.url)
        errors = use(portal_webhook, None, api, patience=quick, clock=fresh_clock)

    assert len(errors) == (1 if trouble == "none" else 3)
    assert f"{METHODS[api]} at 127.0.0.1" in everything()
    for text in (everything(), printed(errors)):
        assert portal_webhook.code not in text
        assert EVENT_TOKEN not in text


@pytest.mark.parametrize("use", [use_blocking, use_async])
def test_a_refused_connection_shows_no_code(closed_port, quick, fresh_clock, everything, use):
    errors = use(
        Webhook(f"http://127.0.0.1:{closed_port}", "1", "c0de"), None, patience=quick, clock=fresh_clock
    )

    assert len(errors) == 3
    assert "c0de" not in everything() + printed(errors)


@pytest.mark.parametrize("use", [use_blocking, use_async])
@pytest.mark.parametrize("api", ["v2", "v3"])
def test_tokens_and_the_client_secret_show_nowhere(portal, portal_app, firm_store, everything, use, api):
    portal.expire_access_tokens()
    before = firm_store.load()

    errors = use(portal_app, firm_store, api)

    after = firm_store.load()
    assert before != after
    for secret in (
        portal_app.client_secret,
        before.access_token,
        before.refresh_token,
        after.access_token,
        after.refresh_token,
    ):
        assert secret not in everything() + printed(errors)
