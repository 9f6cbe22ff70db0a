"""``airflow-b24 calls`` and ``airflow-b24 calls answer``."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_b24.robots.calls import CallReport

_STATES = ("running", "answered", "failure-answered", "unanswered", "refused", "not-awaited")
_COLOURS = {"answered": "green", "failure-answered": "yellow", "unanswered": "red", "refused": "red"}
_AGO = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the list, and the subcommand that answers."""
    parser.add_argument(
        "--since",
        type=moment,
        default="1d",
        help="ISO 8601 time, or how long ago: 90m, 12h, 7d, 2w (%(default)s)",
    )
    parser.add_argument("--until", type=moment, default="0m", help="likewise (now)")
    parser.add_argument(
        "--state", action="append", choices=_STATES, metavar="STATE", help=f"only these: {', '.join(_STATES)}"
    )
    parser.add_argument("--dag-id", action="append", help="only calls of this DAG")
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="calls_command", metavar="answer")
    answer = commands.add_parser("answer", help="answer a call by hand")
    answer.add_argument("run_id", metavar="RUN_ID", help="the run that the call started")
    answer.add_argument("--dag-id", dest="of_dag", help="where several DAGs have a run of this id")
    answer.add_argument(
        "--value",
        action="append",
        type=key_and_text,
        metavar="KEY=VALUE",
        help="a return property; again for each value of a multiple one",
    )
    answer.add_argument("--on-failure", action="store_true", help="answer with the robot's on_failure values")
    answer.add_argument("--message", help="text for the log of the process")


def moment(text: str) -> dt.datetime:
    """Read a point in time: ISO 8601, or how long ago.

    :raises argparse.ArgumentTypeError: when it is neither.
    """
    now = dt.datetime.now(dt.UTC)
    try:
        if ago := _AGO.fullmatch(text):
            return now - dt.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        time = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: give 2026-05-04, 2026-05-04T10:30, or 90m, 12h, 7d, 2w ago"
        ) from None
    return time.astimezone(dt.UTC)  # without an offset it is this machine's time


def key_and_text(text: str) -> tuple[str, str]:
    """Read ``KEY=VALUE``.

    :raises argparse.ArgumentTypeError: when it is something else.
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def run(arguments: argparse.Namespace) -> int:
    """List calls, or answer one.

    :return: exit code: 0 for success, 1 when something could not be done, 2 for options that make no sense.
    """
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_provider_b24.exceptions import Bitrix24Error
    from airflow_provider_b24.robots.calls import CallError

    try:
        return _answer(arguments) if arguments.calls_command == "answer" else _list(arguments)
    except (CallError, Bitrix24Error, AirflowException) as error:
        _say(f"Error: {error}")
    return 1


def _list(arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.robots.calls import STATES, calls_between

    calls = calls_between(
        arguments.since,
        arguments.until,
        states=arguments.state or STATES,
        dag_ids=arguments.dag_id or (),
    )
    if arguments.json:
        sys.stdout.write(json.dumps([call.to_json() for call in calls], indent=2) + "\n")
    else:
        _show(calls)
    return 0


def _answer(arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.robots.calls import answer_by_hand

    if arguments.on_failure and arguments.value:
        _say("Error: --value and --on-failure exclude each other")
        return 2
    values: dict[str, list[str]] = {}
    for key, text in arguments.value or ():
        values.setdefault(key, []).append(text)
    sent = answer_by_hand(
        arguments.run_id,
        None if arguments.on_failure else values,
        log_message=arguments.message,
        dag_id=arguments.of_dag,
    )
    _say(f"The process has its answer: {json.dumps(sent, ensure_ascii=False)}")
    return 0


def _show(calls: Iterable[CallReport]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    counts: dict[str, int] = {}
    table = Table(box=None, header_style="bold")
    for title in ("Received (UTC)", "DAG", "Run", "State", "Answered", "Run state", "Process", "Waits until"):
        table.add_column(title, overflow="fold")
    for call in calls:
        counts[call.state] = counts.get(call.state, 0) + 1
        colour = _COLOURS.get(call.state, "none")
        by = f"{_time(call.answered_at)} {call.answered_by}".strip() if call.answered_by else ""
        table.add_row(
            _time(call.received_at),
            call.dag_id,
            call.run_id,
            f"[{colour}]{call.state}[/]",
            by,
            call.run_state,
            escape(call.workflow_id),
            _time(call.deadline),
        )
    console = Console(width=None if sys.stdout.isatty() else 220, highlight=False)
    if counts:
        console.print(table)
    _say(", ".join(f"{number} {state}" for state, number in counts.items()) or "No calls.")


def _time(time: dt.datetime | None) -> str:
    return "" if time is None else f"{time.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
