"""A robot call on its way from the HTTP body to a committed DAG run."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_b24.receiver.answers import Answer, RefusedError, anonymous, unavailable
from airflow_provider_b24.receiver.database import is_away
from airflow_provider_b24.receiver.portals import Portals, authenticate
from airflow_provider_b24.receiver.spool import RefusedForGoodError, Spool, SpooledCall
from airflow_provider_b24.rest.encoding import MalformedFormError, parse_form
from airflow_provider_b24.robots.call import MalformedCallError, RobotCall

if TYPE_CHECKING:
    from airflow_provider_b24.receiver.dag_runs import RobotDag

log = logging.getLogger(__name__)


class Runs(Protocol):
    """Where robots are found and their runs are started."""

    def find_robot(self, dag_id: str) -> RobotDag | None:
        """Find a robot by its DAG."""

    def start(self, robot: RobotDag, run_id: str, conf: Mapping[str, Any]) -> bool:
        """Start a run durably; ``False`` when it exists already."""


class UnknownReceiverError(RefusedForGoodError):
    """The connection or the robot that a kept call is for is not there; it may be back in a while."""


def run_id_of(event_token: str) -> str:
    """Name the DAG run of a call: the same call always gets the same name."""
    return f"bitrix24__{hashlib.sha256(event_token.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class RobotCalls:
    """Accepts robot calls.

    :param runs: where their DAG runs are started.
    :param portals: who may call.
    :param spool: where calls are kept while runs cannot be started.
    """

    runs: Runs
    portals: Portals
    spool: Spool

    def accept(self, conn_id: str, dag_id: str, body: bytes) -> Answer:
        """Verify a call and start its run; when this returns, the call is durable.

        Nothing about DAGs is looked up, and so nothing can be learned about them, before the call is authenticated.

        :raises RefusedError: when the call starts nothing. Whatever else goes wrong, a genuine call is kept.
        """
        fields = _read_form(body)
        try:
            portal = self.portals.find(conn_id)
            if portal is None:
                raise RefusedError(404, "unknown_connection", "There is no such connection.")
            authenticate(portal, fields.get("auth"))
            return self._start(conn_id, dag_id, fields)
        except RefusedError:
            raise
        except Exception as error:
            if is_away(error):
                log.warning(
                    "A robot call cannot be done now, Airflow's database is away: %s", type(error).__name__
                )
            else:
                # Perhaps the database is being migrated. Bitrix24 does not repeat the call, so it must be kept.
                log.error("A robot call for DAG %r failed: %s", dag_id, anonymous(error))
        return self.keep(conn_id, dag_id, body)

    def keep(self, conn_id: str, dag_id: str, body: bytes) -> Answer:
        """Keep a call for later, without the database: verified against the connection as it was last seen.

        Whether the DAG is a robot, and the call complete, shows when it is done.

        :raises RefusedError: when the call is not genuine, or cannot be kept.
        """
        fields = _read_form(body)
        portal = self.portals.remembered(conn_id)
        if portal is None:
            raise unavailable()
        authenticate(portal, fields.get("auth"))
        event_token = fields.get("event_token")
        if not isinstance(event_token, str) or not event_token.strip():
            raise RefusedError(400, "malformed", "event_token is missing or no text.")
        run_id = run_id_of(event_token)
        try:
            kept = self.spool.keep(SpooledCall(conn_id, dag_id, run_id, _without_credentials(fields)))
        except OSError as error:
            log.error(
                "A robot call is lost: the spool in %s does not take it: %s",
                self.spool.folder,
                error.strerror,
            )
            raise unavailable() from None
        if not kept:
            return Answer(200, {"run_id": run_id, "duplicate": True})
        return Answer(202, {"run_id": run_id, "spooled": True})

    def redo(self, call: SpooledCall) -> None:
        """Do a call that was kept.

        :raises UnknownReceiverError: when there is no such connection or robot now.
        :raises RefusedForGoodError: when it can never be done.
        """
        portal = self.portals.find(call.conn_id)
        if portal is None or portal.application_token is None:
            raise UnknownReceiverError(f"the connection {call.conn_id!r} no longer takes calls.")
        try:
            self._start(call.conn_id, call.dag_id, call.fields)
        except RefusedError as error:
            kind = UnknownReceiverError if error.status == 404 else RefusedForGoodError
            raise kind(f"DAG {call.dag_id!r}: {error.message}") from None

    def _start(self, conn_id: str, dag_id: str, fields: Mapping[str, Any]) -> Answer:
        robot = self.runs.find_robot(dag_id)
        if robot is None or robot.definition.bitrix24_conn_id != conn_id:
            log.warning(
                "A robot call for DAG %r with connection %r is refused: %s",
                dag_id,
                conn_id,
                "there is no such robot DAG." if robot is None else "it answers with another connection.",
            )
            raise _unknown_robot()
        try:
            call = RobotCall.from_form(fields, robot.definition)
        except MalformedCallError as error:
            raise RefusedError(400, "malformed", str(error)) from None
        if call.code != robot.definition.code:
            log.warning("A robot call for DAG %r is refused: its code is not the DAG's.", dag_id)
            raise _unknown_robot()
        run_id = run_id_of(call.event_token)
        if not self.runs.start(robot, run_id, call.to_conf()):
            return Answer(200, {"run_id": run_id, "duplicate": True})
        return Answer(202, {"run_id": run_id})


def _read_form(body: bytes) -> dict[str, Any]:
    try:
        return parse_form(body)
    except MalformedFormError as error:
        raise RefusedError(400, "malformed", f"{error}.") from None


def _without_credentials(fields: Mapping[str, Any]) -> dict[str, Any]:
    auth = fields["auth"]
    return {**fields, "auth": {name: auth[name] for name in ("member_id", "user_id") if name in auth}}


def _unknown_robot() -> RefusedError:
    return RefusedError(404, "unknown_robot", "There is no such robot.")
