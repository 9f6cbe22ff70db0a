"""From a call on record to its DAG run: the change of state and the run in one transaction."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_provider_b24._airflow.dag_runs import UnfitConfError, create_run
from airflow_provider_b24._airflow.database import is_away, is_sqlite, reading, writing
from airflow_provider_b24.calls import metrics
from airflow_provider_b24.calls.changes import (
    StoredAnswer,
    change,
    describe,
    now_utc,
    owe,
    settle,
    when_committed,
)
from airflow_provider_b24.calls.new_call import NewCall, UnreadablePayloadError
from airflow_provider_b24.calls.robots_at_hand import RobotAtHand, RobotsAtHand
from airflow_provider_b24.calls.table import call_table
from airflow_provider_b24.hooks.sealing import seal
from airflow_provider_b24.robots.call import MalformedCallError, RobotCall, UnfitCallError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.robots.definition import RobotDefinition

log = logging.getLogger(__name__)

_AT_ONCE = 50
# On SQLite everybody else waits while runs are created.
_AT_ONCE_ON_SQLITE = 10
_PAUSE_AFTER_ERROR = dt.timedelta(seconds=30)
_GRACE = dt.timedelta(seconds=5)
DEFAULT_HOLD_HOURS = 72


@dataclass(slots=True)
class Starter:
    """Starts runs for the calls that are on record.

    :param robots: the robots and connections at hand.
    """

    robots: RobotsAtHand = field(default_factory=RobotsAtHand)

    def start_some(self) -> int:
        """Do what is due for calls without a run, the oldest first.

        :return: how many calls were looked at; the caller comes again while there are as many as fit.
        :raises sqlalchemy.exc.SQLAlchemyError: when the database is away.
        """
        due = self._due()
        if not due:
            return 0
        connections = {conn_id: self._connection(conn_id) for conn_id in {call.conn_id for call in due}}
        try:
            self._start([call.id for call in due], connections)
        except Exception as error:
            if is_away(error):
                raise
            # One of them spoils the transaction of all: each gets one of its own.
            for call in due:
                self._start_alone(call, connections)
        return len(due)

    def _due(self) -> list[Any]:
        number = _AT_ONCE_ON_SQLITE if is_sqlite() else _AT_ONCE
        query = sa.select(call_table.c.id, call_table.c.conn_id, call_table.c.dag_id, call_table.c.run_id)
        query = query.where(*_is_due()).order_by(call_table.c.received_at).limit(number)
        with reading() as session:
            return list(session.execute(query))

    def _connection(self, conn_id: str) -> PortalConnection | str:
        """Look a connection up before the transaction begins: a secrets backend may be slow."""
        try:
            connection = self.robots.connection(conn_id)
        except Exception as error:
            return f"the Airflow connection {conn_id!r} cannot be used ({type(error).__name__})"
        if connection.uninstalled:
            return f"the application of the Airflow connection {conn_id!r} was uninstalled from its portal"
        return connection

    def _start_alone(self, call: Any, connections: Mapping[str, PortalConnection | str]) -> None:
        try:
            self._start([call.id], connections)
        except sa.exc.IntegrityError:
            # Someone has made the run: it is the same call's.
            self._start([call.id], connections, with_run=False)
        except Exception as error:
            if is_away(error):
                raise
            log.exception("No run can be started for call %s", call.id)
            with writing() as session:
                change(
                    call,
                    session,
                    reason="its run could not be started",
                    last_error=f"{type(error).__name__}; the log of the dispatcher says more",
                    due_at=now_utc() + _PAUSE_AFTER_ERROR,
                )

    def _start(
        self,
        ids: Collection[str],
        connections: Mapping[str, PortalConnection | str],
        *,
        with_run: bool = True,
    ) -> None:
        with writing() as session:
            query = sa.select(call_table).where(*_is_due(), call_table.c.id.in_(ids))
            query = query.order_by(call_table.c.received_at).with_for_update(skip_locked=True)
            calls = session.execute(query).all()
            robots = self.robots.find({call.dag_id for call in calls}, session)
            started = [
                call
                for call in calls
                if _Step(call, robots[call.dag_id], connections[call.conn_id], session, with_run).take()
            ]
        for call in started:
            metrics.count_started(call.dag_id, now_utc() - call.received_at)
            log.info("%s: run %s of %s is started", describe(call), call.run_id, call.dag_id)


@dataclass(frozen=True, slots=True)
class _Step:
    """What is done about one call, within a transaction.

    :param with_run: whether its run is to be made; otherwise there is one.
    """

    call: Any
    robot: RobotAtHand
    connection: PortalConnection | str
    session: Session
    with_run: bool = True

    def take(self) -> bool:
        """Do it.

        :return: whether a run was started.
        """
        call = self.call
        try:
            new = NewCall.from_payload(call.payload)
        except UnreadablePayloadError as error:
            self._hold(f"the call cannot be read: {error}", last_error=str(error))
            return False
        obstacle = self.robot.obstacle(call.conn_id, call.code)
        if obstacle is not None or isinstance(self.connection, str):
            self._hold(obstacle or str(self.connection))
            return False
        definition = self.robot.definition
        if definition is None:  # an obstacle, too
            return False
        try:
            robot_call = RobotCall.from_form(new.fields, definition)
            answer_by = self._answer_by(definition)
            if self.with_run:
                create_run(self.robot.dag, call.run_id, self._conf(robot_call, answer_by), self.session)
        except (UnfitCallError, UnfitConfError, MalformedCallError) as error:
            self._answer_unfit(definition, str(error))
            return False
        waits = call.waits and definition.use_subscription
        change(
            call,
            self.session,
            state="running" if waits else "not-awaited",
            reason=None,
            last_error=None,
            answer_by=answer_by if waits else None,
            answer=_on_failure(definition).encrypted() if waits else None,
            payload=call.payload if waits else None,
        )
        return True

    def _conf(self, robot_call: RobotCall, answer_by: dt.datetime | None) -> dict[str, Any]:
        assert not isinstance(self.connection, str)  # noqa: S101 - held otherwise
        sealed = dataclasses.replace(
            robot_call,
            token=seal(robot_call.token, self.connection),
            ts=robot_call.ts or int(self.call.received_at.timestamp()),
            answer_by=None if answer_by is None else int(answer_by.timestamp()),
        )
        return sealed.to_conf()

    def _answer_unfit(self, definition: RobotDefinition, reasons: str) -> None:
        reason = f"the call does not fit the robot's properties: {reasons}"
        if self.call.waits and definition.use_subscription:
            owe(self.call, self.session, reason, _on_failure(definition))
        else:
            settle(self.call, "not-awaited", self.session, reason=f"no run was started: {reason}")

    def _hold(self, reason: str, last_error: str | None = None) -> None:
        """Keep a call that can start no run now, and answer it where it cannot wait any longer."""
        call, now, definition = self.call, now_utc(), self.robot.definition
        ends = call.process_ends_at
        answer_by = self._answer_by(definition) if definition is not None else None
        age = now - call.received_at
        if ends is not None and now >= ends + _GRACE:
            settle(
                call,
                "too-late",
                self.session,
                reason=f"the process stopped waiting by its own limit; {reason}",
            )
            return
        is_over = age > _longest_hold() or (answer_by is not None and answer_by != ends and now >= answer_by)
        if is_over and not call.waits:
            settle(call, "not-awaited", self.session, reason=f"no run could be started in time: {reason}")
            return
        if is_over:
            owe(
                call,
                self.session,
                f"no run could be started in time: {reason}",
                _on_failure(definition) if definition is not None else StoredAnswer({}),
            )
            return
        pause = min(max(age / 10, dt.timedelta(seconds=1)), _PAUSE_AFTER_ERROR)
        moments = [
            now + pause,
            *(moment for moment in (answer_by, ends) if moment is not None and moment > now),
        ]
        values: dict[str, Any] = {"due_at": min(moments), "last_error": last_error}
        if reason != call.reason:
            values["reason"] = reason
            when_committed(self.session, lambda: _tell_held(call, reason))
        change(call, self.session, **values)

    def _answer_by(self, definition: RobotDefinition) -> dt.datetime | None:
        """Tell until when the run may answer: until shortly before the process's limit, or until the limit."""
        ends = self.call.process_ends_at
        if ends is None:
            return None
        began = min(self.call.sent_at, self.call.received_at)
        margin = definition.margin((ends - began).total_seconds())
        answer_by: dt.datetime = ends if margin is None else ends - dt.timedelta(seconds=margin)
        return answer_by


def _tell_held(call: Any, reason: str) -> None:
    metrics.count_held()
    log.warning("%s is held: %s", describe(call), reason)


def _is_due() -> tuple[sa.ColumnElement[bool], ...]:
    return (
        call_table.c.state == "received",
        call_table.c.answering.is_(None),
        call_table.c.due_at <= now_utc(),
    )


def _on_failure(definition: RobotDefinition) -> StoredAnswer:
    return StoredAnswer(definition.answer(definition.on_failure, complete=False))


def _longest_hold() -> dt.timedelta:
    from airflow.providers.common.compat.sdk import conf

    return dt.timedelta(hours=conf.getint("bitrix24", "hold_calls_hours", fallback=DEFAULT_HOLD_HOURS))
