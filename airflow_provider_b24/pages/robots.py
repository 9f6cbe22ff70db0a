"""The page *Robots*: each robot as Airflow has parsed it, beside what its portal has registered.

A plan is made of the DAGs in Airflow's database, as an API server need not have the DAG folder. It deletes nothing:
that a robot is gone is for ``airflow-b24 robots apply`` to say, which sees the files.
"""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response  # noqa: TC002 - FastAPI resolves annotations here at run time

from airflow_provider_b24._airflow.audit import write_audit_entry
from airflow_provider_b24._airflow.dag_runs import dag_ids_with_tag
from airflow_provider_b24._airflow.database import reading, writing
from airflow_provider_b24.calls.robots_at_hand import RobotAtHand, RobotsAtHand
from airflow_provider_b24.calls.rules import PAUSED
from airflow_provider_b24.calls.table import call_table
from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.pages.calls import SignedIn  # noqa: TC001 - FastAPI resolves annotations here at run time
from airflow_provider_b24.pages.forms import PostedForm, posted_form
from airflow_provider_b24.pages.rendering import render
from airflow_provider_b24.receiver.answers import RefusedError
from airflow_provider_b24.robots.dags_folder import DagsFolder, DeclaredRobot
from airflow_provider_b24.robots.definition import RobotDefinition, RobotDefinitionError
from airflow_provider_b24.robots.properties import in_one_language
from airflow_provider_b24.robots.registry import Outcome, Plan, RegistryError, apply, make_plan

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

    from airflow_provider_b24.pages.visitors import Visitor

router = APIRouter()

TAG = "bitrix24"
_FAILURES = ("failure-answered", "too-late")
_robots, _one_at_a_time = RobotsAtHand(), threading.Lock()


@dataclass(frozen=True, slots=True)
class RobotRow:
    """A robot, and how its calls went in the last day.

    :param name: in one language.
    :param trouble: why its calls start no runs, or wait; empty when all is well.
    """

    dag_id: str
    definition: RobotDefinition
    name: str
    trouble: str
    calls: int = 0
    failures: int = 0
    last_answer_at: dt.datetime | None = None


@router.get("/robots")
def show_robots(request: Request, user: SignedIn) -> Response:
    """Show the robots whose runs may be seen."""
    with reading() as session:
        robots = _known_robots(session)
        visible = user.visible(robots.keys())
        rows = _rows({dag_id: one for dag_id, one in robots.items() if dag_id in visible}, session)
    connections = sorted({row.definition.bitrix24_conn_id for row in rows})
    return render(
        request,
        "robots.html",
        rows=rows,
        connections=connections,
        editable=[conn_id for conn_id in connections if user.may_edit_connection(conn_id)],
    )


@router.get("/plan")
def show_plan(conn: str, request: Request, user: SignedIn) -> Response:
    """Compare the robots of a connection with its portal."""
    _check(user, conn)
    return render(request, "plan.html", conn_id=conn, token=user.form_token(), **_plan(conn))


@router.post("/plan")
def apply_plan(
    request: Request, user: SignedIn, form: Annotated[PostedForm, Depends(posted_form)]
) -> Response:
    """Register what the portal has not, and change what it has otherwise."""
    user.check_form(request, form.one("token"))
    conn_id = form.one("conn")
    _check(user, conn_id)
    found = _plan(conn_id, user.name)
    return render(request, "plan.html", conn_id=conn_id, token=user.form_token(), **found)


def _check(user: Visitor, conn_id: str) -> None:
    if not user.may_edit_connection(conn_id):
        raise RefusedError(
            403, "forbidden", "You may not edit this connection, and so not change its robots."
        )


def _plan(conn_id: str, apply_as: str | None = None) -> dict[str, Any]:
    """Make a plan, and carry it out.

    :param apply_as: who does that; ``None`` only looks.
    :return: what the template shows.
    """
    from airflow_provider_b24.hooks.bitrix24 import Bitrix24Hook

    declared = declared_robots()
    try:
        with Bitrix24Hook(conn_id) as hook:
            plan: Plan = make_plan(hook, declared)
            outcomes: list[Outcome] = []
            if apply_as is not None:
                steps = plan.of("add", "update")
                with writing() as session:
                    extra = {
                        "connection": conn_id,
                        "robots": [f"{step.action} {step.code}" for step in steps],
                    }
                    write_audit_entry(session, "bitrix24_robots_applied", apply_as, extra=extra)
                outcomes = apply(hook, steps)
    except (RobotDefinitionError, RegistryError, Bitrix24Error) as error:
        return {"plan": None, "problem": str(error), "outcomes": None}
    except Exception as error:  # a secrets backend may raise anything, and its words may hold secrets
        words = f"The connection cannot be used ({type(error).__name__})."
        return {"plan": None, "problem": words, "outcomes": None}
    return {"plan": plan, "problem": None, "outcomes": outcomes if apply_as is not None else None}


def declared_robots() -> DagsFolder:
    """Tell which robots the DAG files declare, as Airflow has parsed them: an API server need not have the files."""
    with reading() as session:
        known = _known_robots(session)
    # What its file no longer has is not registered again.
    return DagsFolder(
        tuple(
            DeclaredRobot(dag_id, str(robot.dag.fileloc), robot.definition)
            for dag_id, robot in known.items()
            if robot.definition is not None and robot.status.obstacle is None
        )
    )


def _known_robots(session: Session) -> dict[str, RobotAtHand]:
    with _one_at_a_time:
        return {
            dag_id: robot
            for dag_id, robot in _robots.find(dag_ids_with_tag(TAG, session), session).items()
            if robot.definition is not None
        }


def _rows(robots: dict[str, RobotAtHand], session: Session) -> list[RobotRow]:
    counts = _counts(robots.keys(), session)
    rows = []
    for dag_id, robot in sorted(robots.items()):
        if robot.definition is None:
            continue
        trouble = robot.status.obstacle or (PAUSED if robot.status.is_paused else "")
        number, failures, last = counts.get(dag_id, (0, 0, None))
        name = in_one_language(robot.definition.name)
        rows.append(RobotRow(dag_id, robot.definition, name, trouble, number, failures, last))
    return rows


def _counts(dag_ids: Collection[str], session: Session) -> dict[str, tuple[int, int, dt.datetime | None]]:
    call = call_table.c
    failed = sa.func.sum(sa.case((call.state.in_(_FAILURES), 1), else_=0))
    query = (
        sa.select(call.dag_id, sa.func.count(), failed, sa.func.max(call.answered_at))
        .where(
            call.received_at >= dt.datetime.now(dt.UTC) - dt.timedelta(days=1), call.dag_id.in_(list(dag_ids))
        )
        .group_by(call.dag_id)
    )
    return {row[0]: (row[1], int(row[2]), row[3]) for row in session.execute(query)}
