"""The calls that the pictures show: a day of a small company that sells instruments."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24.calls.table import call_table
from airflow_provider_b24.sandbox import AnswerStatus, CallRobot, Process
from airflow_provider_b24.testing.airflow_api import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_b24.sandbox import SandboxPortal
    from airflow_provider_b24.testing.local_airflow import LocalAirflow

CONN_ID = "crm"
SECONDS = 180
LEADS = (
    ("Town hall Lindau, grand piano", 88000, "fair"),
    ("Weber & Sons, two violins", 9500, "web"),
    ("Music school Aarau, 12 guitars", 7200, "web"),
    ("Opera Graz, harp", 31000, "fair"),
    ("Jazz club Blue Note, double bass", 14500, "web"),
)
_STATES = ("answered",) * 17 + ("failure-answered", "too-late", "answered-by-hand")


def command(airflow: LocalAirflow, *arguments: str) -> None:
    """Run `airflow-b24` as olga."""
    call = [sys.executable, "-m", "airflow_provider_b24.cli", *arguments]
    env = airflow.env | {"LOGNAME": "olga"}
    done = subprocess.run(call, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"


def make_calls(portal: SandboxPortal, airflow: LocalAirflow, dags: Path) -> None:
    """Let processes call, and wait until each call is what a picture shall show of it."""
    _put_on_record(airflow)
    command(airflow, "robots", "apply", "--conn-id", CONN_ID, "--yes", "--wait")
    processes = _Processes(portal, airflow)
    held = processes.start("draft_offer", 4211, item="Grand piano, black, used", price=41000)
    airflow.request("PATCH", "dags/remind_customer", {"is_paused": True})
    processes.start("remind_customer", 4204, invoice="2026-0815")
    failed = processes.start("book_courier", 4201, address="Hafenstr. 3, Lindau")
    refused = processes.start("book_courier", 4202, fault=True, address="Bahnhofplatz 1, Bregenz")
    by_hand = processes.start("draft_offer", 4203, item="Harp, restored", price=28500)
    processes.wait_for(failed, "failure-answered")
    processes.wait_for(by_hand, "running")
    text = "Dear Ms Huber, we gladly offer you the harp at 27,900 euros."
    command(
        airflow,
        *("calls", "answer", processes.call_id(by_hand), "--value", f"text={text}", "--value", "discount=2"),
    )
    for number, (title, budget, source) in enumerate(LEADS):
        scored = processes.start("score_lead", 4205 + number, title=title, budget=budget, source=source)
        processes.wait_for(scored, "answered")
    processes.wait_for(held, "running")
    assert wait_until(lambda: processes.row(refused).attempts > 0, SECONDS), "its answer gets through"
    command(airflow, "robots", "delete", "remind_customer", "--conn-id", CONN_ID, "--yes")
    file = dags / "score_lead.py"
    added = '"phone": Property.string("Phone"),\n        "source": Property'
    file.write_text(file.read_text().replace('"source": Property', added, 1))


class _Processes:
    """Processes of the portal, and what the table says of their calls."""

    def __init__(self, portal: SandboxPortal, airflow: LocalAirflow) -> None:
        self._portal = portal
        self._engine = _engine(airflow)

    def start(self, code: str, lead: int, *, fault: bool = False, **properties: Any) -> Process:
        """Start a process of a lead whose robot calls.

        :param fault: whether the portal refuses the answer.
        """
        limit = 3600 if code == "draft_offer" else 0
        step = CallRobot(code, properties, timeout_duration=limit, name=code)
        process = self._portal.start_process([step], ("crm", "CCrmDocumentLead", f"LEAD_{lead}"))
        if fault:
            error = AnswerStatus(403, "insufficient_scope", "The request requires higher privileges")
            self._portal.faults.add(error, method="bizproc.event.send", times=None, about=process.id)
        return process

    def row(self, process: Process) -> Any:
        with self._engine.connect() as connection:
            return connection.execute(sa.select(call_table).where(call_table.c.process == process.id)).first()

    def call_id(self, process: Process) -> str:
        return str(self.row(process).id)

    def wait_for(self, process: Process, state: str) -> None:
        def is_so() -> bool:
            row = self.row(process)
            return row is not None and row.state == state

        assert wait_until(is_so, SECONDS), f"{self.row(process)} is not {state}"


def _put_on_record(airflow: LocalAirflow) -> None:
    """Make up the calls of the last days: Airflow cannot start runs in the past."""
    with _engine(airflow).begin() as connection:
        connection.execute(call_table.insert(), list(_earlier()))


def _earlier() -> Iterator[dict[str, Any]]:
    chance, now = random.Random(24), dt.datetime.now(dt.UTC)
    for number in range(1, 120):
        code = chance.choice(("score_lead", "score_lead", "draft_offer", "book_courier"))
        at = now - dt.timedelta(minutes=7 + 19 * number + chance.randrange(19))
        call_id = hashlib.sha256(f"{number}".encode()).hexdigest()[:32]
        state = chance.choice(_STATES)
        by = {"answered": "reply", "answered-by-hand": "hand:olga"}.get(state, "dispatcher")
        reasons = {
            "failure-answered": "the run failed; failed tasks: book",
            "too-late": "the process had ended",
        }
        yield {
            "id": call_id,
            "conn_id": CONN_ID,
            "code": code,
            "dag_id": code,
            "run_id": f"bitrix24__{call_id}",
            "process": f"6a2b{number:04x}c1d{chance.randrange(10)}.{chance.randrange(10**8):08}",
            "document": f"crm/CCrmDocumentLead/LEAD_{4200 - number}",
            "waits": True,
            "sent_at": at,
            "received_at": at,
            "answered_at": None if state == "too-late" else at + dt.timedelta(seconds=chance.uniform(1, 40)),
            "answered_by": None if state == "too-late" else by,
            "state": state,
            "reason": reasons.get(state),
            "attempts": 0,
            "due_at": at,
        }


def _engine(airflow: LocalAirflow) -> sa.Engine:
    return sa.create_engine(f"sqlite:///{airflow.home / 'airflow.db'}", connect_args={"timeout": SECONDS})
