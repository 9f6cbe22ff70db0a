"""Processor time of one call in the calling process, against bare `requests` and against b24pysdk.

    python benchmarks/cost_of_a_call.py [--small] [--calls 400] [--rounds 5]

The portal runs in a process of its own. b24pysdk speaks HTTPS only, so the comparison is made with and without it. The
contenders take turns, and the best of the rounds counts, so that a busy machine disturbs all of them alike.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import requests
from _options import Size, parser
from _portal_process import PortalProcess, portal_process
from _table import Table

from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, Webhook

METHOD = "sandbox.echo"
PARAMS = {
    "EVENT_TOKEN": "67e3db8e581121.72266518|A1_2_3_4|" + "x" * 64,
    "RETURN_VALUES": {"score": 0.75, "verdict": "good", "tags": ["a", "b", "c"], "checked": "Y"},
    "LOG_MESSAGE": "scored",
}


class FreeClock:
    """Lets nobody wait: the cost is measured, not the limit."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def __call__(self) -> float:
        """Give the time as if all waits had passed."""
        return time.monotonic() + self.skipped

    def sleep(self, seconds: float) -> None:
        """Skip the wait."""
        self.skipped += seconds

    async def asleep(self, seconds: float) -> None:
        """Skip the wait of an event loop."""
        self.skipped += seconds


def contenders(portal: PortalProcess) -> dict[str, Callable[[int], float]]:
    """Each makes so many calls and says how many seconds of processor time they took."""
    url, verify = portal.webhook + METHOD, portal.ca_file or True

    def timed(call: Callable[[], object]) -> Callable[[int], float]:
        def run(count: int) -> float:
            call()
            began = time.process_time()
            for _ in range(count):
                call()
            return time.process_time() - began

        return run

    session = requests.Session()
    session.verify = verify
    clock = FreeClock()
    client = Bitrix24Client(Webhook.from_url(portal.webhook), verify=verify, clock=clock, sleep=clock.sleep)

    def in_a_loop(count: int) -> float:
        async def run() -> float:
            free = FreeClock()
            webhook = Webhook.from_url(portal.webhook)
            async with AsyncBitrix24Client(webhook, verify=verify, clock=free, sleep=free.asleep) as aclient:
                await aclient.call(METHOD, PARAMS)
                began = time.process_time()
                for _ in range(count):
                    await aclient.call(METHOD, PARAMS)
                return time.process_time() - began

        return asyncio.run(run())

    found = {
        "requests.post": timed(lambda: requests.post(url, json=PARAMS, timeout=30, verify=verify).json()),
        "requests.Session().post": timed(lambda: session.post(url, json=PARAMS, timeout=30).json()),
        "this provider": timed(lambda: client.call(METHOD, PARAMS).result),
        "this provider, async": in_a_loop,
    }
    if portal.ca_file:
        from b24pysdk import BitrixWebhook

        os.environ["REQUESTS_CA_BUNDLE"] = portal.ca_file
        webhook = BitrixWebhook(domain=portal.host, webhook_token=f"1/{portal.code}")
        found["b24pysdk"] = timed(lambda: webhook.call_method(METHOD, PARAMS)["result"])
    return found


def main() -> None:
    sizes = parser(
        __doc__,
        calls=Size(400, 20, "calls per contender and round"),
        rounds=Size(5, 1, "the best of them counts"),
    )
    options = sizes.parse_args()
    table = Table("", "cpu us/call", "of requests.post")
    for https in (False, True):
        with portal_process(https=https) as portal:
            found = contenders(portal)
            best = dict.fromkeys(found, float("inf"))
            for _ in range(options.rounds):
                for name, run in found.items():
                    best[name] = min(best[name], run(options.calls) / options.calls)
        for name, seconds in best.items():
            what = f"{name}, {'HTTPS' if https else 'HTTP'}"
            table.row(what, seconds * 1e6, seconds / best["requests.post"])


if __name__ == "__main__":
    main()
