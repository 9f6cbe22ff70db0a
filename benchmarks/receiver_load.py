"""How many robot calls the receiver takes, how long Bitrix24 waits under load, and whether an outage costs a call.

    python benchmarks/receiver_load.py [--database sqlite|postgresql] [--seconds 30] [--calls 10000] [--workers 1]

An API server with the receiver and nothing else of Airflow, first on SQLite, then on a PostgreSQL server of its own:

1. accepted calls per second, while 16 callers post one call after the other;
2. how long a call takes at a steady 50 calls per second, from the moment it is due;
3. 10,000 calls during which the database goes away twice: PostgreSQL is stopped and started again, once orderly and
   once as in a crash; of SQLite another process holds the lock for writing. Then the calls that were answered are
   compared with the runs that are there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from _callers import Callers, Outcome, statuses
from _postgresql import NoPostgreSqlError, PostgreSqlServer
from _receiver_host import CALL, ReceiverHost, receiver_host
from _stage import summary
from sqlalchemy import create_engine, text

CALLERS = 16
STEADY_RATE = 50.0
OUTAGE_SECONDS = 8.0
REPLAY_SECONDS = 600.0

Outage = Callable[[], None]


def progress(what: str, every: int = 500) -> Callable[[int], None]:
    began = time.monotonic()

    def show(done: int) -> None:
        if done % every == 0:
            print(f"    {what}: {done} calls after {time.monotonic() - began:.0f} s", flush=True)

    return show


def tokens(series: str, count: int | None = None) -> Iterator[str]:
    numbers = itertools.count() if count is None else range(count)
    return (f"67e3db8e581121.{series}{number:06}|A1_2_3|{number}.signature" for number in numbers)


def saturation(host: ReceiverHost, seconds: float) -> None:
    began, used = time.monotonic(), host.processor_seconds()
    endless = itertools.takewhile(lambda _: time.monotonic() - began < seconds, tokens("saturation"))
    outcomes = Callers(host.robot_url, CALL).at_once(CALLERS, endless, progress("saturation"))
    took, used = time.monotonic() - began, host.processor_seconds() - used
    accepted = sum(outcome.accepted for outcome in outcomes)
    print(
        f"  {CALLERS} callers:  {accepted / took:.1f} calls accepted per second ({statuses(outcomes)}), "
        f"{1000 * used / len(outcomes):.1f} ms of processor time per call\n"
        f"    {summary([outcome.seconds for outcome in outcomes])}",
        flush=True,
    )


def steady(host: ReceiverHost, seconds: float) -> None:
    used, count = host.processor_seconds(), int(seconds * STEADY_RATE)
    outcomes = Callers(host.robot_url, CALL).at_rate(STEADY_RATE, tokens("steady", count), progress("steady"))
    used = host.processor_seconds() - used
    print(
        f"  {STEADY_RATE:g} calls/s:  {statuses(outcomes)}, {1000 * used / len(outcomes):.1f} ms of processor time "
        f"per call\n    {summary([outcome.seconds for outcome in outcomes])}",
        flush=True,
    )


def soak(host: ReceiverHost, calls: int, outages: Sequence[Outage]) -> bool:
    """Post the calls with an outage after each third of them; whether none is lost and none doubled."""
    due = {calls * (number + 1) // (len(outages) + 1): outage for number, outage in enumerate(outages)}
    running: list[threading.Thread] = []
    shown, one_at_a_time = progress("soak"), threading.Lock()

    def be_away(outage: Outage) -> None:
        with one_at_a_time:
            print("    the database goes away", flush=True)
            outage()
            print("    the database is back", flush=True)

    def show(done: int) -> None:
        shown(done)
        if outage := due.pop(done, None):
            running.append(threading.Thread(target=be_away, args=(outage,)))
            running[-1].start()

    outcomes = Callers(host.robot_url, CALL).at_once(CALLERS, tokens("soak", calls), show)
    for outage_thread in running:
        outage_thread.join()
    ended = time.monotonic()
    while host.health()["spool"]["waiting"] and time.monotonic() - ended < REPLAY_SECONDS:
        time.sleep(0.5)
    print(f"    the spool was empty {time.monotonic() - ended:.0f} s after the last call", flush=True)
    return compare(host, outcomes)


def compare(host: ReceiverHost, outcomes: Sequence[Outcome]) -> bool:
    """Count the runs of each call; whether every call was accepted and has exactly one, of the promised name."""
    engine = create_engine(host.database)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT run_id, conf FROM dag_run")).all()
    engine.dispose()
    confs = [(run_id, conf if isinstance(conf, dict) else json.loads(conf)) for run_id, conf in rows]
    runs = [(conf["event_token"], run_id) for run_id, conf in confs if ".soak" in conf["event_token"]]
    runs_of = Counter(event_token for event_token, _ in runs)
    refused = sum(not outcome.accepted for outcome in outcomes)
    lost = sum(runs_of[outcome.event_token] == 0 for outcome in outcomes)
    doubled = sum(count > 1 for count in runs_of.values())
    broken = len(
        {(outcome.event_token, outcome.run_id) for outcome in outcomes if outcome.accepted} - set(runs)
    )
    print(
        f"  {len(outcomes)} calls with the database away twice:  {statuses(outcomes)}, of these "
        f"{sum(outcome.spooled for outcome in outcomes)} kept in the spool; {len(runs)} runs\n"
        f"    lost {lost}   doubled {doubled}   not accepted {refused}   promised but not there {broken}\n"
        f"    {summary([outcome.seconds for outcome in outcomes])}",
        flush=True,
    )
    return lost == doubled == refused == broken == 0


def hold_write_lock(path: Path) -> None:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(OUTAGE_SECONDS)
    connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def database(name: str, home: Path) -> Iterator[tuple[str, list[Outage]]]:
    if name == "sqlite":
        path = home / "airflow.db"
        yield f"sqlite:///{path}", [lambda: hold_write_lock(path)] * 2
        return
    with PostgreSqlServer() as server:
        yield (
            server.url,
            [
                lambda: server.restart_after(OUTAGE_SECONDS, "fast"),
                lambda: server.restart_after(OUTAGE_SECONDS, "immediate"),
            ],
        )


def measure(name: str, options: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory(prefix="airflow-b24-load-") as folder:
        home = Path(folder)
        with database(name, home) as (url, outages), receiver_host(home, url, options.workers) as host:
            print(f"{name}, {options.workers} API server worker(s):", flush=True)
            if options.seconds:
                Callers(host.robot_url, CALL).at_once(CALLERS, tokens("warm", 50), progress("warming up"))
                saturation(host, options.seconds)
                steady(host, options.seconds)
            return not options.calls or soak(host, options.calls, outages)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append", help="default: both")
    parser.add_argument(
        "--seconds", type=float, default=30, help="for each of the first two; 0 leaves them out"
    )
    parser.add_argument("--calls", type=int, default=10_000, help="for the third; 0 leaves it out")
    parser.add_argument("--workers", type=int, default=1, help="processes of the API server")
    options = parser.parse_args()
    good = True
    for name in options.database or ["sqlite", "postgresql"]:
        try:
            good &= measure(name, options)
        except NoPostgreSqlError as error:
            print(f"{name}: not measured, {error}")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
