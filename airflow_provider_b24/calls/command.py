"""``airflow-b24 calls``, ``calls answer`` and ``calls retry``."""

from __future__ import annotations

import argparse
import datetime as dt
import getpass
import json
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_b24.calls.listing import CallFilter, CallReport

_STATES = (
    "received",
    "running",
    "answered",
    "failure-answered",
    "answered-by-hand",
    "too-late",
    "not-awaited",
)
_COLOURS = {
    "answered": "green",
    "answered-by-hand": "green",
    "failure-answered": "yellow",
    "received": "cyan",
    "too-late": "red",
}
_AGO = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the list, and the subcommands that answer and retry."""
    _add_filters(parser, since="1d")
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="calls_command", metavar="answer|retry")
    answer = commands.add_parser("answer", help="answer a call by hand")
    answer.add_argument("call", metavar="CALL", help="id of the call, or of the run that it started")
    answer.add_argument(
        "--value",
        action="append",
        type=key_and_text,
        metavar="KEY=VALUE",
        help="a return property; again for each value of a multiple one",
    )
    answer.add_argument("--on-failure", action="store_true", help="answer with the robot's on_failure values")
    answer.add_argument("--message", help="text for the log of the process")
    retry = commands.add_parser("retry", help="send at once what waits for a person to fix something")
    retry.add_argument("call", metavar="CALL", nargs="*", help="id of a call, or of its run (all that wait)")


def _add_filters(parser: argparse.ArgumentParser, since: str) -> None:
    parser.add_argument(
        "--since",
        type=moment,
        default=since,
        help="ISO 8601 time, or how long ago: 90m, 12h, 7d, 2w (%(default)s)",
    )
    parser.add_argument("--until", type=moment, help="likewise (now)")
    parser.add_argument(
        "--state", action="append", choices=_STATES, metavar="STATE", help=f"only these: {', '.join(_STATES)}"
    )
    parser.add_argument("--robot", action="append", metavar="CODE", help="only calls of this robot")
    parser.add_argument("--dag-id", action="append", help="only calls of this DAG")
    parser.add_argument("--conn-id", action="append", help="only calls over this connection")
    parser.add_argument("--process", metavar="ID", help="only calls of this process")
    parser.add_argument("--document", metavar="ID", help="only calls for this document, such as LEAD_77")


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
    """List calls, answer one, or try again.

    :return: exit code: 0 for success, 1 when something could not be done, 2 for options that make no sense.
    """
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_provider_b24.calls.answering import AnswerRefusedError
    from airflow_provider_b24.exceptions import Bitrix24Error

    do = {"answer": _answer, "retry": _retry}.get(arguments.calls_command, _list)
    try:
        return do(arguments)
    except (AnswerRefusedError, Bitrix24Error, AirflowException) as error:
        _say(f"Error: {error}")
    return 1


def _filter(arguments: argparse.Namespace, since: dt.datetime | None) -> CallFilter:
    from airflow_provider_b24.calls.listing import CallFilter

    return CallFilter(
        since=since,
        until=arguments.until,
        states=arguments.state or (),
        dag_ids=arguments.dag_id or (),
        codes=arguments.robot or (),
        conn_ids=arguments.conn_id or (),
        process=arguments.process,
        document=arguments.document,
    )


def _list(arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.calls.listing import list_calls, list_refusals

    calls = list(list_calls(_filter(arguments, arguments.since)))
    if arguments.json:
        sys.stdout.write(json.dumps([call.to_json() for call in calls], indent=2) + "\n")
        return 0
    if not calls:
        _say(f"No such call has come since {_time(arguments.since)} (UTC). For older ones: --since 30d")
    else:
        _show(calls)
    for refused in list_refusals(arguments.since):
        _say(
            f"Refused: {refused.number} posts for {refused.conn_id or 'connections that do not exist'} "
            f"({refused.error}) since {_time(refused.first_at)}, the last at {_time(refused.last_at)}: "
            f"{refused.message}"
        )
    return 0


def _answer(arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.calls.answering import how_it_ended
    from airflow_provider_b24.calls.by_hand import answer_by_hand
    from airflow_provider_b24.calls.table import OPEN_STATES

    if arguments.on_failure and arguments.value:
        _say("Error: --value and --on-failure exclude each other")
        return 2
    values: dict[str, list[str]] = {}
    for key, text in arguments.value or ():
        values.setdefault(key, []).append(text)
    user = getpass.getuser()
    sent, call = answer_by_hand(
        arguments.call,
        None if arguments.on_failure else values,
        user=user,
        log_message=arguments.message,
    )
    if call.state == "answered-by-hand" and call.answered_by == f"hand:{user}":
        _say(f"The portal has taken the answer: {json.dumps(sent, ensure_ascii=False)}")
        return 0
    why = call.last_error or call.reason or ""
    if call.state in OPEN_STATES:
        _say(f"Error: the portal has not taken the answer yet; the dispatcher goes on trying. {why}")
    elif call.state == "too-late":
        _say(f"Error: the answer was not taken, nobody waits any more. {why}")
    else:
        _say(f"Error: the answer was not taken: {how_it_ended(call)} {why}")
    return 1


def _retry(arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.calls.by_hand import NOTHING_TO_RETRY, retry_now
    from airflow_provider_b24.calls.listing import find_call

    if unknown := [name for name in arguments.call if find_call(name) is None]:
        _say(f"Error: there is no call {', '.join(unknown)}. List calls with: airflow-b24 calls")
        return 1
    number = retry_now(_filter(arguments, None), arguments.call)
    words = "1 call is tried again now." if number == 1 else f"{number} calls are tried again now."
    _say(words if number else NOTHING_TO_RETRY)
    return 0


def _show(calls: Iterable[CallReport]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    counts: dict[str, int] = {}
    table = Table(box=None, header_style="bold")
    for title in (
        "Received (UTC)",
        "Call",
        "Robot",
        "State",
        "Answered",
        "Process",
        "Document",
        "Answer by",
        "Why",
    ):
        table.add_column(title, overflow="fold")
    for call in calls:
        counts[call.state] = counts.get(call.state, 0) + 1
        colour = _COLOURS.get(call.state, "none")
        by = f"{_time(call.answered_at)} {call.answered_by}".strip() if call.answered_by else ""
        table.add_row(
            _time(call.received_at),
            call.id,
            escape(call.code),
            f"[{colour}]{call.state}[/]",
            escape(by),
            escape(call.process),
            escape(call.document_id),
            _time(call.answer_by),
            escape("; ".join(part for part in (call.reason, call.last_error) if part)),
        )
    console = Console(width=None if sys.stdout.isatty() else 260, highlight=False)
    console.print(table)
    _say(", ".join(f"{number} {state}" for state, number in counts.items()))


def _time(time: dt.datetime | None) -> str:
    return "" if time is None else f"{time.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
