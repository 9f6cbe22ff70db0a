"""A call that has just come: from the posted form to the row that puts it on record."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_b24._airflow.encryption import WrongKeyError, decrypt, encrypt
from airflow_provider_b24.calls.table import call_id_of, run_id_of
from airflow_provider_b24.robots.call import Envelope, MalformedCallError

_KEPT_OF_AUTH = ("member_id", "user_id")
# As long as their columns are.
_LONGEST = {"conn_id": 250, "dag_id": 250, "code": 255, "process": 255, "document": 765}


class UnreadablePayloadError(ValueError):
    """What is kept of a call cannot be read; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class NewCall:
    """An authenticated call.

    :param conn_id: the connection whose application token it carried.
    :param dag_id: the DAG it is for, which need not exist.
    :param fields: its form, without credentials.
    :param received_at: when its last byte came, in UTC.
    :raises MalformedCallError: when it is no robot call.
    """

    conn_id: str
    dag_id: str
    fields: Mapping[str, Any] = field(repr=False)
    received_at: dt.datetime
    envelope: Envelope = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "envelope", Envelope.from_form(self.fields))

    @classmethod
    def from_form(
        cls, conn_id: str, dag_id: str, form: Mapping[str, Any], received_at: dt.datetime
    ) -> NewCall:
        """Take a posted form, and leave its credentials out.

        :raises MalformedCallError: when it is no robot call.
        """
        given = form.get("auth")
        auth = given if isinstance(given, Mapping) else {}
        kept = {name: auth[name] for name in _KEPT_OF_AUTH if name in auth}
        call = cls(conn_id, dag_id, {**form, "auth": kept}, received_at)
        call._check_columns()
        return call

    @property
    def id(self) -> str:
        """The call's id: the same call always has the same."""
        return call_id_of(self.envelope.event_token)

    @property
    def run_id(self) -> str:
        """The id of the run that the call starts."""
        return run_id_of(self.envelope.event_token)

    @property
    def _document(self) -> str:
        document = self.envelope.document
        return f"{document.module}/{document.entity}/{document.id}"

    def to_row(self) -> dict[str, Any]:
        """Give the columns of the call's row, except for the payload."""
        envelope = self.envelope
        sent_at = _moment(envelope.ts) if envelope.ts else self.received_at
        # The portal's clock may be ahead of this one: the process then waits longer than it seems, not shorter.
        began = min(sent_at, self.received_at)
        limit = envelope.timeout_duration
        return {
            "id": self.id,
            "conn_id": self.conn_id,
            "code": envelope.code,
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "process": envelope.workflow_id,
            "document": self._document,
            "waits": envelope.use_subscription,
            "sent_at": sent_at,
            "received_at": self.received_at,
            "process_ends_at": began + dt.timedelta(seconds=limit)
            if limit and envelope.use_subscription
            else None,
            "state": "received",
            "reason": None,
            "attempts": 0,
            "due_at": self.received_at,
        }

    def _check_columns(self) -> None:
        """Check that a database takes the row.

        :raises MalformedCallError: when it does not, or this is no robot call.
        """
        row = self.to_row()
        for column, longest in _LONGEST.items():
            if len(row[column]) > longest:
                raise MalformedCallError(f"{column} is longer than {longest} characters.")
            if "\x00" in row[column]:
                raise MalformedCallError(f"{column} holds a NUL character.")

    def to_payload(self) -> str:
        """Encrypt what the call said, for the table and for the spool."""
        return encrypt(
            json.dumps(
                {
                    "conn_id": self.conn_id,
                    "dag_id": self.dag_id,
                    "fields": self.fields,
                    "received_at": self.received_at.timestamp(),
                }
            )
        )

    @classmethod
    def from_payload(cls, payload: str | None, otherwise_received_at: float = 0.0) -> NewCall:
        """Read what :meth:`to_payload` wrote.

        :param otherwise_received_at: when the call came, for payloads of version 0.1, which do not say.
        :raises UnreadablePayloadError: when it cannot be read.
        """
        if payload is None:
            raise UnreadablePayloadError("what the call said is gone")
        try:
            data = json.loads(decrypt(payload))
            received_at = float(data.get("received_at") or otherwise_received_at)
            call = cls(str(data["conn_id"]), str(data["dag_id"]), dict(data["fields"]), _moment(received_at))
            call._check_columns()
        except WrongKeyError as error:
            raise UnreadablePayloadError(str(error)) from None
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            raise UnreadablePayloadError("what is kept of the call is damaged") from None
        return call


def _moment(unix: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(unix, dt.UTC)
