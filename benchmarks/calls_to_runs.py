"""From a call's response to its DAG run: how long it takes, and whether a call is lost or starts two runs.

    python benchmarks/calls_to_runs.py [--small] [--database sqlite|postgresql] [--calls 100] [--storm 2000]
                                       [--soak 10000] [--away 8]

An API server with the receiver and the dispatcher, and nothing else of Airflow, on SQLite and on a PostgreSQL server of
its own. First a call every half second, then as many as 32 callers can post; read from the database afterwards: when a
call was received, and when its run was made.

Then the database goes away under load, after a third of the calls and after two thirds: PostgreSQL is stopped and
started again, once orderly and once as in a crash; of SQLite another process holds the lock for writing. The calls that
were answered are compared with the table and with the runs that are there. The exit code is 1 unless each call was
accepted, is on record and has exactly one run.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import _databases
from _callers import CALLERS, Callers, Outcome, tokens
from _options import Size, parser
from _receiver_host import CALL, receiver_host
from _table import LATENCY, Table, latency, progress
from sqlalchemy import Engine, create_engine, text

SECONDS_TO_START = 900.0
LOSSES = ("calls", "not accepted", "not on record", "without a run", "two runs", "spooled meanwhile")
_DELAYS = """
    SELECT c.received_at, r.queued_at
    FROM bitrix24_call c JOIN dag_run r ON r.dag_id = c.dag_id AND r.run_id = c.run_id
    WHERE c.received_at >= :since
"""
_ON_RECORD = "SELECT id FROM bitrix24_call"
_RUNS = "SELECT run_id FROM dag_run"


def delays(engine: Engine, since: dt.datetime, calls: int) -> list[float]:
    """Wait until so many calls that came since have their runs; seconds from the one to the other."""
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        with engine.connect() as connection:
            rows = connection.execute(text(_DELAYS), {"since": since}).all()
        if len(rows) >= calls:
            return [(moment(queued) - moment(received)).total_seconds() for received, queued in rows]
        progress(f"{len(rows)} of {calls} runs are there")
        time.sleep(1)
    raise RuntimeError(f"not all of {calls} calls got a run within {SECONDS_TO_START:.0f} s")


def moment(value: dt.datetime | str) -> dt.datetime:
    """Read a time as SQLite or PostgreSQL gives it."""
    time_ = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    return time_ if time_.tzinfo else time_.replace(tzinfo=dt.UTC)


def measure(engine: Engine, calls: int, post: Callable[[Iterator[str]], object]) -> list[float]:
    """Post calls, and tell how long each has waited for its run."""
    time.sleep(2)
    since = dt.datetime.now(dt.UTC)
    post(tokens(f"{time.monotonic_ns():x}", calls))
    return delays(engine, since, calls)


def post_with_outages(callers: Callers, calls: int, outages: Sequence[Callable[[], None]]) -> list[Outcome]:
    """Post the calls with the outages in between, and wait until the database is back."""
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

    outcomes = callers.at_once(CALLERS, tokens("soak", calls), show)
    for thread in running:
        thread.join()
    return outcomes


def started(engine: Engine, calls: set[str]) -> tuple[set[str], Counter[str]]:
    """Wait until the calls have runs, and read which calls are on record and which runs there are."""
    end = time.monotonic() + SECONDS_TO_START
    while True:
        with engine.connect() as connection:
            on_record = set(connection.scalars(text(_ON_RECORD)))
            runs = Counter(run.removeprefix("bitrix24__") for run in connection.scalars(text(_RUNS)))
        if calls <= runs.keys() or time.monotonic() > end:
            return on_record, runs
        progress(f"{len(on_record)} calls on record, {len(runs)} runs")
        time.sleep(2)


def main() -> int:
    sizes = parser(
        __doc__,
        calls=Size(100, 5, "calls when nothing else happens"),
        storm=Size(2000, 40, "calls of the storm"),
        soak=Size(10_000, 90, "calls while the database goes away"),
        away=Size(8.0, 1.0, "seconds of each outage"),
    )
    _databases.add_option(sizes)
    options = sizes.parse_args()
    good = True
    for database in _databases.chosen(options.database):
        engine = create_engine(database.url)
        with receiver_host(database.home, database.url, workers=1) as host:
            callers = Callers(host.robot_url, CALL)
            callers.at_once(1, tokens("warm", 3))
            waits = Table("from the call to its run", *LATENCY)
            idle = measure(engine, options.calls, partial(callers.at_rate, 2))
            waits.row(f"{database.name}, a call now and then ({options.calls})", *latency(idle))
            storm = measure(engine, options.storm, partial(callers.at_once, CALLERS))
            waits.row(f"{database.name}, a storm ({options.storm})", *latency(storm))

            engine.dispose()
            outages = [partial(away, options.away) for away in database.outages]
            outcomes = post_with_outages(callers, options.soak, outages)
            promised = {outcome.call for outcome in outcomes if outcome.call and outcome.accepted}
            on_record, runs = started(engine, promised)
            engine.dispose()
        wrong = (
            sum(not outcome.accepted for outcome in outcomes),
            len(promised - on_record),
            len(promised - runs.keys()),
            sum(number > 1 for number in runs.values()),
        )
        losses = Table("the database away", *LOSSES)
        losses.row(database.name, len(outcomes), *wrong, sum(outcome.spooled for outcome in outcomes))
        good &= not any(wrong)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
