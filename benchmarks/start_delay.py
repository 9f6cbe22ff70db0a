"""How long it takes from a call's response to its DAG run: when nothing else happens, and in a storm of calls.

    python benchmarks/start_delay.py [--small] [--database sqlite|postgresql] [--calls 100] [--storm 2000]

An API server with the receiver and the dispatcher, and nothing else of Airflow, on SQLite and on a PostgreSQL server of
its own. First a call every half second, then as many as 32 callers can post. Read from the database afterwards: when a
call was received, and when its run was made.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from functools import partial

import _databases
from _callers import CALLERS, Callers, tokens
from _options import Size, parser
from _receiver_host import CALL, receiver_host
from _table import LATENCY, Table, latency, progress
from sqlalchemy import create_engine, text

SECONDS_TO_START = 900.0
_DELAYS = """
    SELECT c.received_at, r.queued_at
    FROM bitrix24_call c JOIN dag_run r ON r.dag_id = c.dag_id AND r.run_id = c.run_id
    WHERE c.received_at >= :since
"""


def delays(url: str, since: dt.datetime, calls: int) -> list[float]:
    """Wait until so many calls that came since have their runs; seconds from the one to the other."""
    engine = create_engine(url)
    end = time.monotonic() + SECONDS_TO_START
    try:
        while time.monotonic() < end:
            with engine.connect() as connection:
                rows = connection.execute(text(_DELAYS), {"since": since}).all()
            if len(rows) >= calls:
                return [(moment(queued) - moment(received)).total_seconds() for received, queued in rows]
            progress(f"{len(rows)} of {calls} runs are there")
            time.sleep(1)
    finally:
        engine.dispose()
    raise RuntimeError(f"not all of {calls} calls got a run within {SECONDS_TO_START:.0f} s")


def moment(value: dt.datetime | str) -> dt.datetime:
    """Read a time as SQLite or PostgreSQL gives it."""
    time_ = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    return time_ if time_.tzinfo else time_.replace(tzinfo=dt.UTC)


def measure(url: str, calls: int, post: Callable[[Iterator[str]], object]) -> list[float]:
    """Post calls, and tell how long each has waited for its run."""
    time.sleep(2)
    since = dt.datetime.now(dt.UTC)
    post(tokens(f"{time.monotonic_ns():x}", calls))
    return delays(url, since, calls)


def main() -> None:
    sizes = parser(
        __doc__,
        calls=Size(100, 5, "calls when nothing else happens"),
        storm=Size(2000, 40, "calls of the storm"),
    )
    _databases.add_option(sizes)
    options = sizes.parse_args()
    table = Table("from the call to its run", *LATENCY)
    for database in _databases.chosen(options.database):
        with receiver_host(database.home, database.url, workers=1) as host:
            callers = Callers(host.robot_url, CALL)
            callers.at_once(1, tokens("warm", 3))
            idle = measure(database.url, options.calls, partial(callers.at_rate, 2))
            table.row(f"{database.name}, a call now and then ({options.calls})", *latency(idle))
            storm = measure(database.url, options.storm, partial(callers.at_once, CALLERS))
            table.row(f"{database.name}, a storm ({options.storm})", *latency(storm))


if __name__ == "__main__":
    main()
