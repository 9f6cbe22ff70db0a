"""How much of a portal's request limit is used when many processes wait for their answers.

    python benchmarks/answers_under_the_limit.py [--small] [--answers 4000] [--moved 10000]

First this provider alone with 10,000 answers on a clock that moves when it sleeps, then all contenders in real time
with fewer, each against a fresh portal with a standard tariff. 100 % is what the bucket allows: 50 requests at once,
then 2 per second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from _options import Size, parser
from _table import Table, progress

from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, OAuthApp, Reply, Tokens, Webhook
from airflow_provider_b24.rest.tokens import MemoryTokenStore
from airflow_provider_b24.sandbox import CallRobot, Clock, SandboxPortal

METHOD = "bizproc.event.send"
Answers = list[dict[str, Any]]
Contender = Callable[[SandboxPortal, Answers], None]


def waiting_answers(portal: SandboxPortal, count: int) -> Answers:
    """Let so many processes wait, and give the parameters of their answers."""
    app = OAuthApp(portal.url, portal.application.client_id, portal.application.client_secret, portal.url)
    tokens = Tokens(portal.application.access_token, portal.application.refresh_token)
    verify: bool | str = str(portal.ca_file) if portal.ca_file else True
    with Bitrix24Client(app, token_store=MemoryTokenStore(tokens), verify=verify) as client:
        robot = {
            "CODE": "score",
            "HANDLER": "http://127.0.0.1:9/",
            "AUTH_USER_ID": 1,
            "USE_SUBSCRIPTION": "Y",
            "NAME": "Score",
            "RETURN_PROPERTIES": {"score": {"Name": "Score", "Type": "double"}},
        }
        client.call("bizproc.robot.add", robot)
    for _ in range(count):
        portal.start_process([CallRobot("score")])
    tokens_of_calls = [call.fields["event_token"] for call in portal.calls]
    # Setting the scene must not fill the bucket.
    portal.buckets.__init__(portal.clock, "standard")  # type: ignore[misc]
    return [{"EVENT_TOKEN": token, "RETURN_VALUES": {"score": 0.5}} for token in tokens_of_calls]


def this_provider(portal: SandboxPortal, answers: Answers) -> None:
    with Bitrix24Client(Webhook.from_url(portal.webhook.url)) as client:
        outcomes = client.batch([(METHOD, answer) for answer in answers])
    assert all(isinstance(outcome, Reply) for outcome in outcomes)


def this_provider_async(portal: SandboxPortal, answers: Answers) -> None:
    async def run() -> list[Any]:
        async with AsyncBitrix24Client(
            Webhook.from_url(portal.webhook.url), clock=partial(time.monotonic)
        ) as client:
            return list(await client.batch([(METHOD, answer) for answer in answers]))

    assert all(isinstance(outcome, Reply) for outcome in asyncio.run(run()))


def b24pysdk_batches(portal: SandboxPortal, answers: Answers) -> None:
    from b24pysdk import BitrixWebhook

    os.environ["REQUESTS_CA_BUNDLE"] = str(portal.ca_file)
    webhook = BitrixWebhook(domain=portal.host, webhook_token=f"1/{portal.webhook.code}")
    webhook.call_batches([(METHOD, answer) for answer in answers])


def fast_bitrix24_call(portal: SandboxPortal, answers: Answers) -> None:
    from fast_bitrix24 import Bitrix

    Bitrix(portal.webhook.url, verbose=False).call(METHOD, answers)


def one_by_one(portal: SandboxPortal, answers: Answers) -> None:
    import requests

    for answer in answers:
        while requests.post(portal.webhook.url + METHOD, json=answer, timeout=30).status_code == 503:
            time.sleep(1)


OURS = (this_provider, this_provider_async)
"""The others may give up in any way."""


def allowed_rate(count: int) -> float:
    """Answers per second that a portal allows when so many are sent in full batches."""
    return count / max(0.5, (-(-count // 50) - 50) / 2)


def measure(
    table: Table, name: str, run: Contender, count: int, allowed: float, *, https: bool = False
) -> None:
    with SandboxPortal(https=https, keep_requests=1_000_000) as portal:
        answers = waiting_answers(portal, count)
        before = len(portal.requests)
        began = time.monotonic()
        try:
            run(portal, answers)
        except Exception as error:
            if run in OURS:
                raise
            progress(f"{name} gave up: {type(error).__name__}")
        report(table, name, portal, before, time.monotonic() - began, allowed)


def report(
    table: Table, name: str, portal: SandboxPortal, before: int, seconds: float, allowed: float
) -> None:
    delivered = len(portal.answers)
    requests = portal.requests[before:]
    refused = sum(request.status == 503 for request in requests)
    rate = delivered / seconds
    table.row(name, delivered, len(requests), refused, seconds, rate, f"{rate / allowed:.1%}")


def moved_clock(table: Table, count: int) -> None:
    clock = Clock(frozen=True)
    with SandboxPortal(clock=clock, keep_requests=1_000_000) as portal:
        answers = waiting_answers(portal, count)
        before, began = len(portal.requests), clock.now()
        webhook = Webhook.from_url(portal.webhook.url)
        with Bitrix24Client(webhook, clock=clock.now, sleep=clock.advance) as client:
            outcomes = client.batch([(METHOD, answer) for answer in answers])
        assert all(isinstance(outcome, Reply) for outcome in outcomes)
        report(table, "this provider, moved clock", portal, before, clock.now() - began, allowed_rate(count))


def main() -> None:
    sizes = parser(
        __doc__,
        answers=Size(4000, 100, "for the contenders in real time"),
        moved=Size(10_000, 3000, "for this provider on a moved clock"),
        single=Size(80, 10, "for one request per answer"),
    )
    options = sizes.parse_args()
    # fast_bitrix24 leaves tasks behind whose errors asyncio would print.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    table = Table("", "answers", "requests", "503", "s", "answers/s", "of the limit")
    moved_clock(table, options.moved)
    count, allowed = options.answers, allowed_rate(options.answers)
    measure(table, "this provider", this_provider, count, allowed)
    measure(table, "this provider, async", this_provider_async, count, allowed)
    measure(table, "fast_bitrix24 call", fast_bitrix24_call, count, allowed)
    measure(table, "b24pysdk call_batches", b24pysdk_batches, count, allowed, https=True)
    measure(table, "one requests.post per answer", one_by_one, options.single, allowed)


if __name__ == "__main__":
    main()
