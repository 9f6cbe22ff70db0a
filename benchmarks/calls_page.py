"""How long the page of calls takes with 100,000 calls on record: the whole request, rights, queries and HTML.

    python benchmarks/calls_page.py [--small] [--database sqlite|postgresql] [--calls 100000] [--requests 30]

In a process of its own for each database: an empty one with Airflow's tables, and calls of 20 robots in 30 days, of
which one in a hundred is open. Requests come one after another, without a network. *cpu* is that of the process that
serves the page, SQLite with it and PostgreSQL not: a busy machine takes longer, and that figure stays.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _databases
from _options import Size, parser
from _table import LATENCY, Table, latency

DAYS = dt.timedelta(days=30)
ROBOTS = 20
AT_ONCE = 5000
PAGES = {
    "the newest": "calls",
    "an old page": "calls?before={old}",
    "what waits for a person": "calls?state=waiting",
    "one state, and few have it": "calls?state=too-late",
    "one state, and none has it": "calls?state=answered-by-hand",
    "one robot": "calls?dag=robot_07",
    "search for a document": "calls?q=LEAD_{last}",
    "search for words that are nowhere": "calls?q=nothing+like+this",
    "one call": "calls/{id}",
}


def rows(calls: int) -> Iterator[dict[str, Any]]:
    """Make up calls, the newest first."""
    from airflow_provider_b24.calls.changes import StoredAnswer

    now, answer = dt.datetime.now(dt.UTC), StoredAnswer({"score": 5.0, "comment": "x" * 40}).encrypted()
    for number in range(calls):
        at, robot = now - DAYS * number / calls, f"robot_{number % ROBOTS:02}"
        row = {
            "id": call_id(number),
            "conn_id": "crm",
            "code": robot,
            "dag_id": robot,
            "run_id": f"bitrix24__{call_id(number)}",
            "process": f"{number:014x}.{number:08}",
            "document": f"crm/CCrmDocumentLead/LEAD_{number}",
            "waits": True,
            "sent_at": at,
            "received_at": at,
            "answered_at": at + dt.timedelta(seconds=20),
            "state": "answered",
            "reason": None,
            "last_error": None,
            "answered_by": "reply",
            "payload": None,
            "answer": answer,
            "answering": None,
            "attempts": 0,
            "due_at": at,
        }
        kind = number % 1000
        if kind < 10:
            row |= {"state": "running", "payload": "x" * 1500, "answered_at": None, "answered_by": None}
            if kind < 2:
                row |= {
                    "answering": "failure-answered",
                    "attempts": 7,
                    "last_error": "insufficient_scope: bizproc",
                }
        elif kind < 50:
            row |= {"state": "failure-answered", "answered_by": "dispatcher", "reason": "the run failed"}
        elif kind < 60:
            row |= {"state": "too-late", "answered_at": None, "answered_by": None, "reason": "the limit"}
        yield row


def call_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def measure(url: str, home: Path, calls: int, requests: int) -> dict[str, tuple[list[float], float]]:
    """Fill a database, and request pages; for each the seconds, and the mean of the processor's in this process."""
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW__API__SECRET_KEY": "a-secret-key-of-the-api-server",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-that-is-long-enough-for-jwt-signatures-0123456789abcdef",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "olga:op",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "_AIRFLOW_PROCESS_CONTEXT": "server",
    }
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.utils.db import initdb
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from airflow_provider_b24._airflow.database import writing
    from airflow_provider_b24.calls.database import make_tables
    from airflow_provider_b24.calls.table import call_table
    from airflow_provider_b24.pages.app import create_app

    initdb()
    make_tables()
    made = list(rows(calls))
    for start in range(0, calls, AT_ONCE):
        with writing() as session:
            session.execute(call_table.insert(), made[start : start + AT_ONCE])
    server = Starlette()
    server.mount("/bitrix24-pages", create_app())
    browser = TestClient(server, base_url="http://testserver/bitrix24-pages/")
    token = init_auth_manager().generate_jwt(
        SimpleAuthManagerUser(username="olga", role="OP"), expiration_time_in_seconds=3600
    )
    browser.cookies.set("_token", token)
    middle = made[calls * 9 // 10]
    old = f"{int(middle['received_at'].timestamp() * 1_000_000)}-{middle['id']}"
    taken = {}
    for what, path in PAGES.items():
        address = path.format(old=old, last=calls - 1, id=call_id(calls // 2))
        browser.get(address).raise_for_status()
        seconds, before = [], time.process_time()
        for _ in range(requests):
            began = time.monotonic()
            browser.get(address).raise_for_status()
            seconds.append(time.monotonic() - began)
        taken[what] = seconds, (time.process_time() - before) / requests
    return taken


def main() -> None:
    sizes = parser(
        __doc__,
        calls=Size(100_000, 2000, "calls on record"),
        requests=Size(30, 2, "requests of each page"),
    )
    _databases.add_option(sizes)
    options = sizes.parse_args()
    table = Table(f"a page, {options.calls:,} calls on record", *LATENCY, "cpu ms")
    for database in _databases.chosen(options.database):
        with multiprocessing.get_context("spawn").Pool(1) as process:
            taken = process.apply(
                measure, (database.url, database.home, int(options.calls), int(options.requests))
            )
        for what, (seconds, processor) in taken.items():
            table.row(f"{database.name}, {what}", *latency(seconds), processor * 1000)


if __name__ == "__main__":
    main()
