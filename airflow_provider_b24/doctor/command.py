"""``airflow-b24 doctor CONN_ID``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_b24.doctor import airflow_checks, call_checks, portal_checks, receiver_checks
from airflow_provider_b24.doctor.examination import Examination
from airflow_provider_b24.doctor.finding import Finding
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID, PortalConnection

if TYPE_CHECKING:
    from airflow_provider_b24.robots.dags_folder import DagsFolder

CHECKS: tuple[Callable[[Examination], Finding], ...] = (
    portal_checks.check_address,
    portal_checks.check_credentials,
    portal_checks.check_scopes,
    portal_checks.check_administrator,
    portal_checks.check_application,
    receiver_checks.check_proof_of_origin,
    receiver_checks.check_uninstall_notice,
    receiver_checks.check_receiver_address,
    receiver_checks.check_receiver_answers,
    receiver_checks.check_way_back,
    portal_checks.check_clock,
    portal_checks.check_limits,
    portal_checks.check_robots,
    call_checks.check_robot_dags,
    call_checks.check_tables,
    call_checks.check_dispatcher,
    call_checks.check_deadlines,
    call_checks.check_waiting_calls,
    call_checks.check_refused_posts,
    call_checks.check_spool,
)

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "bold red", "unknown": "dim"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "conn_id",
        nargs="?",
        default=DEFAULT_CONN_ID,
        metavar="CONN_ID",
        help="Airflow connection (%(default)s)",
    )
    parser.add_argument("--dags-folder", type=Path, help="where the DAG files are (Airflow's DAG folder)")
    parser.add_argument(
        "--round-trip",
        action="store_true",
        help="have the portal post a test event to the receiver (subscribes the application to ONAPPTEST)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Examine a connection and print the findings.

    :return: exit code: 0 when nothing has failed, 1 otherwise.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from airflow_provider_b24.progress import progress

    findings: list[Finding] = []
    try:
        with progress("Checking Airflow") as show:
            for finding in examine(
                arguments.conn_id, dags_folder=arguments.dags_folder, round_trip=arguments.round_trip
            ):
                findings.append(finding)
                show(f"{len(findings)} checks done, the last: {finding.check}")
    except SQLAlchemyError as error:
        findings.append(
            Finding(
                "database",
                "failed",
                f"Airflow's database cannot be read ({type(error).__name__}); nothing else was examined.",
                "Start it, or run `airflow db migrate`; `airflow db check` tries to reach it.",
            )
        )
    healthy = all(finding.verdict != "failed" for finding in findings)
    if arguments.json:
        report = {
            "connection": arguments.conn_id,
            "healthy": healthy,
            "findings": [finding.to_json() for finding in findings],
        }
        print(json.dumps(report, ensure_ascii=False, indent=2))  # noqa: T201
    else:
        _show(findings)
    return 0 if healthy else 1


def examine(
    conn_id: str,
    *,
    dags_folder: Path | None = None,
    declared: DagsFolder | None = None,
    round_trip: bool = False,
    patience: float = 20.0,
) -> Iterator[Finding]:
    """Do all checks, one after the other.

    :param conn_id: the Airflow connection.
    :param dags_folder: where the DAG files are; Airflow's own DAG folder by default.
    :param declared: what they declare, where that is known from elsewhere: then no DAG file is read.
    :param round_trip: whether the portal shall post a test event to the receiver.
    :param patience: seconds to wait for that event.
    """
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_provider_b24.exceptions import ConnectionConfigError

    yield from airflow_checks.check_all()
    try:
        connection = PortalConnection.load(conn_id)
    except (ConnectionConfigError, AirflowException) as error:
        yield Finding(
            "connection",
            "failed",
            str(error),
            "Enter it in Airflow: Admin, Connections, type Bitrix24. docs/installation.md shows every step.",
        )
        return
    kind = "an application" if connection.kind == "oauth" else "an incoming webhook"
    yield Finding("connection", "ok", f"{conn_id} is {kind} of {connection.portal_url}.")
    examination = Examination(connection, dags_folder, round_trip, patience, declared)
    for check in CHECKS:
        yield check(examination)


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "Check", "Finding", box=None, pad_edge=False)
    for finding in findings:
        text = Text(finding.what)
        if finding.advice:
            text.append(f"\n→ {finding.advice}", style="bold")
        table.add_row(Text(finding.verdict, style=_COLOURS[finding.verdict]), Text(finding.check), text)
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no width to fit into
    console.print(table)
