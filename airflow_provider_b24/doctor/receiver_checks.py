"""Checks of the way back: whether Bitrix24 can reach the receiver, and will be accepted there."""

from __future__ import annotations

import ipaddress
import socket
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

from airflow_provider_b24.doctor.examination import Answers, Examination
from airflow_provider_b24.doctor.finding import Finding
from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.hooks.addresses import events_url, receiver_url
from airflow_provider_b24.rest.credentials import is_loopback

_SECONDS = 5.0
_POLL = 0.2


def check_proof_of_origin(examination: Examination) -> Finding:
    """Check that the receiver can tell the portal's calls from others."""
    portal, conn_id = examination.portal, examination.connection.conn_id
    if portal.application_token is None:
        return Finding(
            "proof of origin",
            "failed",
            "No application_token is known: all robot calls are refused.",
            f"Open the application in Bitrix24 as an administrator, or run `airflow-b24 connect {conn_id}`. "
            "Robots of a webhook connection: enter the application_token in its extra.",
        )
    if portal.member_id is None:
        return Finding(
            "proof of origin",
            "warning",
            "The application_token is known, but not the portal's member_id.",
            f"Run `airflow-b24 connect {conn_id}`, or enter member_id in the connection's extra.",
        )
    return Finding("proof of origin", "ok", f"Robot calls of the portal {portal.member_id} are recognized.")


def check_uninstall_notice(examination: Examination) -> Finding:
    """Check that the portal tells when the application is uninstalled."""
    answers, conn_id = examination.answers, examination.connection.conn_id
    check = "uninstall notice"
    if not isinstance(answers, Answers) or examination.connection.kind == "webhook":
        return Finding(check, "unknown", "Not checked: there is no application that can be asked.")
    bound = answers.result("event.get")
    try:
        wanted = ("ONAPPUNINSTALL", events_url(conn_id))
    except ValueError:
        return Finding(check, "unknown", "Not checked: the receiver's address is not known.")
    if any((one.get("event"), one.get("handler")) == wanted for one in bound or []):
        return Finding(check, "ok", "The portal tells when the application is uninstalled.")
    return Finding(
        check,
        "warning",
        "The portal will not tell when the application is uninstalled.",
        f"Run `airflow-b24 connect {conn_id}`.",
    )


def check_receiver_address(examination: Examination) -> Finding:
    """Check that the receiver's address is one that Bitrix24 can post to."""
    check = "receiver address"
    try:
        url = receiver_url()
    except ValueError as error:
        return Finding(
            check, "failed", str(error), "Then register the robots again: they know the old address."
        )
    parts = urlsplit(url)
    host = parts.hostname or ""
    portal_is_here = is_loopback(urlsplit(examination.connection.portal_url).hostname or "")
    if is_loopback(host) and portal_is_here:
        return Finding(check, "ok", f"{url} is on this machine, as the portal is.")
    advice = "Publish the receiver over https, and set AIRFLOW__BITRIX24__RECEIVER_URL to its public address."
    if parts.scheme != "https":
        return Finding(check, "failed", f"Bitrix24 posts to https only, and {url} is not.", advice)
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, parts.port or 443)}
    except OSError:
        return Finding(check, "failed", f"The name {host} is not known to the name service here.", advice)
    private = sorted(one for one in addresses if not ipaddress.ip_address(one.partition("%")[0]).is_global)
    if private and len(private) == len(addresses):
        return Finding(
            check,
            "warning",
            f"From here {host} has a private address ({', '.join(private)}): a portal in the cloud cannot reach it, "
            "unless the name means something else outside.",
            advice,
        )
    return Finding(check, "ok", f"{url} is a public https address.")


def check_receiver_answers(_: Examination) -> Finding:
    """Check that the receiver answers at its address."""
    import requests

    check = "receiver"
    try:
        url = f"{receiver_url()}/health"
    except ValueError:
        return Finding(check, "unknown", "Not checked: the receiver's address is not known.")
    advice = (
        "Check that Airflow's API server runs, that airflow-provider-b24 is installed there, and that the proxy in "
        "front of it passes /bitrix24 on."
    )
    try:
        answer = requests.get(url, timeout=_SECONDS, allow_redirects=False)
        healthy = answer.status_code == 200 and answer.json().get("status") == "healthy"
    except (requests.RequestException, ValueError, AttributeError) as error:
        return Finding(check, "failed", f"{url} does not answer from here ({type(error).__name__}).", advice)
    if not healthy:
        return Finding(
            check, "failed", f"{url} answers with HTTP {answer.status_code}, not as healthy.", advice
        )
    return Finding(check, "ok", f"{url} answers from here.")


def check_way_back(examination: Examination) -> Finding:
    """Check that Bitrix24 reaches the receiver; only an event of the portal can show it."""
    check, conn_id = "way back", examination.connection.conn_id
    if not examination.round_trip:
        installation = examination.installation
        if installation is not None and installation.reached_at is not None:
            when = datetime.fromtimestamp(installation.reached_at, UTC)
            return Finding(check, "ok", f"A test event of the portal arrived at {when:%Y-%m-%d %H:%M} UTC.")
        return Finding(
            check,
            "unknown",
            "Whether Bitrix24 can reach the receiver cannot be seen from here.",
            f"`airflow-b24 doctor {conn_id} --round-trip` has the portal post a test event.",
        )
    if not isinstance(examination.answers, Answers) or examination.connection.kind == "webhook":
        return Finding(check, "unknown", "Not checked: there is no application that can be asked.")
    return _make_round_trip(examination)


def _make_round_trip(examination: Examination) -> Finding:
    from airflow_provider_b24.hooks.tokens import VariableTokenStore
    from airflow_provider_b24.installation.client import short_timeout_client
    from airflow_provider_b24.installation.test_event import request_test_event

    check, connection = "way back", examination.connection
    began = time.time()
    try:
        with short_timeout_client(connection, VariableTokenStore(connection)) as client:
            request_test_event(connection, client)
    except (Bitrix24Error, ValueError) as error:
        return Finding(
            check,
            "failed",
            f"The portal does not post a test event: {error}",
            "Finish the installation of the application; check the receiver's address.",
        )
    ends = time.monotonic() + examination.patience
    while time.monotonic() < ends:
        installation = examination.installation
        if installation is not None and (installation.reached_at or 0) >= began:
            return Finding(
                check, "ok", "The portal has posted a test event, and the receiver has accepted it."
            )
        time.sleep(_POLL)
    return Finding(
        check,
        "failed",
        f"The portal was asked to post a test event, and none arrived within {examination.patience:.0f} seconds.",
        "Check from outside that the receiver's address can be reached over https with a valid certificate, and that "
        "the API server knows the connection: one in the environment has to be in the API server's, too. Its log shows "
        "whether the event came and was refused.",
    )
