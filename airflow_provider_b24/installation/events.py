"""What Bitrix24 posts when an application is installed, opened, tested or uninstalled: one parser, one decision.

Each post is handled in two steps. The first compares what can be compared, and asks nobody but Airflow's database; the
second, which strangers cannot have as often as they like, asks the portal.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import Bitrix24Error, InstallationRefusedError
from airflow_provider_b24.installation import grants, test_event, uninstallation
from airflow_provider_b24.installation.grants import Connected, Grant
from airflow_provider_b24.receiver.answers import Answer, RefusedError
from airflow_provider_b24.receiver.portals import find_connection
from airflow_provider_b24.rest.credentials import named_oauth_server
from airflow_provider_b24.rest.encoding import MalformedFormError, parse_form

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection

log = logging.getLogger(__name__)

_SECRET = re.compile(r"[\x21-\x7e]{1,512}")
_CONFLICTS = ("not_an_application", "other_portal")


@dataclass(frozen=True, slots=True)
class Installed:
    """An installation that was taken over.

    :param connection: whose it is, as Airflow has it.
    :param connected: what came of it.
    :param problems: what does not work all the same, in sentences.
    """

    connection: PortalConnection
    connected: Connected
    problems: list[str]


def is_event(body: bytes) -> bool:
    """Tell an event from what a browser posts for a page: both may go to the address in the application's card."""
    return "event" in _read_form(body)


def check_event(conn_id: str, body: bytes) -> Answer | Callable[[], Answer]:
    """Read an event of the application's own life, and compare it with what is known.

    :return: the answer, or, where the portal must be asked first, what asks it and gives the answer.
    :raises RefusedError: when it says nothing, or nothing that can be believed; so does what is returned.
    """
    fields = _read_form(body)
    event = _text(fields, "event").upper()
    auth = fields.get("auth")
    if not isinstance(auth, Mapping):
        raise _malformed("auth is missing.")
    member_id, application_token = _secret(auth, "member_id"), _secret(auth, "application_token")
    sent = _time(fields)
    # An update brings a new pair of tokens and a new application token, as an installation does.
    if event in ("ONAPPINSTALL", "ONAPPUPDATE"):
        access_token, refresh_token = _secret(auth, "access_token"), _secret(auth, "refresh_token")
        oauth_server = named_oauth_server(auth.get("server_endpoint"))
        grant = Grant(access_token, refresh_token, member_id, application_token, sent, oauth_server)
        return partial(_install_by_event, _checked(conn_id, grant), grant)
    if event == "ONAPPUNINSTALL":
        with _refusals():
            connection = _find(conn_id)
            if not uninstallation.check_claims(connection, application_token, member_id, sent):
                log.info(
                    "An event says that the application of connection %r was uninstalled; it is old.", conn_id
                )
                return Answer(200, {"uninstalled": False})
        return partial(_uninstall, connection, member_id)
    if event == "ONAPPTEST":
        challenge = _challenge(fields)
        with _refusals():
            test_event.take_test_event(_find(conn_id), challenge, application_token, member_id)
        log.info("A test event of the portal of connection %r has arrived.", conn_id)
        return Answer(200, {"arrived": True})
    raise RefusedError(400, "unknown_event", "This receiver does not handle this event.")


def check_page(conn_id: str, body: bytes) -> Callable[[], Installed]:
    """Read what a browser posts when an administrator opens the application, and compare it with what is known.

    :return: what asks the portal, and takes the installation over.
    :raises RefusedError: when it cannot be believed; so does what is returned.
    """
    fields = _read_form(body)
    application_token = _secret(fields, "APPLICATION_TOKEN") if fields.get("APPLICATION_TOKEN") else None
    access_token, refresh_token = _secret(fields, "AUTH_ID"), _secret(fields, "REFRESH_ID")
    oauth_server = named_oauth_server(fields.get("SERVER_ENDPOINT"))
    grant = Grant(
        access_token,
        refresh_token,
        _secret(fields, "member_id"),
        application_token,
        oauth_server=oauth_server,
    )
    return partial(_install, _checked(conn_id, grant), grant)


