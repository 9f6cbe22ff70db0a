"""How long a process waits for a robot that computes its answer in one task (`example_dags/score_lead.py`).

    python benchmarks/loop_time.py

From the queue server's POST to the process's continuation, through a real scheduler, executor and API server on
SQLite: one process after the other, then ten at once.
"""

from __future__ import annotations

import time

from _stage import stage, summary

from airflow_provider_b24.sandbox import CallRobot

REPETITIONS = 20
AT_ONCE = 10
STEPS = (CallRobot("score_lead", {"budget": 60000, "source": "fair"}),)


def main() -> None:
    with stage() as (portal, _):
        portal.start_process(STEPS).wait(60)  # the first one warms everything
        alone = []
        for _ in range(REPETITIONS):
            process = portal.start_process(STEPS).wait(60)
            alone.append(process.modified - process.started)
        print(f"one after the other:  {summary(alone)}")
        began = time.time()
        together = [portal.start_process(STEPS) for _ in range(AT_ONCE)]
        waits = [process.wait(120).modified - began for process in together]
        print(f"{AT_ONCE} at once:           {summary(waits)}")


if __name__ == "__main__":
    main()
