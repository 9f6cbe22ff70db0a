"""How long a process waits for a robot that computes its answer in one task, as the example `score_lead` does.

    python benchmarks/loop_time.py [--small] [--processes 20] [--together 10]

From the queue server's POST to the process's continuation, through a real scheduler, executor and API server on
SQLite: one process after the other, then some at once.
"""

from __future__ import annotations

import time

from _options import Size, parser
from _stage import stage
from _table import LATENCY, Table, latency

from airflow_provider_b24.sandbox import CallRobot

STEPS = (CallRobot("example_score_lead", {"budget": 60000, "source": "fair"}),)


def main() -> None:
    sizes = parser(
        __doc__,
        processes=Size(20, 2, "one after the other"),
        together=Size(10, 2, "at once"),
    )
    options = sizes.parse_args()
    with stage() as (portal, _):
        portal.start_process(STEPS).wait(600)  # the first one warms everything
        table = Table("", *LATENCY)
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


if __name__ == "__main__":
    main()
