"""The robots that calls are for, as Airflow has parsed them, and the connections they come by."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_b24._airflow.dag_runs import DagStatus, ParsedDag, dag_statuses, parsed_dag
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import with_installation
from airflow_provider_b24.robots.definition import RobotDefinition, definition_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_SECONDS_KEPT = 30.0


@dataclass(frozen=True, slots=True)
class RobotAtHand:
    """A DAG that a call is for.

    :param status: what Airflow says of it.
    :param dag: deserialized, as it was parsed last; ``None`` when it never was.
    :param definition: the robot it implements, ``None`` when it is none.
    """

    status: DagStatus
    dag: Any = None
    definition: RobotDefinition | None = None

    def obstacle(self, conn_id: str, code: str) -> str | None:
        """Why a call with this connection and code starts no run now, in words; ``None`` when it may."""
        if (obstacle := self.status.obstacle) is not None:
            return obstacle
        if self.definition is None:
            return "the DAG is no robot: it was not made with @robot_dag"
        if self.definition.bitrix24_conn_id != conn_id:
            return f"the DAG answers with the connection {self.definition.bitrix24_conn_id!r}, not with {conn_id!r}"
        if self.definition.code != code:
            return f"the DAG is the robot {self.definition.code!r}, not {code!r}"
        return None


@dataclass(slots=True)
class RobotsAtHand:
    """Reads robots and connections, and keeps them as long as they are good."""

    _dags: dict[str, ParsedDag] = field(default_factory=dict, init=False)
    _definitions: dict[str, tuple[object, RobotDefinition | None]] = field(default_factory=dict, init=False)
    _connections: dict[str, tuple[float, PortalConnection]] = field(default_factory=dict, init=False)

    def find(self, dag_ids: Collection[str], session: Session) -> dict[str, RobotAtHand]:
        """Find the robots behind DAG ids.

        :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
        """
        statuses = dag_statuses(dag_ids, session)
        return {dag_id: self._find(dag_id, status, session) for dag_id, status in statuses.items()}

    def connection(self, conn_id: str) -> PortalConnection:
        """Look a connection up, with what is known of its installation.

        :raises Exception: of whatever kind, when there is none that can be used.
        """
        kept = self._connections.get(conn_id)
        if kept is not None and time.monotonic() - kept[0] < _SECONDS_KEPT:
            return kept[1]
        connection = with_installation(PortalConnection.load(conn_id))
        self._connections[conn_id] = (time.monotonic(), connection)
        return connection

    def _find(self, dag_id: str, status: DagStatus, session: Session) -> RobotAtHand:
        from sqlalchemy.exc import SQLAlchemyError

        if not status.is_known:
            self._dags.pop(dag_id, None)
            return RobotAtHand(status)
        try:
            parsed = parsed_dag(dag_id, session, self._dags.get(dag_id))
            if parsed is None:
                return RobotAtHand(DagStatus())
            self._dags[dag_id] = parsed
            version, definition = self._definitions.get(dag_id, (None, None))
            if version != parsed.version:
                definition = definition_of(parsed.dag)
                self._definitions[dag_id] = (parsed.version, definition)
        except SQLAlchemyError:
            raise
        except Exception as error:
            log.error("DAG %r cannot be read from Airflow's database (%s).", dag_id, type(error).__name__)
            return RobotAtHand(
                DagStatus(
                    is_known=True, import_error=f"its stored form cannot be read ({type(error).__name__})"
                )
            )
        return RobotAtHand(status, parsed.dag, definition)
