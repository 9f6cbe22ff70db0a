"""The capability to deliver one result: signed, expiring, bound to one task instance of one DAG run."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

_DEFAULT_CONN_ID = "bitrix24_default"
_DEFAULT_EXPIRES_IN = 7 * 24 * 3600.0
_MAX_LENGTH = 4096
_SALT = b"result reference"


class ForgedReferenceError(ValueError):
    """The reference was not made by this Airflow, or was changed on its way."""


class ExpiredReferenceError(ValueError):
    """The reference is genuine, but its time is over."""


@dataclass(frozen=True, slots=True)
class ResultReference:
    """Which task instance a delivered result belongs to.

    :param conn_id: the connection whose secret signs the reference.
    :param dag_id: the DAG.
    :param run_id: the DAG run.
    :param task_id: the task that handed the reference out, under which the result is stored.
    :param map_index: that task's map index, -1 if it is not mapped.
    :param expires_at: Unix time in seconds after which the reference is worthless.
    """

    conn_id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    expires_at: int

    def sign(self, key: bytes) -> str:
        """Write the reference as one URL path segment."""
        from itsdangerous import Signer

        payload = json.dumps(astuple(self), separators=(",", ":")).encode()
        encoded = base64.urlsafe_b64encode(payload).rstrip(b"=")
        return Signer(key, salt=_SALT, digest_method=hashlib.sha256).sign(encoded).decode()

    @classmethod
    def read(cls, text: str, key: bytes, *, now: float) -> ResultReference:
        """Read a reference back.

        :param key: the key it must have been signed with.
        :param now: Unix time in seconds.
        :raises ForgedReferenceError: when it is not genuine.
        :raises ExpiredReferenceError: when its time is over.
        """
        from itsdangerous import BadSignature, Signer

        try:
            Signer(key, salt=_SALT, digest_method=hashlib.sha256).unsign(text)
        except (BadSignature, UnicodeEncodeError):
            raise ForgedReferenceError("The result reference is not genuine.") from None
        reference = _decode(text)
        if now >= reference.expires_at:
            raise ExpiredReferenceError("The result reference has expired.")
        return reference


def claimed_conn_id(text: str) -> str:
    """Tell which connection an *unverified* reference names: good for finding the key, and for nothing else.

    :raises ForgedReferenceError: when the text cannot be a reference.
    """
    return _decode(text).conn_id


def _decode(text: str) -> ResultReference:
    # Not itsdangerous' URLSafeSerializer: it unpacks compressed payloads, and this reads them before the
    # signature can be checked.
    payload, _, _signature = text.rpartition(".")
    try:
        if not payload or len(text) > _MAX_LENGTH:
            raise ValueError("length")
        fields = json.loads(
            base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_", validate=True)
        )
    except (ValueError, binascii.Error, RecursionError):
        raise ForgedReferenceError("The result reference cannot be read.") from None
    if (
        not isinstance(fields, list)
        or len(fields) != 6
        or not all(isinstance(field, str) for field in fields[:4])
        or not all(type(field) is int for field in fields[4:])
    ):
        raise ForgedReferenceError("The result reference cannot be read.")
    return ResultReference(*fields)


def result_url(
    source: Any,
    *,
    bitrix24_conn_id: str | None = None,
    expires_in: float | None = None,
) -> str:
    """Make the URL to which an external worker delivers the result of the calling task instance.

    In templates: ``{{ macros.bitrix24.result_url(ti) }}``. The worker sends a JSON object with ``POST`` to the
    URL, once (and again if it gets no answer or a ``503``: ``409`` then says that the first had arrived);
    ``POST URL/fail`` with ``{"message": "..."}`` reports failure, ``POST URL/heartbeat`` says that
    the work goes on. Whoever has the URL may do so without any other credential: hand it to the worker only.
    Airflow masks it in the task's log and rendered templates, not in its XComs. It stops working when it expires,
    when a result has been delivered, and when the secret of the connection (webhook code or client secret) changes.

    :param source: the task's context, or its ``ti``. The result is stored under this task instance; an
        ``ExternalResultSensor`` with this task as ``source_task_id`` waits for it.
    :param bitrix24_conn_id: connection whose secret signs the URL; by default the one that the DAG's robot answers
        with, and ``bitrix24_default`` for a DAG that is no robot.
    :param expires_in: seconds until the URL expires; by default as long as the calling process waits
        (``ts + timeout_duration``), and seven days where it waits without limit.
    :raises ConnectionConfigError: when the connection cannot be used.
    :raises ValueError: when the receiver's public address is unknown or ``expires_in`` is not positive.
    """
    from airflow.sdk.log import mask_secret

    from airflow_provider_b24._airflow.xcoms import delete_of_earlier_tries
    from airflow_provider_b24.hooks.addresses import receiver_url
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.sensors.result_delivery import RESULT_KEY

    context: Mapping[str, Any] = source if isinstance(source, Mapping) else source.get_template_context()
    ti = context["ti"]
    if expires_in is not None and not expires_in > 0:
        raise ValueError(f"expires_in must be a positive number of seconds, not {expires_in!r}.")
    if expires_in is not None:
        expires_at = time.time() + expires_in
    else:
        expires_at = patience_ends_at(context["dag_run"].conf) or time.time() + _DEFAULT_EXPIRES_IN
    reference = ResultReference(
        conn_id=bitrix24_conn_id or _conn_id_of_robot(context) or _DEFAULT_CONN_ID,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        expires_at=int(expires_at),
    )
    signed = reference.sign(PortalConnection.load(reference.conn_id).signing_key("result"))
    mask_secret(signed)
    delete_of_earlier_tries(RESULT_KEY, ti)
    return f"{receiver_url()}/results/{signed}"


def patience_ends_at(conf: Mapping[str, Any] | None) -> float | None:
    """Tell until when the process that called the robot waits for its answer.

    :param conf: the DAG run's conf.
    :return: Unix time in seconds; ``None`` when it waits without limit, does not wait at all
        (``use_subscription`` is ``N``), or when no process stands behind the run.
    """
    if not conf or conf.get("use_subscription") == "N":
        return None
    try:
        sent_at, patience = float(conf.get("ts") or 0), float(conf.get("timeout_duration") or 0)
    except (TypeError, ValueError):
        return None
    return sent_at + patience if sent_at > 0 and 0 < patience < float("inf") else None


def _conn_id_of_robot(context: Mapping[str, Any]) -> str | None:
    dag = context.get("dag") or getattr(context.get("task"), "dag", None)
    reply = dag.task_dict.get("reply") if dag is not None else None
    if reply is None or reply.task_type != "RobotReplyOperator":
        return None
    conn_id = reply.bitrix24_conn_id
    return conn_id if isinstance(conn_id, str) else None