def take_code(connection: PortalConnection, code: str, server_domain: str = "") -> Installed:
    """Take over an installation by the authorization code of someone who has proven who he is.

    :param server_domain: where the portal says that the code was made.
    :raises RefusedError: when it cannot be believed.
    """
    if not _SECRET.fullmatch(code):
        raise _malformed("code is malformed.")
    with _refusals():
        return _installed(
            connection,
            grants.connect_by_code(connection, code, oauth_server=named_oauth_server(server_domain)),
        )


def _checked(conn_id: str, grant: Grant) -> PortalConnection:
    with _refusals():
        connection = _find(conn_id)
        grants.check_claims(connection, grant)
        return connection


def _install(connection: PortalConnection, grant: Grant) -> Installed:
    with _refusals():
        return _installed(connection, grants.install(connection, grant))


def _install_by_event(connection: PortalConnection, grant: Grant) -> Answer:
    _install(connection, grant)
    return Answer(200, {"installed": True})


def _installed(connection: PortalConnection, connected: Connected) -> Installed:
    log.info(
        "The application of connection %r is installed; it acts for %s.", connection.conn_id, connected.user
    )
    problems = test_event.arrange_events(connection)
    for problem in problems:
        log.warning("The application of connection %r: %s", connection.conn_id, problem)
    return Installed(connection, connected, problems)


def _uninstall(connection: PortalConnection, member_id: str) -> Answer:
    with _refusals():
        done = uninstallation.uninstall(connection, member_id)
    log.warning(
        "The application of connection %r was uninstalled from its portal%s.",
        connection.conn_id,
        "" if done else " before it was installed again; nothing changes",
    )
    return Answer(200, {"uninstalled": done})


def _find(conn_id: str) -> PortalConnection:
    found = find_connection(conn_id)
    if found is None:
        raise RefusedError(404, "unknown_connection", "There is no such connection.")
    return found


@contextmanager
def _refusals() -> Iterator[None]:
    """Say no in the receiver's way."""
    try:
        yield
    except InstallationRefusedError as error:
        # To the operator, the reason with names; to a stranger, a word and what a person at the portal can do.
        log.warning("An event, page or sign-in of an application is refused: %s", error)
        status = 409 if error.code in _CONFLICTS else 503 if error.code == "not_verified" else 403
        raise RefusedError(status, error.code, _REASONS[error.code]) from None
    except Bitrix24Error as error:
        log.error("What an event, page or sign-in of an application says cannot be verified: %s", error)
        raise RefusedError(
            503, "not_verified", "The portal or its authorization server cannot be asked; try again later."
        ) from None


_REASONS = {
    "not_an_application": "The connection is no application: it needs client_id and client_secret.",
    "no_tokens": "There are no tokens to verify with that the application was uninstalled.",
    "not_administrator": "Only an administrator of the portal can install the application.",
    "not_granted": "The tokens are not confirmed to be granted to this application by this portal.",
    "not_verified": "The portal does not say whom the tokens stand for, and they work once: when it answers again, "
    "open the application in Bitrix24 as an administrator, or install it again, or run airflow-b24 connect.",
    "other_portal": "The connection belongs to another portal.",
    "still_installed": "The portal still accepts the application.",
    "unknown_application_token": "The connection has no application_token to verify this with.",
    "would_replace_administrator": "Airflow acts for an administrator of the portal already, and who has signed in to "
    "the portal is none: the tokens were not replaced. Sign in to the portal as an administrator. To replace them all "
    "the same, use airflow-b24 connect with --again --replace-administrator.",
    "wrong_application_token": "The application_token is not the known one.",
}


def _read_form(body: bytes) -> dict[str, Any]:
    try:
        return parse_form(body)
    except MalformedFormError as error:
        raise _malformed(f"{error}.") from None


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise _malformed(f"{name} is missing or no text.")
    return value


def _secret(fields: Mapping[str, Any], name: str) -> str:
    value = _text(fields, name)
    if not _SECRET.fullmatch(value):
        raise _malformed(f"{name} is malformed.")
    return value


def _time(fields: Mapping[str, Any]) -> float | None:
    value = fields.get("ts")
    if value is None:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal() or len(value) > 12:
        raise _malformed("ts is no Unix time.")
    return float(value)


def _challenge(fields: Mapping[str, Any]) -> str:
    data = fields.get("data")
    query = data.get("QUERY") if isinstance(data, Mapping) else None
    return _secret(query if isinstance(query, Mapping) else {}, "challenge")


def _malformed(message: str) -> RefusedError:
    return RefusedError(400, "malformed", message)
