"""A command of ours as a process of Airflow.

=======  ====================================================================================================
3.0      The log goes to whatever ``sys.stdout`` is when a line is written.
3.0 on   ``_AIRFLOW_PROCESS_CONTEXT=server`` says that the database may be asked for connections, as Airflow's own
         commands do. ``import airflow.settings`` sets up Airflow's log, on the standard output.
3.2 on   The provider key ``cli`` names functions that give commands for ``airflow``. Each command has a list of
         ``Arg``, whose ``add_to_parser`` gets the command's parser. ``suppress_logs_and_warning`` silences the log,
         which goes to the standard output there, and needs a ``verbose`` among the arguments.
3.0-3.2  What is read and loaded is logged at INFO: connections, DAG files, plugins of Alembic.
=======  ====================================================================================================

What is for 3.0 may go when the provider needs 3.1.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any


def become_server_process(*, quiet: bool) -> None:
    """Say, before Airflow is imported, that this process may use its database.

    :param quiet: whether Airflow shall log warnings and errors only: what it reads and loads is no news to whoever
        waits for a table. ``AIRFLOW__LOGGING__LOGGING_LEVEL`` in the environment comes first.
    """
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    if quiet and "airflow" not in sys.modules:
        os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")


def set_up_log() -> None:
    """Set up Airflow's log, and keep it out of the standard output.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot be used.
    """
    with redirect_stdout(sys.stderr):
        import airflow.settings  # noqa: F401
    for handler in logging.getLogger().handlers:
        if getattr(handler, "_use_stderr", True) is False:  # Airflow 3.0
            handler._use_stderr = True  # type: ignore[attr-defined]
    logging.getLogger("airflow_provider_b24").setLevel(logging.INFO)
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    logging.getLogger("airflow.models.variable").addFilter(_is_not_said_again)


@dataclass(frozen=True, slots=True)
class Command:
    """A command of ours, for ``airflow``.

    :param add_arguments: declares its options.
    :param run: does it, and gives the exit code.
    :param logs: whether what is logged is what people want to see of it.
    """

    name: str
    purpose: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    logs: bool = False


def commands_of_airflow(group: str, purpose: str, commands: Iterable[Command]) -> list[Any]:
    """Give commands as ``airflow GROUP NAME`` takes them.

    :return: what the provider key ``cli`` wants.
    """
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand
    from airflow.utils.cli import suppress_logs_and_warning

    class Arguments(Arg):
        """All arguments of a command, declared by the command itself."""

        def __init__(self, declare: Callable[[argparse.ArgumentParser], None]) -> None:
            super().__init__(flags=("arguments",))  # type: ignore[no-untyped-call]
            self._declare = declare

        def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
            parser.set_defaults(verbose=False)
            self._declare(parser)

    def action(command: Command) -> Callable[[argparse.Namespace], None]:
        def run(arguments: argparse.Namespace) -> None:
            raise SystemExit(command.run(arguments))

        return run if command.logs else suppress_logs_and_warning(run)

    actions = [
        ActionCommand(command.name, command.purpose, action(command), [Arguments(command.add_arguments)])
        for command in commands
    ]
    return [GroupCommand(group, purpose, actions)]


def _is_not_said_again(record: logging.LogRecord) -> bool:
    """Leave out what Airflow logs of a database that fails, SQL and all: the same error is raised right after."""
    from sqlalchemy.exc import SQLAlchemyError

    return not (record.exc_info and isinstance(record.exc_info[1], SQLAlchemyError))
