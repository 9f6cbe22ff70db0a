"""Airflow metrics of calls.

===================================  =======  ==============================================================
``bitrix24.robot_calls.spooled``     counter  calls kept in the spool because the database did not take them
``bitrix24.robot_calls.started``     counter  runs that calls have started, with the tag ``dag_id``
``bitrix24.robot_calls.held``        counter  calls whose run cannot be started yet
``bitrix24.robot_calls.settled``     counter  calls that are over, with the tags ``state`` and ``dag_id``
``bitrix24.robot_calls.repeated``    counter  answers of the dispatcher that must be sent again
``bitrix24.robot_calls.start_delay`` timer    from the call's arrival to its run, with the tag ``dag_id``
``bitrix24.robot_calls.open``        gauge    calls that wait for a run or an answer, every 30 seconds
``bitrix24.robot_calls.waiting``     gauge    calls among them that wait for a person, every 30 seconds
===================================  =======  ==============================================================
"""

from __future__ import annotations

import datetime as dt

from airflow_provider_b24._airflow.metrics import harmless, server_stats


def count_spooled() -> None:
    """Count a call that was kept in the spool."""
    with harmless():
        server_stats().incr("bitrix24.robot_calls.spooled")


def count_started(dag_id: str, delay: dt.timedelta) -> None:
    """Count and time a run that a call has started."""
    with harmless():
        server_stats().incr("bitrix24.robot_calls.started", tags={"dag_id": dag_id})
        server_stats().timing("bitrix24.robot_calls.start_delay", delay, tags={"dag_id": dag_id})


def count_held() -> None:
    """Count a call whose run cannot be started yet."""
    with harmless():
        server_stats().incr("bitrix24.robot_calls.held")


def count_settled(dag_id: str, state: str) -> None:
    """Count a call that is over."""
    with harmless():
        server_stats().incr("bitrix24.robot_calls.settled", tags={"dag_id": dag_id, "state": state})


def count_repeated() -> None:
    """Count an answer that must be sent again."""
    with harmless():
        server_stats().incr("bitrix24.robot_calls.repeated")


def show_open(number: int) -> None:
    """Tell how many calls are open."""
    with harmless():
        server_stats().gauge("bitrix24.robot_calls.open", number)


def show_waiting(number: int) -> None:
    """Tell how many calls wait for a person."""
    with harmless():
        server_stats().gauge("bitrix24.robot_calls.waiting", number)
