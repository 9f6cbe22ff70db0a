"""The page *Connections*: each connection to a portal, what is known of it here, and what ``doctor`` finds.

The page asks no portal. Only the button *Run doctor* does, for those who may edit the connection.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response  # noqa: TC002 - FastAPI resolves annotations here at run time

from airflow_provider_b24._airflow.audit import write_audit_entry
from airflow_provider_b24._airflow.connections import portal_conn_ids
from airflow_provider_b24._airflow.database import reading, writing
from airflow_provider_b24.calls.browsing import Wanted, count, dag_ids_on_record, last_received
from airflow_provider_b24.calls.listing import list_refusals
from airflow_provider_b24.doctor.command import examine
from airflow_provider_b24.doctor.finding import Finding
from airflow_provider_b24.exceptions import ConnectionConfigError
from airflow_provider_b24.hooks.addresses import receiver_url
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.installations import Installation, InstallationStore
from airflow_provider_b24.hooks.limits import requests_held
from airflow_provider_b24.pages.calls import SignedIn  # noqa: TC001 - FastAPI resolves annotations here at run time
from airflow_provider_b24.pages.forms import PostedForm, posted_form
from airflow_provider_b24.pages.rendering import render
from airflow_provider_b24.pages.robots import declared_robots
from airflow_provider_b24.receiver.answers import RefusedError
from airflow_provider_b24.rest.bucket import TARIFFS, Tariff
from airflow_provider_b24.rest.credentials import Webhook, portal_host

if TYPE_CHECKING:
    from airflow_provider_b24.pages.visitors import Visitor

log = logging.getLogger(__name__)
router = APIRouter()

_NEWEST = 10_000
_MOST_COUNTED = 1000
_REFUSALS_OF = dt.timedelta(days=7)
_URGENCY = ("failed", "warning", "unknown", "ok")


@dataclass(frozen=True, slots=True)
class Portal:
    """What is known of a connection that can be used, without its secrets.

    :param holder: whose tokens these are.
    :param risk: what becomes of them when that person leaves the company.
    :param held: requests in the portal's bucket now; ``None`` if nobody here knows.
    """

    url: str
    kind: str
    holder: str
    risk: str
    tariff: Tariff
    held: float | None
    installation: Installation | None

    @classmethod
    def of(cls, connection: PortalConnection) -> Portal:
        """Gather it; reads Airflow's Variables and the shared request limit, and asks no portal."""
        installation = InstallationStore(connection).read()
        kind, holder, risk = _holder(connection, installation)
        return cls(
            url=connection.portal_url,
            kind=kind,
            holder=holder,
            risk=risk,
            tariff=TARIFFS[connection.tariff],
            held=requests_held(portal_host(connection.portal_url)),
            installation=installation,
        )

    @property
    def uninstalled_at(self) -> dt.datetime | None:
        """When the portal said that the application was uninstalled."""
        return _time(self.installation.uninstalled_at) if self.installation else None

    @property
    def installed_at(self) -> dt.datetime | None:
        """When the application was connected."""
        return _time(self.installation.installed_at) if self.installation else None


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """A connection and its calls.

    :param problem: why it cannot be used; empty when it can.
    :param waiting: calls that wait for a person.
    :param refused: posts that the receiver has refused since ``refused_since``, and again in the last 7 days.
    """

    conn_id: str
    portal: Portal | None
    problem: str
    last_call_at: dt.datetime | None
    waiting: int
    refused: int
    refused_since: dt.datetime | None
    editable: bool


@router.get("/connections")
def show_connections(request: Request, user: SignedIn) -> Response:
    """Show the connections that the user may see."""
    receiver, problem = _receiver()
    return render(
        request,
        "connections.html",
        rows=_rows(user),
        token=user.form_token(),
        receiver=receiver,
        receiver_problem=problem,
    )


