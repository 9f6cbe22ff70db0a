"""A robot's call: authenticated, put on record, and nothing else."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.calls.intake import Intake, NotDurableError
from airflow_provider_b24.calls.new_call import NewCall
from airflow_provider_b24.receiver.answers import Answer, RefusedError
from airflow_provider_b24.rest.encoding import MalformedFormError, parse_form
from airflow_provider_b24.robots.call import MalformedCallError
from airflow_provider_b24.robots.dev_prefix import DevPrefix

if TYPE_CHECKING:
    from airflow_provider_b24.receiver.portals import Portals

log = logging.getLogger(__name__)

_READ_IN_THREAD = 64 * 1024
"""From so many bytes on, reading the form would hold up the other requests."""
_NO_FORM = "The body cannot be read as a form."


class _NoFormError(RefusedError):
    """A body that cannot be read; the message quotes it, which is for the caller and not for the record."""


@dataclass(frozen=True, slots=True)
class RobotCalls:
    """Takes robot calls.

    :param intake: where they get on record.
    :param portals: who may call.
    """

    intake: Intake
    portals: Portals

    async def take(self, conn_id: str, dag_id: str, body: bytes, *, prefix: str | None = None) -> Answer:
        """Put a call on record; when this returns, it is durable.

        Nothing about DAGs is looked up: a call for a DAG that is not parsed yet, broken or renamed waits for it.

        :param prefix: of the robot's code in the portal, and not in its DAG.
        :raises RefusedError: when the call is none, or not genuine; that is on record as well, without what it said.
        """
        try:
            return await self._take(conn_id, dag_id, body, prefix)
        except RefusedError as refusal:
            # Strangers can invent names without end.
            known = conn_id if self.portals.knows(conn_id) else ""
            message = _NO_FORM if isinstance(refusal, _NoFormError) else refusal.message
            self.intake.refuse(known, refusal.error, message)
            raise

    async def _take(self, conn_id: str, dag_id: str, body: bytes, prefix: str | None) -> Answer:
        received_at = dt.datetime.now(dt.UTC)
        fields = (
            _read_form(body) if len(body) < _READ_IN_THREAD else await asyncio.to_thread(_read_form, body)
        )
        await self.portals.authenticated(conn_id, fields.get("auth"))
        if prefix is not None:
            fields = _without_prefix(fields, prefix)
        try:
            call = NewCall.from_form(conn_id, dag_id, fields, received_at)
        except MalformedCallError as error:
            raise RefusedError(400, "malformed", str(error)) from None
        try:
            taken = await self.intake.take(call)
        except NotDurableError:
            raise RefusedError(
                503, "not_durable", "The call could not be put on record; post it again."
            ) from None
        response: dict[str, Any] = {"call": call.id, "run_id": call.run_id}
        if taken.in_spool:
            response["spooled"] = True
        if not taken.is_new:
            return Answer(200, response | {"duplicate": True})
        return Answer(202, response)


def _without_prefix(fields: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """Give a call the code that its DAG declares: the address it came by says what was put before it."""
    code = fields.get("code")
    try:
        return {**fields, "code": DevPrefix(prefix).stripped(code)} if isinstance(code, str) else fields
    except ValueError as error:
        raise RefusedError(400, "malformed", str(error)) from None


def _read_form(body: bytes) -> Mapping[str, Any]:
    try:
        return parse_form(body)
    except MalformedFormError as error:
        raise _NoFormError(400, "malformed", f"{error}.") from None
