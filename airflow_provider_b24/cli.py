"""The command `airflow-b24`: what it offers, and where each part of it lives; and the same as `airflow bitrix24`.

Subcommands are imported when they are called: `airflow-b24 --help` must not wait for Airflow.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from airflow_provider_b24 import __version__
from airflow_provider_b24._airflow.command_line import (
    Command,
    become_server_process,
    commands_of_airflow,
    set_up_log,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_provider_b24.sandbox import SandboxPortal


class _AirflowCommand(Protocol):
    """A module that a subcommand lives in."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it and give the exit code."""


_DISPATCHER = "dispatcher"

#: Subcommands that work with Airflow: where each lives, and what it is good for.
_AIRFLOW_COMMANDS = {
    "robots": ("robots.command", "compare the robots of your DAGs with a portal, and register them"),
    "calls": ("calls.command", "list robot calls and what became of them; answer one by hand; try again"),
    _DISPATCHER: (
        "calls.dispatcher_command",
        "start runs for calls and send answers, as a process of its own",
    ),
    "connect": ("installation.command", "connect an application to a portal, from this terminal"),
    "dev": ("dev.command", "try the robots of this machine at a real portal, through a tunnel; until Ctrl-C"),
    "doctor": ("doctor.command", "check a connection, and say what to do about what is wrong"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :param arguments: without the program's name; the process's own by default.
    :returns: exit code: 0 for success, 1 for a failure, 2 for a command line that makes no sense, 130 for Ctrl-C.
    """
    chosen = _command_line(sys.argv[1:] if arguments is None else arguments)
    try:
        if chosen.command in _AIRFLOW_COMMANDS:
            return _run_with_airflow(chosen.command, chosen)
        if chosen.command == "sandbox":
            return _sandbox(chosen)
        return _demo(chosen)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"Error: `airflow-b24 {chosen.command}` needs the Python package {error.name}, which is not installed "
            "here. `pip install airflow-provider-b24`, without --no-deps, installs all that it needs.\n"
        )
        return 1


def airflow_commands() -> list[object]:
    """Give what works with Airflow to `airflow`, as `airflow bitrix24 COMMAND`; Airflow 3.2 and later asks."""
    commands = [
        Command(
            name,
            purpose,
            _airflow_command(name).add_arguments,
            partial(_run_with_airflow, name),
            logs=name == _DISPATCHER,
        )
        for name, (_, purpose) in _AIRFLOW_COMMANDS.items()
    ]
    return commands_of_airflow("bitrix24", "Robots of Bitrix24, their calls and answers", commands)


def _command_line(arguments: Sequence[str]) -> argparse.Namespace:
    return command_parser(arguments[:1]).parse_args(arguments)


def command_parser(commands_to_load: Collection[str] = tuple(_AIRFLOW_COMMANDS)) -> argparse.ArgumentParser:
    """Make the parser of ``airflow-b24``.

    :param commands_to_load: names of commands whose options are wanted; to know them their modules are imported.
    """
    parser = argparse.ArgumentParser(
        prog="airflow-b24",
        description="Apache Airflow and Bitrix24: robots as code, and a portal to try them on.",
    )
    parser.add_argument("--version", action="version", version=f"airflow-provider-b24 {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, purpose) in _AIRFLOW_COMMANDS.items():
        subparser = commands.add_parser(name, help=purpose)
        if name in commands_to_load:
            _airflow_command(name).add_arguments(subparser)
    _add_sandbox(commands.add_parser("sandbox", help="run a Bitrix24 portal on this machine until Ctrl-C"))
    demo = commands.add_parser(
        "demo", help="watch the whole loop: a robot calls, a DAG works, the process goes on"
    )
    demo.add_argument(
        "--keep", action="store_true", help="stay up afterwards and print the addresses, until Ctrl-C"
    )
    return parser


def _airflow_command(name: str) -> _AirflowCommand:
    return cast("_AirflowCommand", import_module(f"airflow_provider_b24.{_AIRFLOW_COMMANDS[name][0]}"))


def _run_with_airflow(name: str, chosen: argparse.Namespace) -> int:
    become_server_process(quiet=name != _DISPATCHER)
    from sqlalchemy.exc import SQLAlchemyError

    from airflow_provider_b24.progress import progress

    try:
        with progress("Loading Airflow"):
            set_up_log()
            command = _airflow_command(name)
        return command.run(chosen)
    except SQLAlchemyError as error:  # its own text has the statement in it, values and all
        sys.stderr.write(
            f"Error: Airflow's database cannot be read or written ({type(error).__name__}). Is it up, and has "
            "`airflow db migrate` been run? `airflow db check` tries to reach it; `airflow-b24 doctor` says what is "
            "missing.\n"
        )
        return 1


def _add_sandbox(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="port to listen on (a free one)")
    parser.add_argument(
        "--tariff", choices=("standard", "enterprise"), default="standard", help="request limit"
    )
    parser.add_argument(
        "--https", action="store_true", help="speak TLS with a certificate made for the purpose"
    )
    parser.add_argument(
        "--answers",
        choices=("portal", "older-portal", "documentation"),
        default="portal",
        help="what it says to an answer that no step waits for (as %(default)s)",
    )
    parser.add_argument(
        "--authorization",
        choices=("portal", "documentation"),
        default="portal",
        help="what it says to wrong credentials (as %(default)s)",
    )
    parser.add_argument("--https-required", action="store_true", help="refuse plain HTTP, as portals do")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="keep everything in this SQLite file, and go on with what is in it; it is made if it is missing",
    )
    kept.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="keep webhook and application in this file, for the next start; it is made if it is missing",
    )
    parser.add_argument(
        "--seed",
        type=Path,
        metavar="FILE",
        help="begin with the records and the automation in this JSON file",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print no line for each request, call and answer"
    )
    parser.add_argument(
        "--no-limits", action="store_true", help="never answer that there were too many requests"
    )
    parser.add_argument(
        "--airflow",
        metavar="URL",
        default="http://127.0.0.1:8080",
        help="where your Airflow is or will be, for what is printed (%(default)s)",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _sandbox(chosen: argparse.Namespace) -> int:
    import signal
    import threading

    from airflow_provider_b24.sandbox import serve

    over = threading.Event()
    # Both, as SIGINT is ignored in what a shell starts in the background.
    previous = {
        number: signal.signal(number, lambda *_: over.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        serve.run(
            chosen.host,
            chosen.port,
            tariff=chosen.tariff,
            https=chosen.https,
            limits=not chosen.no_limits,
            answers=chosen.answers,
            authorization=chosen.authorization,
            https_required=chosen.https_required,
            credentials=chosen.credentials,
            seed=chosen.seed,
            state=chosen.state,
            tell=None if chosen.quiet else _print_line,
            announce=partial(_announce, airflow=chosen.airflow.rstrip("/")),
            stop=over,
        )
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        what = f"use {error.filename}" if error.filename else f"listen on {chosen.host}:{chosen.port}"
        # asyncio repeats the address in brackets.
        reason = (error.strerror or str(error)).partition(" (while attempting")[0]
        sys.stderr.write(f"cannot {what}: {reason}\n")
        return 1
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def _print_line(line: str) -> None:
    # Whoever read along is gone: the portal goes on.
    with suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _demo(chosen: argparse.Namespace) -> int:
    from airflow_provider_b24 import demo

    return demo.run(keep=chosen.keep)


def _announce(portal: SandboxPortal, airflow: str) -> None:
    from urllib.parse import urlsplit

    from airflow_provider_b24.testing.sandbox_connection import as_environment, oauth_connection

    variables = as_environment(oauth_connection(portal)) | {
        "AIRFLOW__API__BASE_URL": airflow,
        # Airflow's own are parsed first, and there are many.
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    address = urlsplit(airflow)
    if address.scheme == "http" and address.port not in (None, 8080):
        variables["AIRFLOW__API__PORT"] = str(address.port)
    exports = "".join(f"  export {name}='{value}'\n" for name, value in variables.items())
    steps = '{"steps": [{"type": "call_robot", "code": "score_lead", "properties": {"budget": 60000}}]}'
    sys.stdout.write(
        f"A Bitrix24 portal is at {portal.url}/ - a page with what happens in it. Ctrl-C ends it.\n\n"
        f"Incoming webhook:\n  {portal.webhook.url}\n\n"
        f"For the terminals of `airflow standalone` and `airflow-b24 robots apply`: a connection as the portal's\n"
        f"application, and where the portal finds the Airflow (another address: --airflow):\n{exports}\n"
        f"Start a process that calls a robot:\n"
        f"  curl -H 'Content-Type: application/json' -d '{steps}' {portal.url}/sandbox/processes\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