@router.post("/connections")
def run_doctor(
    request: Request, user: SignedIn, form: Annotated[PostedForm, Depends(posted_form)]
) -> Response:
    """Examine a connection as ``airflow-b24 doctor`` does, by the robots that Airflow has parsed."""
    user.check_form(request, form.one("token"))
    conn_id = form.one("conn")
    if not user.may_edit_connection(conn_id):
        raise RefusedError(403, "forbidden", "You may not edit this connection, and so not examine it.")
    with writing() as session:
        write_audit_entry(session, "bitrix24_connection_examined", user.name, extra={"connection": conn_id})
    findings = _examine(conn_id)
    return render(
        request,
        "doctor.html",
        conn_id=conn_id,
        findings=sorted(findings, key=lambda finding: _URGENCY.index(finding.verdict)),
        verdicts=_URGENCY,
        counts=Counter(finding.verdict for finding in findings),
        token=user.form_token(),
    )


def _examine(conn_id: str) -> list[Finding]:
    findings: list[Finding] = []
    try:
        findings.extend(examine(conn_id, declared=declared_robots()))
    except SQLAlchemyError:
        raise
    except Exception as error:  # a secrets backend may raise anything, and its words may hold secrets
        findings.append(
            Finding(
                "doctor",
                "failed",
                f"The examination ended early ({type(error).__name__}).",
                "See whether the connection can be read where Airflow keeps it.",
            )
        )
    return findings


def _rows(user: Visitor) -> list[ConnectionRow]:
    robots = {robot.definition.bitrix24_conn_id for robot in declared_robots().robots}
    conn_ids = [
        conn_id for conn_id in sorted(robots | set(portal_conn_ids())) if user.may_see_connection(conn_id)
    ]
    refused: Counter[str] = Counter()
    since: dict[str, dt.datetime] = {}
    for one in list_refusals(dt.datetime.now(dt.UTC) - _REFUSALS_OF):
        refused[one.conn_id] += one.number
        since[one.conn_id] = min(one.first_at, since.get(one.conn_id, one.first_at))
    with reading() as session:
        visible = user.visible(dag_ids_on_record(session))
        last = last_received(visible, session, _NEWEST)
        waiting = {
            conn_id: count(Wanted(visible=visible, state="waiting", conn_id=conn_id), session, _MOST_COUNTED)
            for conn_id in conn_ids
        }
    rows = []
    for conn_id in conn_ids:
        portal, problem = _portal(conn_id)
        rows.append(
            ConnectionRow(
                conn_id,
                portal,
                problem,
                last.get(conn_id),
                waiting[conn_id],
                refused[conn_id],
                since.get(conn_id),
                user.may_edit_connection(conn_id),
            )
        )
    return rows


def _portal(conn_id: str) -> tuple[Portal | None, str]:
    """Look a connection up, or tell why it cannot be used."""
    try:
        return Portal.of(PortalConnection.load(conn_id)), ""
    except ConnectionConfigError as error:
        return None, str(error)
    except SQLAlchemyError:
        raise
    except Exception as error:  # as above
        return None, f"Airflow finds no such connection, or cannot read it ({type(error).__name__})."


def _holder(connection: PortalConnection, installation: Installation | None) -> tuple[str, str, str]:
    """Say of what kind a connection is, for whom it calls, and what becomes of it without that person."""
    if isinstance(connection.credentials, Webhook):
        return (
            "incoming webhook",
            f"user {connection.credentials.user_id}, who has made the webhook",
            "When this person is dismissed, the webhook has to be moved to a system user in Bitrix24.",
        )
    if installation is None or installation.user_id is None:
        why = (
            "its tokens were entered by hand"
            if connection.tokens
            else "the application was not connected yet"
        )
        return "application", f"not known here: {why}", ""
    name = installation.user_name or "a user without a name"
    role = {True: ", an administrator then", False: ", no administrator then", None: ""}
    return (
        "application",
        f"{name} (user {installation.user_id}){role[installation.administrator]}",
        "The tokens of a local application end when this person is dismissed. Bitrix24 does not tell a person from "
        "a service account: connect it by an account that stays.",
    )


def _receiver() -> tuple[str, str]:
    """Give the receiver's address, or why it is not known."""
    try:
        return receiver_url(), ""
    except ValueError as error:
        return "", str(error)


def _time(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)
