"""The table ``bitrix24_call``: every call of a robot, and what became of it; and the posts that were refused.

Core tables, in SQL that SQLite, PostgreSQL and MySQL understand. A change here needs a migration in ``migrations/``.
"""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from airflow_provider_b24._airflow.own_tables import UtcDateTime

CallState = Literal[
    "received", "running", "answered", "failure-answered", "answered-by-hand", "too-late", "not-awaited"
]
STATES: tuple[CallState, ...] = get_args(CallState)
OPEN_STATES: tuple[CallState, ...] = ("received", "running")
"""The states of calls whose process may still get an answer."""

RUN_ID_PREFIX = "bitrix24__"
VERSION_TABLE = "bitrix24_alembic_version"

# MySQL's TEXT ends at 64 KiB: encrypted, these are 8,000 letters that are not ASCII.
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql")

metadata = sa.MetaData()

call_table = sa.Table(
    "bitrix24_call",
    metadata,
    # Which call: the hash of its event token, so that one call can never be two rows.
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("conn_id", sa.String(250), nullable=False),
    sa.Column("code", sa.String(255), nullable=False),
    sa.Column("dag_id", sa.String(250), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("process", sa.String(255), nullable=False),
    sa.Column("document", sa.String(765), nullable=False),
    sa.Column("waits", sa.Boolean, nullable=False),
    # When.
    sa.Column("sent_at", UtcDateTime, nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("process_ends_at", UtcDateTime),
    sa.Column("answer_by", UtcDateTime),
    sa.Column("answered_at", UtcDateTime),
    # What became of it.
    sa.Column("state", sa.String(24), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("last_error", sa.Text),
    sa.Column("answered_by", sa.String(250)),
    # Encrypted with Airflow's Fernet key: the call, erased when it is settled, and what it was answered with.
    sa.Column("payload", _LONG_TEXT),
    sa.Column("answer", _LONG_TEXT),
    # What the dispatcher has to do: an answer to send gives the call this state.
    sa.Column("answering", sa.String(24)),
    sa.Column("answering_by", sa.String(250)),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("leased_by", sa.String(64)),
    sa.Column("leased_until", UtcDateTime),
    # The first attempt that may have arrived although nobody knows, and whose it was.
    sa.Column("maybe_sent_at", UtcDateTime),
    sa.Column("maybe_sent_by", sa.String(250)),
    sa.Index("idx_bitrix24_call_state_due", "state", "due_at"),
    # The order of the list, and what a page of it leaves out most often.
    sa.Index("idx_bitrix24_call_received", "received_at", "id", "state", "dag_id"),
    sa.Index("idx_bitrix24_call_run", "dag_id", "run_id"),
    sa.Index("idx_bitrix24_call_process", "process"),
)

refusal_table = sa.Table(
    "bitrix24_refusal",
    metadata,
    # An unknown connection is an empty text: strangers can invent names without end.
    sa.Column("conn_id", sa.String(250), primary_key=True),
    sa.Column("error", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("first_at", UtcDateTime, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
    sa.Column("message", sa.String(500), nullable=False),
)


def call_id_of(event_token: str) -> str:
    """Name a call by its event token: the same call always gets the same name."""
    return hashlib.sha256(event_token.encode()).hexdigest()[:32]


def run_id_of(event_token: str) -> str:
    """Name the DAG run of a call, before there is one."""
    return f"{RUN_ID_PREFIX}{call_id_of(event_token)}"
