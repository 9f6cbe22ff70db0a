"""``airflow-b24 robots plan|apply|list|delete``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.robots.dev_prefix import is_dev_code

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_b24.robots.dags_folder import DagsFolder, DeclaredRobot
    from airflow_provider_b24.robots.parsed_dags import RobotDag
    from airflow_provider_b24.robots.registry import Outcome, Plan, RegisteredRobot, Step

_COLOURS = {"add": "green", "update": "yellow", "delete": "red", "unchanged": "dim"}
_DONE = {"add": "added", "update": "updated", "delete": "deleted"}
_WAIT_SECONDS = 600.0
_LOOK_SECONDS = 2.0
_TELL_SECONDS = 30.0
_RECEIVER_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    commands = parser.add_subparsers(dest="robots_command", required=True, metavar="COMMAND")
    plan = commands.add_parser("plan", help="show what `apply` would change in the portal; changes nothing")
    apply = commands.add_parser("apply", help="register the robots of the DAG folder in the portal")
    listing = commands.add_parser("list", help="list what this application has registered in the portal")
    delete = commands.add_parser("delete", help="delete registered robots by their codes")
    for command in (plan, apply, listing, delete):
        command.add_argument(
            "--conn-id", default=DEFAULT_CONN_ID, help="Airflow connection of the portal (%(default)s)"
        )
        command.add_argument("--json", action="store_true", help="print JSON")
    for command in (plan, apply):
        command.add_argument("--dags-folder", help="where the DAG files are (Airflow's DAG folder)")
    apply.add_argument(
        "--wait",
        nargs="?",
        type=_seconds,
        const=_WAIT_SECONDS,
        metavar="SECONDS",
        help=f"then wait until Airflow starts runs for the calls of all robots (at most {_WAIT_SECONDS:.0f})",
    )
    for command in (apply, delete):
        command.add_argument("--yes", action="store_true", help="delete without asking")
    delete.add_argument("codes", nargs="+", metavar="CODE", help="code of a registered robot or activity")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Run a subcommand.

    :return: exit code: 0 for success, 1 when something could not be done.
    """
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_provider_b24._airflow.connections import in_words
    from airflow_provider_b24.exceptions import ConnectionConfigError
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_b24.robots.registry import RegistryError

    commands = {"plan": _plan, "apply": _apply, "list": _list, "delete": _delete}
    try:
        with Bitrix24Hook(arguments.conn_id) as hook:
            return commands[arguments.robots_command](hook, arguments)
    except (
        RegistryError,
        Bitrix24Error,
        ConnectionConfigError,
        AirflowException,
        OSError,
        ValueError,
    ) as error:
        _say(f"Error: {in_words(error)}")
        return 1


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What a DAG folder declares, beside what a portal and Airflow's database have.

    :param dags: by DAG id; ``None`` when the database cannot say.
    """

    folder: DagsFolder
    robots: Sequence[DeclaredRobot]
    plan: Plan
    dags: Mapping[str, RobotDag] | None

    def to_json(self, steps: Sequence[Step | Outcome]) -> dict[str, Any]:
        """Give a JSON-safe form, with what was done where it was."""
        rows = [step.to_json() for step in steps]
        for row in rows:
            dag = None if self.dags is None else self.dags.get(row["dag_id"])
            row["dag"] = None if dag is None else dag.to_json()
        return {**self.plan.to_json(), "robots": rows}


def _plan(hook: Bitrix24Hook, arguments: argparse.Namespace) -> int:
    found = _compare(hook, arguments)
    if arguments.json:
        _print_json(found.to_json(found.plan.steps))
    else:
        _show(found)
    return 1 if found.plan.broken else 0


def _apply(hook: Bitrix24Hook, arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.robots.registry import apply

    found = _compare(hook, arguments)
    plan = found.plan
    if not arguments.json:
        _show(found)
    deletions, emptied = plan.of("delete"), False
    kept: Sequence[Step] = ()
    if deletions and plan.broken:
        _say("Nothing is deleted while DAG files are broken: the robots may be declared there.")
        kept = deletions
    elif emptied := bool(deletions) and not found.folder.robots:
        _say(
            f"Nothing is deleted, because there is no robot at all in the DAG folder {found.folder.path}: is it the "
            "right one? If they are to be deleted all the same: `airflow-b24 robots delete "
            f"--conn-id {plan.conn_id} {' '.join(step.code for step in deletions)}`."
        )
        kept = deletions
    elif deletions and not arguments.yes and not _agreed(deletions):
        kept = deletions
    outcomes = apply(hook, [step for step in plan.steps if step not in kept])
    code = _summary(outcomes, len(plan.of("unchanged")), kept, plan) or int(emptied)
    if arguments.wait is not None:
        dags, takes_calls = _wait(found, arguments.wait)
        found = _Comparison(found.folder, found.robots, plan, dags)
        code = code if takes_calls else 1
    if arguments.json:
        _print_json(found.to_json([*outcomes, *plan.of("unchanged"), *kept]))
    return code


def _wait(found: _Comparison, seconds: float) -> tuple[Mapping[str, RobotDag] | None, bool]:
    """Wait until Airflow takes the calls of all robots, or the time is over; say how it goes.

    :return: what Airflow's database said last, and whether it takes them.
    """
    dags, told, ends = found.dags, float("-inf"), time.monotonic() + seconds
    if dags is None:
        _say("Error: without Airflow's database nobody can tell when the robots' DAGs are parsed.")
        return None, False
    while True:
        late = [dag for dag in dags.values() if dag.obstacle is not None]
        silent = None if late else _silent_receiver()
        if not late and silent is None:
            if dags:
                _say("Airflow takes the calls of all robots.")
            return dags, True
        now = time.monotonic()
        if now >= ends:
            if silent is not None:
                _say(f"Error: after {seconds:g} seconds there is no answer from the receiver {silent}.")
            else:
                _say(
                    f"Error: after {seconds:g} seconds Airflow does not take the calls of {len(late)} robots yet:"
                )
            for dag in late:
                _say(f"  {dag.dag_id}: {dag.obstacle}")
            return dags, False
        if now - told >= _TELL_SECONDS:
            names = ", ".join(dag.dag_id for dag in late)
            _say(f"Waiting for Airflow to parse: {names}" if late else f"Waiting for the receiver {silent}")
            told = now
        time.sleep(min(_LOOK_SECONDS, ends - now))
        # A database that is away for a moment ends no waiting.
        dags = _ask_airflow(found.robots) or dags


def _silent_receiver() -> str | None:
    """Name the receiver's address if nobody answers there; ``None`` if someone does, or it cannot be told from here.

    Bitrix24 calls once: a call that comes before the receiver is up is lost. Another machine's address need not be
    one that can be reached from here.
    """
    import requests

    from airflow_provider_b24.hooks.addresses import receiver_url
    from airflow_provider_b24.rest.credentials import is_loopback

    url = receiver_url()
    if not is_loopback(urlsplit(url).hostname or ""):
        return None
    try:
        answer = requests.get(f"{url}/health", timeout=_RECEIVER_SECONDS, allow_redirects=False)
    except requests.RequestException:
        return url
    return None if answer.status_code == 200 else url


def _list(hook: Bitrix24Hook, arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.robots.registry import registered_robots

    robots = registered_robots(hook)
    if arguments.json:
        _print_json(
            [{"kind": one.kind, "code": one.code, "ours": one.fingerprint is not None} for one in robots]
        )
        return 0
    rows = [(one.kind, one.code, _registered_by(one)) for one in robots]
    _print_table(("Kind", "Code", "Registered by"), rows)
    return 0


def _registered_by(robot: RegisteredRobot) -> str:
    if robot.fingerprint is None:
        return "another program"
    return "airflow-b24 dev" if is_dev_code(robot.code) else "airflow-b24"


def _delete(hook: Bitrix24Hook, arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.robots.registry import Step, apply, registered_robots

    registered = registered_robots(hook)
    steps = [Step("delete", one.kind, one.code) for one in registered if one.code in arguments.codes]
    if unknown := sorted(set(arguments.codes) - {step.code for step in steps}):
        _say(f"Error: not registered by this application: {', '.join(unknown)}. Nothing was deleted.")
        return 1
    if not arguments.yes and not _agreed(steps):
        return 1
    outcomes = apply(hook, steps)
    if arguments.json:
        _print_json([outcome.to_json() for outcome in outcomes])
    return _summary(outcomes, 0, ())


def _compare(hook: Bitrix24Hook, arguments: argparse.Namespace) -> _Comparison:
    from airflow_provider_b24.progress import progress
    from airflow_provider_b24.robots.dags_folder import read_dags_folder
    from airflow_provider_b24.robots.registry import make_plan

    with progress("Reading the DAG files") as show:
        folder = read_dags_folder(arguments.dags_folder)
        show("Asking the portal")
        plan = make_plan(hook, folder)
        show("Asking Airflow's database")
        robots = folder.of_connection(hook.bitrix24_conn_id)
        dags = _ask_airflow(robots)
    if dags is None:
        _say("Airflow's database cannot be read: whether the robots' DAGs are parsed is not known.")
    return _Comparison(folder, robots, plan, dags)


def _ask_airflow(robots: Sequence[DeclaredRobot]) -> Mapping[str, RobotDag] | None:
    """Ask about the robots' DAGs; robots can be registered without Airflow's database, too."""
    from sqlalchemy.exc import SQLAlchemyError

    from airflow_provider_b24._airflow.database import DatabaseHangsError
    from airflow_provider_b24.robots.parsed_dags import robot_dags

    try:
        return robot_dags(robots)
    except (SQLAlchemyError, DatabaseHangsError):
        return None


def _show(found: _Comparison) -> None:
    plan, rows = found.plan, []
    for step in plan.steps:
        details = [step.note] if step.note else []
        if step.action == "update" and step.note is None:
            details.append(", ".join(map(str, step.changes)))
        rows.append((step.action, step.kind, step.code, step.dag_id or "", "; ".join(details)))
    if rows:
        _print_table(("Action", "Kind", "Code", "DAG", "What"), rows)
    else:
        print(f"Neither the DAG folder nor the portal has a robot of the connection {plan.conn_id}.")  # noqa: T201
    for file, error in plan.broken.items():
        _say(f"Broken DAG file {file}:\n{error}")
    if rows and not plan.changes_something:
        print("Nothing to do.")  # noqa: T201
    for dag in (found.dags or {}).values():
        if dag.trouble is not None:
            print(f"DAG {dag.dag_id}: {dag.trouble}.")  # noqa: T201


def _summary(
    outcomes: Sequence[Outcome], unchanged: int, kept: Sequence[Step], plan: Plan | None = None
) -> int:
    """Report on standard error, so that JSON stays JSON.

    :return: exit code.
    """
    counts = dict.fromkeys(_DONE, 0)
    for outcome in outcomes:
        if outcome.error is None:
            counts[outcome.step.action] += 1
        else:
            _say(f"Failed to {outcome.step.action} {outcome.step.kind} {outcome.step.code}: {outcome.error}")
    failed = sum(outcome.error is not None for outcome in outcomes)
    words = [f"{counts[action]} {done}" for action, done in _DONE.items()]
    words += [f"{unchanged} unchanged"] if plan else []
    words += [f"{len(kept)} not deleted"] if kept else []
    words += [f"{failed} failed"] if failed else []
    words += [f"{len(plan.broken)} DAG files broken"] if plan and plan.broken else []
    _say(", ".join(words))
    return 1 if failed or (plan and plan.broken) else 0


def _agreed(steps: Sequence[Step]) -> bool:
    """Ask; a command that nobody watches must say ``--yes``."""
    names = ", ".join(step.code for step in steps)
    if not sys.stdin.isatty():
        _say(f"Not deleted without --yes: {names}.")
        return False
    _say(f"To be deleted: {names}. Processes that use them can no longer call them. Delete? [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)  # noqa: T201


def _print_json(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=2))  # noqa: T201


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(Text(row[0], style=_COLOURS.get(row[0], "")), *(Text(cell) for cell in row[1:]))
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no width to fit into
    console.print(table)
