"""The public address that a tunnel gives this machine, and whether requests to it get here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_b24.doctor import receiver_checks
from airflow_provider_b24.doctor.examination import Answers, Examination
from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.addresses import events_url
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.rest.credentials import is_loopback

if TYPE_CHECKING:
    from airflow_provider_b24.doctor.finding import Finding

_MOUNTED_AT = "/bitrix24"
_VARIABLE = "AIRFLOW__BITRIX24__RECEIVER_URL"
_PATIENCE = 30.0


def receiver_address(text: str) -> str:
    """Read the address of a tunnel, or of the receiver behind it, and give the receiver's.

    :raises ValueError: when Bitrix24 cannot post to such an address.
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is no address of a tunnel: https://name.example.com is one.")
    if parts.username is not None:
        raise ValueError("Bitrix24 signs in nowhere: give an address without a user and a password.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(
            f"Bitrix24 posts to https only, and {text!r} is not. Take the tunnel's https address."
        )
    path = parts.path.rstrip("/").removesuffix(_MOUNTED_AT)
    return f"{parts.scheme}://{parts.netloc}{path}{_MOUNTED_AT}"


def use_address(receiver: str) -> None:
    """Let everything in this process know the receiver by this address."""
    os.environ[_VARIABLE] = receiver


def check_way_back(conn_id: str) -> Iterator[Finding]:
    """Check that what the portal posts to the address gets to this Airflow, and is believed; stops at what fails.

    The portal is asked to post a test event with a random text that only this Airflow's database knows.

    :raises AirflowException: when there is no such connection.
    :raises ConnectionConfigError: when it cannot be used.
    """
    connection = PortalConnection.load(conn_id)
    examination = Examination(connection, round_trip=True, patience=_PATIENCE)
    had_subscribed = _has_subscribed(examination)
    try:
        for check in (
            receiver_checks.check_receiver_address,
            receiver_checks.check_receiver_answers,
            receiver_checks.check_way_back,
        ):
            finding = check(examination)
            yield finding
            if finding.verdict == "failed":
                return
    finally:
        if not had_subscribed:
            _unsubscribe(connection)
    # Asked for anew: the test event has brought the application_token where it was not known.
    yield receiver_checks.check_proof_of_origin(Examination(connection))


def _has_subscribed(examination: Examination) -> bool:
    """Tell whether the application gets test events at this address by itself, as after `airflow-b24 connect`."""
    if not isinstance(examination.answers, Answers):
        return True
    wanted = ("ONAPPTEST", events_url(examination.connection.conn_id))
    bound = examination.answers.result("event.get") or []
    return any((one.get("event"), one.get("handler")) == wanted for one in bound)


def _unsubscribe(connection: PortalConnection) -> None:
    """Leave no subscription to an address that is gone tomorrow."""
    from airflow_provider_b24.hooks.tokens import VariableTokenStore
    from airflow_provider_b24.installation.client import short_timeout_client

    with suppress(Bitrix24Error), short_timeout_client(connection, VariableTokenStore(connection)) as client:
        client.call("event.unbind", {"event": "ONAPPTEST", "handler": events_url(connection.conn_id)})
