"""Airflow's audit log: what people have done, and to which run. The same in 3.0 to 3.4."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def write_audit_entry(
    session: Session,
    event: str,
    user: str,
    *,
    dag_id: str | None = None,
    run_id: str | None = None,
    extra: Mapping[str, Any],
) -> None:
    """Add an entry to the audit log; it is there when the session is committed.

    :param event: what was done, at most 60 characters.
    :param user: who did it.
    :param dag_id: to a run of which DAG.
    :param run_id: to which run.
    :param extra: more about it, JSON-safe, without secrets.
    """
    from airflow.models.log import Log

    about: dict[str, Any] = {"owner": user, "owner_display_name": user, "extra": json.dumps(dict(extra))}
    about |= {name: value for name, value in (("dag_id", dag_id), ("run_id", run_id)) if value is not None}
    session.add(Log(event=event, **about))
