"""Whether a call is lost, or starts two runs, when the database goes away under load.

    python benchmarks/receiver_outages.py [--small] [--database sqlite|postgresql] [--calls 10000] [--away 8]

An API server with the receiver and nothing else of Airflow, on SQLite and on a PostgreSQL server of its own. After a
third of the calls, and after two thirds, the database goes away: PostgreSQL is stopped and started again, once orderly
and once as in a crash; of SQLite another process holds the lock for writing. Then the calls that were answered are
compared with the table and with the runs that are there. The exit code is 1 unless each call was accepted, is on record
and has exactly one run.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import _databases
from _callers import CALLERS, Callers, Outcome, tokens
from _options import Size, parser
from _receiver_host import CALL, ReceiverHost, receiver_host
from _table import Table, progress
from sqlalchemy import create_engine, text

REPLAY_SECONDS = 900.0
_RUNS = "SELECT run_id FROM dag_run"


def post(host: ReceiverHost, calls: int, outages: Sequence[Callable[[], None]]) -> list[Outcome]:
    """Post the calls with the outages in between, and wait until the receiver has done what it kept."""
    due = {calls * number // (len(outages) + 1): outage for number, outage in enumerate(outages, 1)}
    running: list[threading.Thread] = []
    one_at_a_time = threading.Lock()

    def be_away(outage: Callable[[], None]) -> None:
        with one_at_a_time:
            progress("the database goes away")
            outage()
            progress("the database is back")

    def show(done: int) -> None:
        if outage := due.pop(done, None):
            running.append(threading.Thread(target=be_away, args=(outage,)))
            running[-1].start()

    outcomes = Callers(host.robot_url, CALL).at_once(CALLERS, tokens("soak", calls), show)
    for thread in running:
        thread.join()
    return outcomes


def started(url: str, calls: int) -> tuple[set[str], Counter[str]]:
    """Wait until as many runs are there as calls, and read which calls are on record and which runs there are."""
    engine = create_engine(url)
    end = time.monotonic() + REPLAY_SECONDS
    while True:
        with engine.connect() as connection:
            on_record = set(connection.scalars(text("SELECT id FROM bitrix24_call")))
            runs = Counter(run.removeprefix("bitrix24__") for run in connection.scalars(text(_RUNS)))
        if len(runs) >= calls or time.monotonic() > end:
            engine.dispose()
            return on_record, runs
        progress(f"{len(on_record)} calls on record, {len(runs)} runs")
        time.sleep(2)


def main() -> int:
    sizes = parser(
        __doc__,
        calls=Size(10_000, 90, "calls in all"),
        away=Size(8.0, 1.0, "seconds of each outage"),
        workers=Size(1, 1, "processes of the API server"),
    )
    _databases.add_option(sizes)
    options = sizes.parse_args()
    good = True
    table = Table(
        "", "calls", "not accepted", "not on record", "without a run", "two runs", "spooled meanwhile"
    )
    for database in _databases.chosen(options.database):
        outages = [lambda away=away: away(options.away) for away in database.outages]
        with receiver_host(database.home, database.url, options.workers) as host:
            outcomes = post(host, options.calls, outages)
            on_record, runs = started(database.url, options.calls)
        promised = {outcome.call for outcome in outcomes if outcome.accepted}
        wrong = (
            sum(not outcome.accepted for outcome in outcomes),
            len(promised - on_record),
            len(promised - runs.keys()),
            sum(number > 1 for number in runs.values()),
        )
        table.row(database.name, len(outcomes), *wrong, sum(outcome.spooled for outcome in outcomes))
        good &= not any(wrong)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
