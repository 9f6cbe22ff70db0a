"""``airflow-b24 dispatcher``: the dispatcher as a process of its own."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from queue import SimpleQueue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Starts runs for robot calls and sends answers until it is told to end. With [bitrix24] dispatcher = command "
        "the API servers leave that to processes like this one; any number may run (on SQLite one works at a time)."
    )


def run(_arguments: argparse.Namespace) -> int:
    """Work until SIGTERM or SIGINT.

    :return: exit code 0.
    """
    from airflow_provider_b24.calls.background import Background
    from airflow_provider_b24.calls.database import make_tables
    from airflow_provider_b24.calls.dispatcher import Dispatcher

    make_tables()
    dispatcher = Dispatcher()
    background = Background([dispatcher.turn])
    # A handler may come in the middle of anything: what it calls must need no lock that its own thread may hold.
    told: SimpleQueue[int] = SimpleQueue()
    before = {
        number: signal.signal(number, lambda by, _: told.put(by))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    sys.stderr.write("The dispatcher works. Ctrl-C ends it.\n")
    try:
        background.start()
        told.get()
    finally:
        background.stop(threading.TIMEOUT_MAX)
        dispatcher.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0
