"""The checks of Airflow itself: its version, its database, its processes, and what it loads beside the robots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from airflow_provider_b24._airflow.database import is_sqlite
from airflow_provider_b24._airflow.jobs import AirflowJob, heartbeat_of
from airflow_provider_b24._airflow.versions import airflow_version, full_version, gaps, untested
from airflow_provider_b24.doctor.finding import Finding

_PROCESSES: tuple[tuple[AirflowJob, str, str, Literal["failed", "warning"], str], ...] = (
    ("SchedulerJob", "scheduler", "airflow scheduler", "failed", "runs begin, but no task of theirs"),
    (
        "DagProcessorJob",
        "DAG processor",
        "airflow dag-processor",
        "failed",
        "new robots and changes of old ones are not seen",
    ),
    (
        "TriggererJob",
        "triggerer",
        "airflow triggerer",
        "warning",
        "tasks that are deferred wait forever, and so do their processes",
    ),
)


def check_all() -> Iterator[Finding]:
    """Do all checks that need no connection.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be read.
    """
    yield check_airflow()
    processes = [
        _check_process(job, check, command, verdict, without)
        for job, check, command, verdict, without in _PROCESSES
    ]
    yield check_database()
    yield from processes
    yield check_examples()


def check_airflow() -> Finding:
    """Check the version of Airflow, and say what the provider cannot do with it."""
    check, version = "Airflow", full_version()
    lacks = " ".join(gaps(airflow_version()))
    if said := untested(version):
        return Finding(
            check, "warning", f"{said} {lacks}".strip(), "docs/compatibility.md has what was tested."
        )
    if lacks:
        return Finding(check, "ok", f"Airflow {version}, an older one. {lacks}")
    return Finding(check, "ok", f"Airflow {version}; nothing of the provider is missing with it.")


def check_database() -> Finding:
    """Check that Airflow's database is one for more than trying things out."""
    check = "database"
    if not is_sqlite():
        return Finding(check, "ok", "Airflow's database can be read.")
    return Finding(
        check,
        "warning",
        "Airflow's database is SQLite: good for trying things out, on one machine and with few calls.",
        "Use PostgreSQL or MySQL where people wait for answers: [database] sql_alchemy_conn.",
    )


def check_examples() -> Finding:
    """Check that Airflow does not load its examples beside the robots."""
    from airflow.providers.common.compat.sdk import conf

    check = "examples"
    if not conf.getboolean("core", "load_examples", fallback=False):
        return Finding(check, "ok", "Airflow loads no examples beside your DAGs.")
    return Finding(
        check,
        "warning",
        "Airflow loads the examples of all its providers beside your DAGs: robots are parsed later, and hard to find "
        "among them.",
        "Set [core] load_examples to False, and restart Airflow.",
    )


def _check_process(
    job: AirflowJob, check: str, command: str, verdict: Literal["failed", "warning"], without: str
) -> Finding:
    heartbeat = heartbeat_of(job)
    if heartbeat.is_alive:
        return Finding(check, "ok", "It works.")
    when = "never yet" if heartbeat.at is None else f"not since {heartbeat.at:%Y-%m-%d %H:%M:%S} UTC"
    return Finding(
        check,
        verdict,
        f"Nothing is heard of it, {when}. Without it {without}.",
        f"Start it (`{command}`; `airflow standalone` starts all), and let something that restarts it look after it. "
        "If it runs, see in its log whether it reaches this database.",
    )
