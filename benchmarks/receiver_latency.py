"""How long Bitrix24 waits for the receiver's answer to a robot's call.

    python benchmarks/receiver_latency.py

A real Airflow on SQLite. First with the DAG paused, so that nothing else happens on the machine; then while Airflow
works on the runs that the calls start.
"""

from __future__ import annotations

import time
from typing import Any

import requests
from _stage import stage, summary

from airflow_provider_b24.sandbox import CallRobot

CALLS = 200
PAUSE_SECONDS = 0.25
"""Between two calls while Airflow works: a busy portal, not a flood."""


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
    with stage() as (portal, airflow):
        airflow.request("PATCH", "dags/score_lead", {"is_paused": True})
        portal.start_process([CallRobot("score_lead", {"budget": 1000})])
        call = portal.wait_for_call(30)
        quiet = [post_again(call, number, "quiet") for number in range(CALLS)]
        print(f"DAG paused, one call after the other:  {summary(quiet)}")
    with stage() as (portal, airflow):
        portal.start_process([CallRobot("score_lead", {"budget": 1000})])
        call = portal.wait_for_call(30)
        busy = []
        for number in range(CALLS):
            busy.append(post_again(call, number, "busy"))
            time.sleep(PAUSE_SECONDS)
        print(f"Airflow at work, a call every {PAUSE_SECONDS:g} s:  {summary(busy)}")


if __name__ == "__main__":
    main()
