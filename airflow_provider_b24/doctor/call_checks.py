"""Checks of the calls: whether they are on record, whether someone works on them, and which wait for a person."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_b24.doctor.finding import Finding

if TYPE_CHECKING:
    from airflow_provider_b24.doctor.examination import Examination

_OVERDUE = dt.timedelta(minutes=1)
_REFUSED_SINCE = dt.timedelta(days=1)
_DEADLINES_SINCE = dt.timedelta(days=7)
_DISPATCHER_SILENT = dt.timedelta(seconds=90)
_SHOWN = 3


def check_robot_dags(examination: Examination) -> Finding:
    """Check that Airflow starts runs of the robots' DAGs, as the DAG files declare them."""
    from airflow_provider_b24.robots.definition import RobotDefinitionError
    from airflow_provider_b24.robots.parsed_dags import robot_dags

    check, conn_id = "robot DAGs", examination.connection.conn_id
    try:
        robots = examination.folder.of_connection(conn_id)
    except (RobotDefinitionError, OSError) as error:
        return Finding(check, "unknown", f"Not checked: {error}")
    dags = robot_dags(robots).values()
    troubles = [f"{dag.dag_id}: {dag.trouble}" for dag in dags if dag.trouble is not None]
    if not troubles:
        words = "the robot's DAG" if len(dags) == 1 else f"the DAGs of all {len(dags)} robots"
        return Finding(check, "ok", f"Airflow has parsed {words}.")
    return Finding(
        check,
        "warning",
        f"{'; '.join(troubles)}.",
        "See that the DAG processor runs; new files are looked for every [dag_processor] refresh_interval seconds. "
        "`airflow dags list-import-errors` shows broken files, `airflow dags unpause DAG_ID` ends a pause.",
    )


def check_tables(examination: Examination) -> Finding:
    """Check that Airflow's database has the tables that calls are put on record in."""
    check = "tables"
    if examination.has_tables:
        return Finding(check, "ok", "Calls are put on record in Airflow's database.")
    return Finding(
        check,
        "failed",
        "The provider's tables in Airflow's database are missing, or of another version: calls wait in the spool.",
        "Run `airflow db migrate`, or restart the API server: it makes them at its start.",
    )


def check_dispatcher(examination: Examination) -> Finding:
    """Check that a dispatcher works, and that no call waits for one: what is due is done within seconds."""
    from airflow_provider_b24._airflow.jobs import dispatcher_heartbeat
    from airflow_provider_b24.calls.listing import overdue_calls

    check = "dispatcher"
    if not examination.has_tables:
        return _no_tables(check)
    number, since = overdue_calls(_OVERDUE)
    heartbeat = dispatcher_heartbeat(_DISPATCHER_SILENT)
    if heartbeat.is_alive and since is None:
        return Finding(check, "ok", "It works, and no call waits for it.")
    if heartbeat.is_alive:
        state = "It works, but"
    elif heartbeat.at is None:
        state = "None has worked yet:"
    else:
        state = f"None has worked since {heartbeat.at:%Y-%m-%d %H:%M:%S} UTC:"
    waiting = "calls will wait" if since is None else f"{_calls(number)} for it, since {_time(since)} UTC"
    return Finding(check, "failed", f"{state} {waiting}.", _how_to_start_a_dispatcher())


def check_deadlines(examination: Examination) -> Finding:
    """Check that robots leave time for their answer, and that processes with a time limit got theirs in time."""
    from airflow_provider_b24.calls.listing import missed_limits
    from airflow_provider_b24.robots.definition import LEAST_MARGIN, RobotDefinitionError

    check, conn_id = "time limits", examination.connection.conn_id
    try:
        robots = [robot.definition for robot in examination.folder.of_connection(conn_id)]
    except (RobotDefinitionError, OSError) as error:
        return Finding(check, "unknown", f"Not checked: {error}")
    narrow = [
        f"{robot.code} ({robot.answer_before_limit:g} s)"
        for robot in robots
        if robot.answer_before_limit and 1 != robot.answer_before_limit < LEAST_MARGIN
    ]
    if narrow:
        return Finding(
            check,
            "warning",
            f"answer_before_limit leaves little time for an answer to arrive: {', '.join(narrow)}.",
            f"Give it {LEAST_MARGIN:g} seconds or more, or True: then Airflow may be busy, and the portal, too.",
        )
    if not examination.has_tables:
        return _no_tables(check)
    missed = missed_limits(conn_id, dt.datetime.now(dt.UTC) - _DEADLINES_SINCE)
    if not missed:
        return Finding(
            check, "ok", "In the last week, answers were ready before the time limits of their processes."
        )
    told = "; ".join(f"{one.code}: {one.number} of {one.calls} calls" for one in missed[:_SHOWN])
    return Finding(
        check,
        "warning",
        f"Of processes with a time limit, some waited no more, or got on_failure shortly before its end. {told} of "
        "the last week.",
        "Give the robot's step a longer time limit in Bitrix24, or make the DAG faster; `airflow-b24 calls --conn-id "
        f"{conn_id} --since 1w` lists them. docs/robots.md, Time limits, tells of answer_before_limit.",
    )


