"""``airflow-b24 dev ADDRESS``, ``dev --again`` and ``dev --clean``."""

from __future__ import annotations

import argparse
import datetime as dt
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.robots.registry import RegistryError

if TYPE_CHECKING:
    from airflow_provider_b24.dev.dag_files import DagFilesWatch
    from airflow_provider_b24.dev.live import LiveCalls
    from airflow_provider_b24.dev.session import DevSession
    from airflow_provider_b24.robots.registry import Outcome

_LOOK_SECONDS = 1.0
_LAST = ""
_DONE = {"add": "added", "update": "updated", "delete": "deleted"}
_ENDS_IT = ("SIGINT", "SIGTERM", "SIGHUP")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Registers the robots of the DAG folder in the portal under a prefix of your own, at the public address of a "
        "tunnel to this machine, shows the calls that come, and removes the robots at Ctrl-C. Airflow has to run."
    )
    parser.add_argument(
        "address", nargs="?", metavar="ADDRESS", help="public address of your tunnel: https://name.ngrok.app"
    )
    parser.add_argument("--conn-id", default=DEFAULT_CONN_ID, help="Airflow connection (%(default)s)")
    parser.add_argument("--prefix", help="whose robots these are, in codes and names (your user name)")
    parser.add_argument("--dags-folder", help="where the DAG files are (Airflow's DAG folder)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--again",
        nargs="?",
        const=_LAST,
        metavar="CALL",
        help="only send a call again (the last one): another run, and nothing is sent to the portal",
    )
    instead.add_argument(
        "--clean", action="store_true", help="only remove what a crash has left in the portal"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C, send a call again, or clean up.

    :return: exit code: 0 for success, 1 when something could not be done, 2 for options that make no sense.
    """
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_provider_b24._airflow.connections import in_words
    from airflow_provider_b24.calls.again import NotAgainError
    from airflow_provider_b24.dev.session import PrefixTakenError
    from airflow_provider_b24.exceptions import ConnectionConfigError

    if (arguments.address is None) != (arguments.again is not None or arguments.clean):
        _say(
            "Error: give the address of your tunnel, or --again, or --clean. `airflow-b24 dev --help` says more."
        )
        return 2
    try:
        if arguments.again is not None:
            return _again(arguments)
        return _clean(arguments) if arguments.clean else _serve(arguments)
    except (
        NotAgainError,
        PrefixTakenError,
        RegistryError,
        Bitrix24Error,
        ConnectionConfigError,
        AirflowException,
        OSError,
        ValueError,
    ) as error:
        _say(f"Error: {in_words(error)}")
        return 1


def _again(arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.calls.again import send_again

    call_id = send_again(arguments.again or None, arguments.conn_id)
    _say(
        f"Sent again as call {call_id}. No process waits for it: `airflow-b24 dev` and the call's page in Airflow show "
        "what the answer would be."
    )
    return 0


def _clean(arguments: argparse.Namespace) -> int:
    with _session(arguments) as session:
        return _remove(session, session.clean)


def _serve(arguments: argparse.Namespace) -> int:
    from airflow_provider_b24.dev.address import check_way_back, receiver_address, use_address
    from airflow_provider_b24.dev.dag_files import DagFilesWatch
    from airflow_provider_b24.dev.live import LiveCalls
    from airflow_provider_b24.progress import progress

    receiver = receiver_address(arguments.address)
    use_address(receiver)
    with _until_signal() as over, _session(arguments) as session:
        with progress(f"Having the portal post to {receiver}"):
            findings = list(check_way_back(arguments.conn_id))
        for finding in findings:
            _say(f"{finding.check}: {finding.what}" + (f"\n→ {finding.advice}" if finding.advice else ""))
        if any(finding.verdict == "failed" for finding in findings):
            _say(
                "Nothing was registered. The tunnel has to lead to the port of Airflow's API server on this machine "
                "(8080 by default), which has to run."
            )
            return 1
        if over.is_set():
            return 0
        session.take()
        try:
            # From before the robots are there: the first call may come at once.
            calls = LiveCalls(arguments.conn_id, dt.datetime.now(dt.UTC))
            files = DagFilesWatch(arguments.dags_folder)
            _apply(session, arguments.dags_folder)
            _say("Calls are shown as they come. Ctrl-C removes the robots and ends this.")
            while not over.wait(_LOOK_SECONDS):
                _look(session, calls, files, arguments.dags_folder)
        finally:
            code = _remove(session, session.release)
        return code


def _look(session: DevSession, calls: LiveCalls, files: DagFilesWatch, dags_folder: str | None) -> None:
    """Show what is new of the calls, and register what has changed in the DAG files."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        for line in calls.news():
            print(line, flush=True)  # noqa: T201
        if files.have_changed():
            _register_again(session, dags_folder)
            files.done()
    except SQLAlchemyError as error:
        _say(f"Airflow's database cannot be read now ({type(error).__name__}).")
    except (RegistryError, Bitrix24Error, OSError) as error:
        _say(f"The robots were not registered again, which is tried again in a moment: {error}")


def _register_again(session: DevSession, dags_folder: str | None) -> None:
    try:
        _apply(session, dags_folder)
    except ValueError as error:  # the files have to change again
        _say(f"The robots were not registered again: {error}")


def _apply(session: DevSession, dags_folder: str | None) -> None:
    from airflow_provider_b24.progress import progress
    from airflow_provider_b24.robots.parsed_dags import robot_dags

    with progress("Reading the DAG files"):
        applied = session.apply(dags_folder)
        dags = robot_dags(applied.robots)
    for outcome in applied.outcomes:
        _say(_told(outcome))
    if not applied.robots:
        _say(f"The DAG folder has no robot of the connection {session.hook.bitrix24_conn_id}.")
    for file, error in applied.plan.broken.items():
        _say(f"Broken DAG file {file}:\n{error}")
    for dag in dags.values():
        if dag.trouble is not None:
            _say(f"DAG {dag.dag_id}: {dag.trouble}.")


def _remove(session: DevSession, remove: Callable[[], list[Outcome]]) -> int:
    from airflow_provider_b24.dev.session import PrefixTakenError

    try:
        outcomes = remove()
    except PrefixTakenError:
        raise
    except Exception as error:  # whatever it is, someone has to know that robots are left
        words = str(error) if isinstance(error, (Bitrix24Error, RegistryError)) else type(error).__name__
        _say(f"Error: {words}")
        return _left(session)
    for outcome in outcomes:
        _say(_told(outcome))
    return _left(session) if any(outcome.error is not None for outcome in outcomes) else 0


def _left(session: DevSession) -> int:
    _say(
        f"Robots whose codes begin with {session.prefix.start} are left in the portal. `airflow-b24 dev --clean "
        f"--conn-id {session.hook.bitrix24_conn_id} --prefix {session.prefix.word}` removes them."
    )
    return 1


def _told(outcome: Outcome) -> str:
    step = outcome.step
    if outcome.error is not None:
        return f"Failed to {step.action} {step.kind} {step.code}: {outcome.error}"
    dag = "" if step.dag_id is None else f" (DAG {step.dag_id})"
    return f"{_DONE[step.action].capitalize()} {step.kind} {step.code}{dag}"


@contextmanager
def _session(arguments: argparse.Namespace) -> Iterator[DevSession]:
    from airflow_provider_b24.dev.session import DevSession, own_prefix
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_b24.robots.dev_prefix import DevPrefix

    prefix = own_prefix() if arguments.prefix is None else DevPrefix(arguments.prefix)
    with Bitrix24Hook(arguments.conn_id) as hook:
        yield DevSession(hook, prefix)


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """Give what is set by Ctrl-C, by `kill`, and when the terminal is closed: robots have to be removed then."""
    over = threading.Event()
    numbers = [number for name in _ENDS_IT if (number := getattr(signal, name, None)) is not None]
    before = {number: signal.signal(number, lambda *_: over.set()) for number in numbers}
    try:
        yield over
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
