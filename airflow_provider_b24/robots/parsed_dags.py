"""Whether Airflow starts runs for robots: what its database says of their DAGs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_b24._airflow.dag_runs import DagStatus, dag_statuses, parsed_dag
from airflow_provider_b24._airflow.database import reading
from airflow_provider_b24.robots.definition import definition_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_provider_b24.robots.dags_folder import DeclaredRobot

_NOT_PARSED = "Airflow has not parsed it yet: calls are held until then"
_PAUSED = "paused: its calls start runs that wait until it is unpaused"


@dataclass(frozen=True, slots=True)
class RobotDag:
    """What Airflow's database says of the DAG of a robot that a DAG folder declares.

    :param dag_id: the DAG.
    :param obstacle: why its calls do not start runs as declared, and what becomes of them; ``None`` when they do.
    :param is_paused: whether the runs wait.
    """

    dag_id: str
    obstacle: str | None = None
    is_paused: bool = False

    @property
    def trouble(self) -> str | None:
        """What someone who looks after robots has to know; ``None`` when all is well."""
        return self.obstacle or (_PAUSED if self.is_paused else None)

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-safe form."""
        return {"takes_calls": self.obstacle is None, "paused": self.is_paused, "obstacle": self.obstacle}


def robot_dags(robots: Iterable[DeclaredRobot]) -> dict[str, RobotDag]:
    """Ask Airflow's database about the DAGs of robots.

    :param robots: as a DAG folder declares them.
    :return: by DAG id.
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    :raises DatabaseHangsError: when Airflow has no database in this process.
    """
    declared = {robot.dag_id: robot for robot in robots}
    if not declared:
        return {}
    with reading() as session:
        statuses = dag_statuses(declared, session)
        return {
            dag_id: RobotDag(dag_id, _obstacle(robot, statuses[dag_id], session), statuses[dag_id].is_paused)
            for dag_id, robot in declared.items()
        }


def _obstacle(robot: DeclaredRobot, status: DagStatus, session: Session) -> str | None:
    if not status.is_known:
        return _NOT_PARSED
    if status.obstacle is not None:
        return f"{status.obstacle}; calls are held until this is fixed"
    from sqlalchemy.exc import SQLAlchemyError

    try:
        parsed = parsed_dag(robot.dag_id, session)
        if parsed is None:
            return _NOT_PARSED
        known = definition_of(parsed.dag)
    except SQLAlchemyError:
        raise
    except Exception as error:
        return f"what Airflow has stored of it cannot be read ({type(error).__name__}); calls are held"
    declared = robot.definition
    if known is None or (known.bitrix24_conn_id, known.code) != (declared.bitrix24_conn_id, declared.code):
        return "Airflow has not parsed its present version yet, and the earlier one is not this robot: calls are held"
    if known != declared:
        return "Airflow has not parsed its present version yet: calls are checked against the earlier one"
    return None