def check_waiting_calls(examination: Examination) -> Finding:
    """Check that no call waits for a person: to fix something, or to unpause its DAG."""
    from airflow_provider_b24.calls.listing import list_waiting

    check, conn_id = "waiting calls", examination.connection.conn_id
    if not examination.has_tables:
        return _no_tables(check)
    calls = list_waiting(conn_id)
    if not calls:
        return Finding(check, "ok", "No call waits for a person.")
    whys = (
        f"{call.dag_id}: {'; '.join(part for part in (call.reason, call.last_error) if part)}"
        for call in calls
    )
    return Finding(
        check,
        "failed",
        f"{_calls(len(calls))}, the first since {_time(calls[0].received_at)} UTC. {_most_common(whys)}",
        f"`airflow-b24 calls --conn-id {conn_id} --since 4w` lists them. Fix what they wait for; then "
        "`airflow-b24 calls retry` tries at once, and `airflow-b24 calls answer` answers by hand.",
    )


def check_refused_posts(examination: Examination) -> Finding:
    """Check that no post to the receiver was refused in the last day."""
    from airflow_provider_b24.calls.listing import list_refusals

    check, conn_id = "refused posts", examination.connection.conn_id
    if not examination.has_tables:
        return _no_tables(check)
    refused = list_refusals(dt.datetime.now(dt.UTC) - _REFUSED_SINCE)
    told = [
        f"{one.number} since {_time(one.first_at)} UTC, the last at {_time(one.last_at)} UTC ({one.error}): "
        f"{one.message}"
        for one in refused
        if one.conn_id == conn_id
    ]
    if told:
        return Finding(
            check,
            "warning",
            f"Posts for this connection were refused. {' '.join(told)}",
            f"If they came from your portal, run `airflow-b24 connect {conn_id}` and `airflow-b24 robots apply "
            f"--conn-id {conn_id}`.",
        )
    unknown = sum(one.number for one in refused if not one.conn_id)
    others = f" {unknown} posts named connections that do not exist." if unknown else ""
    return Finding(check, "ok", f"No post for this connection was refused in the last day.{others}")


def check_spool(_: Examination) -> Finding:
    """Check that no call is left in the spool of this machine, and that calls in it would outlive a restart."""
    from airflow_provider_b24.calls.spool import Spool, default_folder
    from airflow_provider_b24.doctor.disks import why_it_does_not_last

    check, spool = "spool", Spool(default_folder())
    try:
        waiting, unreadable = spool.depth(), spool.unreadable()
    except OSError as error:
        return Finding(check, "unknown", f"{spool.folder} cannot be read here: {error.strerror}.")
    if unreadable:
        return Finding(
            check,
            "failed",
            f"{unreadable} calls in {spool.folder} cannot be read; their processes may be waiting.",
            "The API server's log says why. If the Fernet key was changed, put the old one behind the new one in "
            "[core] fernet_key; then rename the files from .unreadable to .call.",
        )
    if waiting:
        return Finding(
            check,
            "warning",
            f"{waiting} calls lie in {spool.folder}: Airflow's database has not taken them yet.",
            "An API server brings them into the database within seconds. If they stay, its log says why.",
        )
    if why := why_it_does_not_last(spool.folder):
        return Finding(
            check,
            "warning",
            f"No call lies in {spool.folder} on this machine. But {why}: calls that come while Airflow's database is "
            "away are lost with a restart.",
            "Let [bitrix24] spool_folder of the API servers be on a disk that outlives them: a volume, in containers.",
        )
    return Finding(check, "ok", f"No call lies in {spool.folder} on this machine.")


def _how_to_start_a_dispatcher() -> str:
    from airflow.providers.common.compat.sdk import conf

    where = conf.get("bitrix24", "dispatcher", fallback="api_server")
    if where == "api_server":
        return (
            "[bitrix24] dispatcher is api_server here: restart an API server that has airflow-provider-b24 and the "
            "same setting; its log says what keeps it from working."
        )
    return f"[bitrix24] dispatcher is {where} here: start `airflow-b24 dispatcher`, and keep it running."


def _no_tables(check: str) -> Finding:
    return Finding(check, "unknown", "Not checked: there are no tables of this version.")


def _most_common(whys: Iterable[str]) -> str:
    counted = Counter(whys)
    shown = counted.most_common(_SHOWN)
    told = [f"{why.rstrip('.')} ({number})." for why, number in shown]
    rest = counted.total() - sum(number for _, number in shown)
    return " ".join([*told, *([f"{rest} for other reasons."] if rest else [])])


def _calls(number: int) -> str:
    return "1 call waits" if number == 1 else f"{number} calls wait"


def _time(time: dt.datetime) -> str:
    return f"{time.astimezone(dt.UTC):%Y-%m-%d %H:%M}"
