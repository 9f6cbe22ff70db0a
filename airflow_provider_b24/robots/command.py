"""``airflow-b24 robots plan|apply|list|delete``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_b24.robots.registry import Outcome, Plan, Step

_COLOURS = {"add": "green", "update": "yellow", "delete": "red", "unchanged": "dim"}
_DONE = {"add": "added", "update": "updated", "delete": "deleted"}


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
    for command in (apply, delete):
        command.add_argument("--yes", action="store_true", help="delete without asking")
    delete.add_argument("codes", nargs="+", metavar="CODE", help="code of a registered robot or activity")


def run(arguments: argparse.Namespace) -> int:
    """Run a subcommand.

    :return: exit code: 0 for success, 1 when something could not be done.
    """
    from airflow.providers.common.compat.sdk import AirflowException

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
        _say(f"Error: {error}")
        return 1


def _plan(hook: Bitrix24Hook, arguments: argparse.Namespace) -> int:
    plan = _compare(hook, arguments)
    if arguments.json:
        _print_json(plan.to_json())
    else:
        _show(plan)
    return 1 if plan.broken else 0


def _apply(hook: Bitrix24Hook, arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.robots.registry import apply

    plan = _compare(hook, arguments)
    if not arguments.json:
        _show(plan)
    deletions = plan.of("delete")
    kept: Sequence[Step] = ()
    if deletions and plan.broken:
        _say("Nothing is deleted while DAG files are broken: the robots may be declared there.")
        kept = deletions
    elif deletions and not arguments.yes and not _agreed(deletions):
        kept = deletions
    outcomes = apply(hook, [step for step in plan.steps if step not in kept])
    if arguments.json:
        _print_json(
            {
                **plan.to_json(),
                "robots": [
                    *(outcome.to_json() for outcome in outcomes),
                    *(step.to_json() for step in (*plan.of("unchanged"), *kept)),
                ],
            }
        )
    return _summary(outcomes, len(plan.of("unchanged")), kept, plan)


def _list(hook: Bitrix24Hook, arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.robots.registry import registered_robots

    robots = registered_robots(hook)
    if arguments.json:
        _print_json(
            [{"kind": one.kind, "code": one.code, "ours": one.fingerprint is not None} for one in robots]
        )
        return 0
    rows = [
        (one.kind, one.code, "airflow-b24" if one.fingerprint is not None else "another program")
        for one in robots
    ]
    _print_table(("Kind", "Code", "Registered by"), rows)
    return 0


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


def _compare(hook: Bitrix24Hook, arguments: argparse.Namespace) -> Plan:
    from airflow_provider_b24.robots.dags_folder import read_dags_folder
    from airflow_provider_b24.robots.registry import make_plan

    return make_plan(hook, read_dags_folder(arguments.dags_folder))


def _show(plan: Plan) -> None:
    rows = []
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
