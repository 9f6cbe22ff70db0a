"""How long Bitrix24 waits for the receiver's answer to a robot's call, while Airflow works on the calls before.

    python benchmarks/receiver_latency.py [--small] [--calls 200] [--pause 0.25]

A real Airflow on SQLite: first a call now and then, whose runs it works on meanwhile; then, with the DAG paused, one
call after the other, while nothing else happens on the machine.
"""

from __future__ import annotations

import time
from typing import Any

import requests
from _options import Size, parser
from _stage import stage
from _table import LATENCY, Table, latency

from airflow_provider_b24.sandbox import CallRobot

STEPS = (CallRobot("example_score_lead", {"budget": 1000}),)


def post_again(call: Any, number: int, series: str) -> float:
    """Post a robot's call as if it were a new one; seconds until the answer."""
    body = call.body.replace(
        call.fields["event_token"].partition("|")[0].encode(), f"{series}{number:05}".encode()
    )
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    began = time.perf_counter()
    answer = requests.post(call.url, data=body, headers=headers, timeout=60)
    took = time.perf_counter() - began
    assert answer.status_code == 202, answer.text
    return took


def main() -> None:
    sizes = parser(
        __doc__,
        calls=Size(200, 10, "calls of each series"),
        pause=Size(0.25, 0.25, "seconds between two calls while Airflow works: a busy portal, not a flood"),
    )
    options = sizes.parse_args()
    with stage() as (portal, airflow):
        portal.start_process(STEPS).wait(600)  # the first one warms everything
        call = portal.wait_for_call(60)
        table = Table("", *LATENCY)
        busy = []
        for number in range(options.calls):
            busy.append(post_again(call, number, "busy"))
            time.sleep(options.pause)
        table.row(f"Airflow at work, every {options.pause:g} s", *latency(busy))
        airflow.request("PATCH", "dags/example_bitrix24_score_lead", {"is_paused": True})
        while airflow.processes()["worker"]:
            time.sleep(0.5)
        quiet = [post_again(call, number, "quiet") for number in range(options.calls)]
        table.row("DAG paused, one after the other", *latency(quiet))


if __name__ == "__main__":
    main()
