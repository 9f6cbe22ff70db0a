"""Run a cluster and print what happened: ``make cluster``, and environment variables for what is done."""

from __future__ import annotations

import logging
import os
import signal
import sys

from tests.cluster.cluster import ClusterError
from tests.cluster.run import Plan, Report, run


def main() -> int:
    # Everything must end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        report = run(plan())
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 2
    print(describe(report))
    return 1 if report.books.complaints else 0


def plan() -> Plan:
    said = os.environ.get
    return Plan(
        processes=int(said("PROCESSES", "200")),
        minutes=float(said("MINUTES", "10")),
        seed=int(said("SEED", "1")),
        pause=float(said("PAUSE", "15")),
        crashes=int(said("CRASHES", "2")),
        variant=said("VARIANT", "usual"),  # type: ignore[arg-type]
    )


def describe(report: Report) -> str:
    """Put a report into words."""
    books = report.books
    median, late = books.quantiles()
    rate = 60 * books.processes / report.seconds
    lines = [
        "",
        f"Processes              {books.processes}",
        f"Calls by state         {_counted(books.states)}",
        f"Answered by            {_counted(books.answered_by)}",
        f"Kills                  {sum(report.kills.values())}: {_counted(report.kills)}",
        f"Started again          {sum(report.ended.values())}: {_counted(report.ended)}",
        f"Calls posted again     {report.reposted} (by the balancer, to the other API server)",
        f"Answers sent again     {books.repeated}, and ignored by the portal",
        f"Not known which came first  {books.uncertain}, and their rows say so",
        f"on_failure in place of an answer  {len(books.degraded)}",
        f"Wall time              {report.seconds:.0f} s, {rate:.1f} processes a minute",
        f"POST to going on       median {median:.1f} s, 95 % within {late:.1f} s",
    ]
    lines += [f"not accepted: {line}" for line in books.unaccepted]
    lines += [f"degraded: {line}" for line in books.degraded]
    complaints = books.complaints
    lines += complaints or [
        "Every process was answered once, nothing is lost or stuck, and the table is true."
    ]
    return "\n".join(lines)


def _counted(counter: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counter.items())) or "none"


if __name__ == "__main__":
    sys.exit(main())
