"""DAGs as Airflow has parsed them, and the runs of them that calls start.

======  =====================================================================================================
3.0 on  ``SerializedDagModel.get(dag_id)`` and ``.dag.create_dagrun(...)`` take our session and commit nothing.
3.0     ``create_dagrun`` does not know ``triggering_user_name``; without it ``DagModel`` has no
        ``allowed_run_types`` (3.2).
3.0     An import error names its file by the whole path, since 3.1 as the bundle has it.
3.0     A param that does not fit is ``airflow.exceptions.ParamValidationError``; a bare ``ValueError`` in 3.2,
        ``airflow.sdk.exceptions.ParamValidationError`` in 3.4. So it is asked apart.
3.2 on  ``dag.params.deep_merge(conf)``; before, a copy that is updated.
======  =====================================================================================================

What is for 3.0 may go when the provider needs 3.1; what does without ``allowed_run_types`` or ``deep_merge`` when it
needs 3.2.
"""

from __future__ import annotations

import copy
import datetime as dt
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_SHOWN = 300


class UnfitConfError(ValueError):
    """The DAG's params do not take the conf of a run."""


@dataclass(frozen=True, slots=True)
class ParsedDag:
    """A DAG as Airflow's database has it.

    :param dag: deserialized.
    :param version: of which version; the same version is the same DAG.
    """

    dag: Any
    version: object


@dataclass(frozen=True, slots=True)
class DagStatus:
    """What Airflow says of a DAG.

    :param is_known: whether it was ever parsed.
    :param is_stale: whether its file no longer has it.
    :param is_paused: whether its runs wait.
    :param import_error: the last line of what is wrong with its file, if something is.
    :param takes_runs: whether it may be started from outside (``allowed_run_types``).
    """

    is_known: bool = False
    is_stale: bool = False
    is_paused: bool = False
    import_error: str | None = None
    takes_runs: bool = True

    @property
    def obstacle(self) -> str | None:
        """Why no run may be started now, in words; ``None`` when one may."""
        if not self.is_known:
            return "Airflow has not parsed the DAG yet"
        if self.import_error is not None:
            return f"the DAG's file cannot be imported: {self.import_error}"
        if self.is_stale:
            return "the DAG is no longer in Airflow's DAG folder"
        if not self.takes_runs:
            return "the DAG's allowed_run_types leave out 'manual'"
        return None


def dag_statuses(dag_ids: Collection[str], session: Session) -> dict[str, DagStatus]:
    """Ask what Airflow knows of DAGs.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    from airflow.models.dag import DagModel
    from airflow.models.errors import ParseImportError
    from sqlalchemy import and_, null, select

    query = (
        select(
            DagModel.dag_id,
            DagModel.is_stale,
            DagModel.is_paused,
            getattr(DagModel, "allowed_run_types", null()).label("allowed_run_types"),
            ParseImportError.stacktrace,
        )
        .outerjoin(
            ParseImportError,
            and_(
                ParseImportError.filename.in_([DagModel.relative_fileloc, DagModel.fileloc]),
                ParseImportError.bundle_name == DagModel.bundle_name,
            ),
        )
        .where(DagModel.dag_id.in_(dag_ids))
    )
    found = {
        row.dag_id: DagStatus(
            is_known=True,
            is_stale=bool(row.is_stale),
            is_paused=bool(row.is_paused),
            import_error=_last_line(row.stacktrace),
            takes_runs=row.allowed_run_types is None or "manual" in row.allowed_run_types,
        )
        for row in session.execute(query)
    }
    return {dag_id: found.get(dag_id, DagStatus()) for dag_id in dag_ids}


def dag_ids_with_tag(tag: str, session: Session) -> list[str]:
    """Name the DAGs that carry a tag, also those that their files no longer have.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot say.
    """
    from airflow.models.dag import DagTag
    from sqlalchemy import select

    return list(session.scalars(select(DagTag.dag_id).where(DagTag.name == tag).order_by(DagTag.dag_id)))


def parsed_dag(dag_id: str, session: Session, known: ParsedDag | None = None) -> ParsedDag | None:
    """Read the newest version of a DAG, ``None`` when Airflow never had one.

    :param known: what was read before; given back when there is no newer version.
    :raises Exception: of whatever kind, when the DAG that is stored cannot be read.
    """
    from airflow.models.dag_version import DagVersion
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import select

    newest = session.execute(
        select(DagVersion.id, SerializedDagModel.dag_hash)
        .join(SerializedDagModel, SerializedDagModel.dag_version_id == DagVersion.id)
        .where(DagVersion.dag_id == dag_id)
        .order_by(DagVersion.version_number.desc())
        .limit(1)
    ).first()
    if newest is None:
        return None
    version = tuple(newest)
    if known is not None and known.version == version:
        return known
    serialized = SerializedDagModel.get(dag_id, session=session)
    return None if serialized is None else ParsedDag(serialized.dag, version)


def create_run(dag: Any, run_id: str, conf: Mapping[str, Any], session: Session) -> None:
    """Add a run to the session, queued.

    :param dag: as :func:`parsed_dag` gives it.
    :raises UnfitConfError: when the DAG's params do not take the conf.
    :raises sqlalchemy.exc.IntegrityError: when there is a run of this id.
    """
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    arguments: dict[str, Any] = {
        "run_id": run_id,
        "run_after": dt.datetime.now(dt.UTC),
        "conf": dict(conf),
        "run_type": DagRunType.MANUAL,
        "triggered_by": DagRunTriggeredByType.REST_API,
        "state": DagRunState.QUEUED,
        "session": session,
    }
    if "triggering_user_name" in inspect.signature(dag.create_dagrun).parameters:
        arguments["triggering_user_name"] = "bitrix24"
    try:
        dag.create_dagrun(**arguments)
        session.flush()
    except Exception:
        # What Airflow raises then differs by version, and other things raise the same.
        _check_params(dag, conf)
        raise


def _check_params(dag: Any, conf: Mapping[str, Any]) -> None:
    merges = hasattr(dag.params, "deep_merge")
    params = dag.params.deep_merge(conf) if merges else copy.deepcopy(dag.params)
    try:
        if not merges:
            params.update(conf)
        params.validate()
    except Exception as error:
        raise UnfitConfError(str(error)[:_SHOWN]) from None


def change_conf(
    dag_id: str, run_id: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]], session: Session
) -> None:
    """Change the conf of a run: every task that starts later sees it, also a deferred one that resumes.

    :param change: gives the new conf for the one there is.
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select, update

    found = session.execute(
        select(DagRun.id, DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    ).first()
    if found is not None:
        conf = dict(change(found.conf or {}))
        session.execute(
            update(DagRun).where(DagRun.id == found.id).values(conf=conf),
            execution_options={"synchronize_session": False},
        )


def _last_line(stacktrace: str | None) -> str | None:
    """Give the line that names the error: the last one that says something."""
    if stacktrace is None:
        return None
    lines = [line.strip() for line in stacktrace.splitlines() if line.strip()]
    return lines[-1][:_SHOWN] if lines else "unknown"
