"""Whether a call is lost, or done twice, when the database goes away under load.

    python benchmarks/receiver_outages.py [--small] [--database sqlite|postgresql] [--calls 10000] [--away 8]

An API server with the receiver and nothing else of Airflow, on SQLite and on a PostgreSQL server of its own. After a
third of the calls, and after two thirds, the database goes away: PostgreSQL is stopped and started again, once orderly
and once as in a crash; of SQLite another process holds the lock for writing. Then the calls that were answered are
compared with the runs that are there. The exit code is 1 unless each call was accepted and has exactly one run.
"""

from __future__ import annotations

import json
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

REPLAY_SECONDS = 600.0


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
    end = time.monotonic() + REPLAY_SECONDS
    while host.health()["spool"]["waiting"] and time.monotonic() < end:
        time.sleep(0.5)
    return outcomes


def runs(url: str) -> list[tuple[str, str]]:
    """Read the event token and the id of each run there is."""
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT run_id, conf FROM dag_run")).all()
    engine.dispose()
    confs = [(conf if isinstance(conf, dict) else json.loads(conf), run_id) for run_id, conf in rows]
    return [(conf["event_token"], run_id) for conf, run_id in confs]


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
    table = Table("", "calls", "lost", "doubled", "refused", "promised, not there", "kept meanwhile")
    for database in _databases.chosen(options.database):
        outages = [lambda away=away: away(options.away) for away in database.outages]
        with receiver_host(database.home, database.url, options.workers) as host:
            outcomes = post(host, options.calls, outages)
        there = runs(database.url)
        runs_of = Counter(event_token for event_token, _ in there)
        promised = {(outcome.event_token, outcome.run_id) for outcome in outcomes if outcome.accepted}
        wrong = (
            sum(runs_of[outcome.event_token] == 0 for outcome in outcomes),
            sum(count > 1 for count in runs_of.values()),
            sum(not outcome.accepted for outcome in outcomes),
            len(promised - set(there)),
        )
        table.row(database.name, len(outcomes), *wrong, sum(outcome.spooled for outcome in outcomes))
        good &= not any(wrong)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
