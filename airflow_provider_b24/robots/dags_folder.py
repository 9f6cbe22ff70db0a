"""The robots of a DAG folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from airflow_provider_b24._airflow.dag_files import read_dag_files
from airflow_provider_b24.robots.definition import RobotDefinition, RobotDefinitionError, definition_of


@dataclass(frozen=True, slots=True)
class DeclaredRobot:
    """A robot as a DAG file declares it.

    :param dag_id: the DAG that takes its calls.
    :param file: the DAG file.
    :param definition: what is registered.
    """

    dag_id: str
    file: str
    definition: RobotDefinition


@dataclass(frozen=True, slots=True)
class DagsFolder:
    """What was found in a DAG folder.

    :param robots: by DAG id.
    :param broken: DAG file to what Airflow says about it. A robot may hide in there.
    :param path: the folder, where these are of one.
    """

    robots: tuple[DeclaredRobot, ...]
    broken: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None

    def of_connection(self, conn_id: str) -> tuple[DeclaredRobot, ...]:
        """List the robots of one portal.

        :param conn_id: the Airflow connection.
        :raises RobotDefinitionError: when two DAGs declare the same code; both are named.
        """
        robots: dict[str, DeclaredRobot] = {}
        for robot in self.robots:
            if robot.definition.bitrix24_conn_id != conn_id:
                continue
            other = robots.setdefault(robot.definition.code, robot)
            if other is not robot:
                raise RobotDefinitionError(
                    f"Two robots have the code {robot.definition.code!r}: DAG {other.dag_id} in {other.file}, and "
                    f"DAG {robot.dag_id} in {robot.file}. A code is used once per application; change one of them."
                )
        return tuple(robots.values())


def read_dags_folder(folder: str | Path | None = None) -> DagsFolder:
    """Parse all DAG files as Airflow does, and pick the robots.

    :param folder: where the DAG files are; Airflow's own DAG folder by default.
    :raises FileNotFoundError: when there is no such folder.
    """
    from airflow.providers.common.compat.sdk import conf

    path = Path(folder or conf.get("core", "dags_folder"))
    # Airflow finds no DAG there and nothing wrong with that: all robots would be taken for removed.
    if not path.exists():
        raise FileNotFoundError(f"There is no DAG folder {path}")
    files = read_dag_files(folder)
    return DagsFolder(tuple(_declared(files.dags)), files.broken, path)


def _declared(dags: Iterable[object]) -> Iterable[DeclaredRobot]:
    for dag in sorted(dags, key=lambda dag: str(getattr(dag, "dag_id", ""))):
        definition = definition_of(dag)
        if definition is not None:
            yield DeclaredRobot(dag.dag_id, dag.fileloc, definition)  # type: ignore[attr-defined]
