"""How long a process waits for a robot that computes its answer in one task, as the example `score_lead` does.

    python benchmarks/loop_time.py [--small] [--processes 20] [--together 10] [--calls 200] [--pause 0.25]

From the queue server's POST to the process's continuation, through a real scheduler, executor and API server on
SQLite: one process after the other, then some at once. And how long Bitrix24 waits for the receiver's response to a
call, which is only the beginning of that: first a call now and then, whose runs Airflow works on meanwhile; then, with
the DAG paused, one call after the other, while nothing else happens on the machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from _options import Size, parser
from _table import LATENCY, Table, latency

from airflow_provider_b24.demo import example_dags
from airflow_provider_b24.sandbox import Call, CallRobot, SandboxPortal
from airflow_provider_b24.testing.local_airflow import LocalAirflow
from airflow_provider_b24.testing.sandbox_connection import oauth_connection

STEPS = (CallRobot("example_score_lead", {"budget": 60000, "source": "fair"}),)


@contextmanager
def stage() -> Iterator[tuple[SandboxPortal, LocalAirflow]]:
    """Connect a portal and a real Airflow with the example DAGs."""
    with SandboxPortal() as portal, LocalAirflow(example_dags()) as airflow:
        airflow.add_connection("bitrix24_default", oauth_connection(portal))
        command = [sys.executable, "-m", "airflow_provider_b24.cli", "robots", "apply", "--yes"]
        subprocess.run(command, env=airflow.env, check=True, capture_output=True)
        yield portal, airflow


def post_again(call: Call, number: int, series: str) -> float:
    """Post a robot's call as if it were a new one; seconds until the response."""
    body = call.body.replace(
        call.fields["event_token"].partition("|")[0].encode(), f"{series}{number:05}".encode()
    )
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    began = time.perf_counter()
    response = requests.post(call.url, data=body, headers=headers, timeout=60)
    took = time.perf_counter() - began
    assert response.status_code == 202, response.text
    return took


def main() -> None:
    sizes = parser(
        __doc__,
        processes=Size(20, 2, "one after the other"),
        together=Size(10, 2, "at once"),
        calls=Size(200, 4, "calls whose responses are measured, of each series"),
        pause=Size(0.25, 0.25, "seconds between two calls while Airflow works: a busy portal, not a flood"),
    )
    options = sizes.parse_args()
    with stage() as (portal, airflow):
        portal.start_process(STEPS).wait(600)  # the first one warms everything
        call = portal.wait_for_call(60)
        table = Table("from the call to the process that goes on", *LATENCY)
        alone = []
        for _ in range(options.processes):
            process = portal.start_process(STEPS).wait(600)
            alone.append(process.modified - process.started)
        table.row(f"{options.processes}, one after the other", *latency(alone))
        began = time.time()
        together = [portal.start_process(STEPS) for _ in range(options.together)]
        table.row(
            f"{options.together} at once", *latency([one.wait(600).modified - began for one in together])
        )

        table = Table("from the call to the response", *LATENCY)
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
