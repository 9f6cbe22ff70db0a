"""The receiver's view of Airflow: which DAGs are robots, and how their runs are created."""

from __future__ import annotations

import copy
import datetime as dt
import logging
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.robots.definition import definition_of

if TYPE_CHECKING:
    from airflow.models.dagbag import DBDagBag
    from airflow.serialization.definitions.dag import SerializedDAG
    from sqlalchemy.orm import Session

    from airflow_provider_b24.robots.definition import RobotDefinition

log = logging.getLogger(__name__)

_DAGS_KEPT = 512
_SECONDS_KEPT = 3600


@dataclass(frozen=True, slots=True)
class RobotDag:
    """A DAG that may be started from outside.

    :param dag: as Airflow has serialized it.
    :param definition: the robot it implements.
    """

    dag: SerializedDAG
    definition: RobotDefinition


class DagRuns:
    """Finds robots and starts them, with Airflow's own functions and against its metadata database."""

    def __init__(self) -> None:
        self._writing = threading.Lock()

    @cached_property
    def _dags(self) -> DBDagBag:
        try:
            from airflow.models.dagbag import CachedDBDagBag
        except ImportError:
            from airflow.models.dagbag import DBDagBag

            return DBDagBag(load_op_links=False)
        return CachedDBDagBag(
            load_op_links=False,
            cache_size=_DAGS_KEPT,
            cache_ttl=_SECONDS_KEPT,
            stats_prefix="bitrix24.receiver.dag_bag",
        )

    def find_robot(self, dag_id: str) -> RobotDag | None:
        """Find a robot among the DAGs that Airflow knows and still finds in its DAG folder.

        :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
        """
        from airflow.utils.session import create_session

        with create_session() as session:
            version_id = _startable_version(dag_id, session)
            dag = self._read(dag_id, version_id, session) if version_id else None
        definition = definition_of(dag) if dag is not None else None
        return RobotDag(dag, definition) if dag is not None and definition is not None else None

    def _read(self, dag_id: str, version_id: Any, session: Session) -> SerializedDAG | None:
        if hasattr(self._dags, "get_dag"):
            return self._dags.get_dag(version_id, session=session)
        # Airflow before 3.2.
        return self._dags.get_latest_version_of_dag(dag_id, session=session)

    def start(self, robot: RobotDag, run_id: str, conf: Mapping[str, Any]) -> bool:
        """Create a DAG run, committed when this returns.

        :return: ``False`` when the run exists already.
        :raises sqlalchemy.exc.SQLAlchemyError: when the database does not take it.
        """
        from airflow.utils.session import create_session
        from sqlalchemy.exc import IntegrityError

        try:
            with self._alone_if_sqlite(), create_session() as session:
                if _exists(robot.dag.dag_id, run_id, session):
                    return False
                _create(robot.dag, run_id, dict(conf), session)
        except IntegrityError:
            # Somebody else was faster with the same call, unless the database complains about something else.
            with create_session() as session:
                if not _exists(robot.dag.dag_id, run_id, session):
                    raise
            return False
        return True

    def _alone_if_sqlite(self) -> AbstractContextManager[object]:
        """Let one thread at a time write to SQLite: those that meet there sleep longer and longer."""
        from airflow import settings

        is_sqlite = settings.engine is not None and settings.engine.dialect.name == "sqlite"
        return self._writing if is_sqlite else nullcontext()


class _UncheckedParams(dict[str, Any]):
    """Params that find nothing wrong with a run's conf.

    Airflow checks params when a run is created, and again when its tasks start. A bad value is left to the tasks:
    the process gets its failure answer then. Refused at creation, the call would be lost, because Bitrix24 does not
    repeat it. And the check takes as long as everything else about a run together.
    """

    def deep_merge(self, _conf: Mapping[str, Any] | None) -> _UncheckedParams:
        """Take nothing from the conf."""
        return self

    def validate(self) -> dict[str, Any]:
        """Accept what is there."""
        return {}


def _create(dag: SerializedDAG, run_id: str, conf: dict[str, Any], session: Session) -> None:
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    unchecked = copy.copy(dag)
    unchecked.params = _UncheckedParams()  # type: ignore[assignment]
    unchecked.create_dagrun(
        run_id=run_id,
        run_after=dt.datetime.now(dt.UTC),
        conf=conf,
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.REST_API,
        triggering_user_name="bitrix24",
        state=DagRunState.QUEUED,
        session=session,
    )


def _exists(dag_id: str, run_id: str, session: Session) -> bool:
    from airflow.models.dagrun import DagRun

    return DagRun.find_duplicate(dag_id=dag_id, run_id=run_id, session=session) is not None


def _startable_version(dag_id: str, session: Session) -> Any:
    """Find the version of a DAG that a run of today gets, ``None`` when it takes no runs from outside.

    Columns, not objects: at every call this would take as long as the rest of finding the robot.
    """
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from sqlalchemy import null, select

    found = session.execute(
        select(
            DagVersion.id,
            DagModel.is_stale,
            # Airflow before 3.2 does not know it.
            getattr(DagModel, "allowed_run_types", null()),
        )
        .join(DagVersion, DagVersion.dag_id == DagModel.dag_id)
        .where(DagModel.dag_id == dag_id)
        .order_by(DagVersion.version_number.desc())
        .limit(1)
    ).first()
    if found is None:
        return None
    version_id, is_stale, allowed_run_types = found
    if is_stale:
        return None
    if allowed_run_types is not None and "manual" not in allowed_run_types:
        log.error("A robot call for DAG %r is refused: its allowed_run_types leave out 'manual'.", dag_id)
        return None
    return version_id
