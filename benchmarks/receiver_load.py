"""How many robot calls the receiver puts on record, and how long Bitrix24 waits for its response meanwhile.

    python benchmarks/receiver_load.py [--small] [--database sqlite|postgresql] [--seconds 20] [--rate 200]
                                       [--workers 1] [--dispatcher]

An API server with the receiver and nothing else of Airflow, on SQLite and on a PostgreSQL server of its own: first
32 callers that post one call after the other, as fast as they are answered; then calls at a steady rate, where a call
counts from the moment it is due. Processor time is the API server's. With --dispatcher it starts the calls' runs, too.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import _databases
from _callers import CALLERS, Callers, Outcome, statuses, tokens
from _options import Size, parser
from _receiver_host import CALL, ReceiverHost, receiver_host
from _table import LATENCY, Table, latency


def measure(table: Table, what: str, host: ReceiverHost, post: Callable[[], list[Outcome]]) -> None:
    began, used = time.monotonic(), host.processor_seconds()
    outcomes = post()
    took, used = time.monotonic() - began, host.processor_seconds() - used
    accepted = sum(outcome.accepted for outcome in outcomes)
    seconds = [outcome.seconds for outcome in outcomes]
    table.row(
        what, accepted / took, *latency(seconds), 1000 * used / len(outcomes), f"  {statuses(outcomes)}"
    )


def main() -> None:
    sizes = parser(
        __doc__,
        seconds=Size(20.0, 1.0, "for each of the two"),
        rate=Size(200.0, 20.0, "calls per second, for the second"),
        workers=Size(1, 1, "processes of the API server"),
    )
    _databases.add_option(sizes)
    sizes.add_argument("--dispatcher", action="store_true", help="start runs for the calls as well")
    options = sizes.parse_args()
    table = Table("", "accepted/s", *LATENCY, "cpu ms/call", "responses")
    for database in _databases.chosen(options.database):
        with receiver_host(
            database.home, database.url, options.workers, dispatches=options.dispatcher
        ) as host:
            callers = Callers(host.robot_url, CALL)
            callers.at_once(CALLERS, tokens("warm", 200))
            end = time.monotonic() + options.seconds
            endless = itertools.takewhile(lambda _, end=end: time.monotonic() < end, tokens("fast"))
            measure(
                table,
                f"{database.name}, {CALLERS} callers",
                host,
                lambda callers=callers, endless=endless: callers.at_once(CALLERS, endless),
            )
            count = int(options.seconds * options.rate)
            measure(
                table,
                f"{database.name}, {options.rate:g} calls/s",
                host,
                lambda callers=callers, count=count: callers.at_rate(options.rate, tokens("steady", count)),
            )


if __name__ == "__main__":
    main()
