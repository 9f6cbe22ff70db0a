"""A call sent again: the same inputs, another run, and no process that waits for it."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.database import reading
from airflow_provider_b24._airflow.run_history import run_history
from airflow_provider_b24.calls.intake import put_on_record
from airflow_provider_b24.calls.new_call import NewCall, UnreadablePayloadError
from airflow_provider_b24.calls.table import call_table
from airflow_provider_b24.robots.call import MalformedCallError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_TOKEN_PREFIX = "again-"  # noqa: S105 - it opens nothing


class NotAgainError(Exception):
    """A call cannot be sent again; says why, and what to do."""


def send_again(name: str | None, conn_id: str) -> str:
    """Put a call on record once more, as one of a process that does not wait.

    Its run is a new one, of the DAG as it is now. Nothing is sent to the portal: ``reply`` notes what it would be.

    :param name: id of the call, the beginning of it, or the id of its run; ``None`` for the connection's last call.
    :return: the id of the new call.
    :raises NotAgainError: when there is no such call, or what it said is gone.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read or written.
    """
    now = dt.datetime.now(dt.UTC)
    with reading() as session:
        row = _find(name, conn_id, session)
        fields = _fields(row, session)
    own = {
        "event_token": f"{_TOKEN_PREFIX}{secrets.token_hex(16)}",
        "ts": str(int(now.timestamp())),
        "use_subscription": "N",
    }
    try:
        call = NewCall(row.conn_id, row.dag_id, {**fields, **own}, now)
    except MalformedCallError as error:
        raise NotAgainError(f"What is on record of call {row.id} is no call any more: {error}") from None
    put_on_record([call])
    return call.id


def _find(name: str | None, conn_id: str, session: Session) -> Any:
    call = call_table.c
    query = sa.select(call_table).order_by(call.received_at.desc(), call.id)
    if name is None:
        row = session.execute(query.where(call.conn_id == conn_id).limit(1)).first()
        if row is None:
            raise NotAgainError(f"No call has come over the connection {conn_id!r} yet.")
        return row
    is_meant = sa.or_(call.id.startswith(name, autoescape=True), call.run_id == name)
    rows = session.execute(query.where(is_meant).limit(2)).all()
    if len(rows) != 1:
        which = "No call has" if not rows else "More than one call has"
        raise NotAgainError(f"{which} the id {name!r}. `airflow-b24 calls` lists them.")
    return rows[0]


def _fields(row: Any, session: Session) -> Mapping[str, Any]:
    """Give what a call said: as it came, or as its run was told after it was settled."""
    if row.payload is not None:
        try:
            return NewCall.from_payload(row.payload).fields
        except UnreadablePayloadError as error:
            raise NotAgainError(f"Call {row.id} cannot be read: {error}.") from None
    run = run_history(row.dag_id, row.run_id, session)
    if run is None:
        raise NotAgainError(
            f"What call {row.id} said is gone: it is settled, and its run was deleted. Let the process call again."
        )
    auth = {name: run.conf[name] for name in ("member_id", "user_id") if run.conf.get(name) is not None}
    return {**run.conf, "auth": auth}
