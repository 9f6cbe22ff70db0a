"""What Bitrix24 posts when an application is installed, opened, tested or uninstalled: one parser, one decision."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_b24.exceptions import Bitrix24Error, InstallationRefusedError
from airflow_provider_b24.hooks import connecting, round_trip
from airflow_provider_b24.hooks.connecting import Connected, Grant
from airflow_provider_b24.receiver.answers import Answer, RefusedError
from airflow_provider_b24.receiver.portals import find_connection
from airflow_provider_b24.rest.encoding import MalformedFormError, parse_form

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection

log = logging.getLogger(__name__)

_SECRET = re.compile(r"[\x21-\x7e]{1,512}")
_CONFLICTS = ("not_an_application", "other_portal")
ATTEMPTS_PER_MINUTE = 10

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Throttle:
    """Bounds how often strangers can make this receiver ask a portal and the authorization server.

    :param attempts: so many a minute, for each connection and process.
    """

    attempts: int = ATTEMPTS_PER_MINUTE
    _times: dict[str, deque[float]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def admit(self, conn_id: str) -> None:
        """Count an attempt.

        :raises RefusedError: 429 when there were too many.
        """
        now = time.monotonic()
        with self._lock:
            times = self._times.setdefault(conn_id, deque(maxlen=self.attempts))
            if len(times) == self.attempts and now - times[0] < 60:
                raise RefusedError(429, "too_many", "Too many attempts to install; try again in a minute.")
            times.append(now)


@dataclass(frozen=True, slots=True)
class Taken:
    """An installation that was taken over.

    :param connection: whose it is, as Airflow has it.
    :param problems: what does not work all the same, in sentences.
    """

    connection: PortalConnection
    connected: Connected
    problems: list[str]


@dataclass(frozen=True, slots=True)
class Installations:
    """Takes over installations, and ends them.

    :param throttle: bounds the attempts.
    """

    throttle: Throttle = field(default_factory=Throttle)

    def take_event(self, conn_id: str, body: bytes) -> Answer:
        """Do what an event of the application's own life says.

        :raises RefusedError: when it says nothing, or nothing that can be believed.
        """
        fields = _read_form(body)
        event = _text(fields, "event").upper()
        auth = fields.get("auth")
        if not isinstance(auth, Mapping):
            raise _malformed("auth is missing.")
        member_id, application_token = _secret(auth, "member_id"), _secret(auth, "application_token")
        # An update brings a new pair of tokens and a new application token, as an installation does.
        if event in ("ONAPPINSTALL", "ONAPPUPDATE"):
            grant = Grant(
                _secret(auth, "access_token"),
                _secret(auth, "refresh_token"),
                member_id,
                application_token,
                _time(fields),
            )
            self._install(conn_id, grant)
            return Answer(200, {"installed": True})
        if event == "ONAPPUNINSTALL":
            sent = _time(fields)
            done = _decide(
                conn_id, lambda found: connecting.uninstall(found, application_token, member_id, sent)
            )
            log.warning(
                "The application of connection %r was uninstalled from its portal%s.",
                conn_id,
                "" if done else " before it was installed again; nothing changes",
            )
            return Answer(200, {"uninstalled": done})
        if event == "ONAPPTEST":
            challenge = _challenge(fields)
            _decide(
                conn_id,
                lambda found: round_trip.take_test_event(found, challenge, application_token, member_id),
            )
            log.info("A test event of the portal of connection %r has arrived.", conn_id)
            return Answer(200, {"arrived": True})
        raise RefusedError(400, "unknown_event", "This receiver does not handle this event.")

    def take_page(self, conn_id: str, body: bytes) -> Taken:
        """Take over the installation that a browser posts when an administrator opens the application.

        :raises RefusedError: when it cannot be believed.
        """
        fields = _read_form(body)
        application_token = _secret(fields, "APPLICATION_TOKEN") if fields.get("APPLICATION_TOKEN") else None
        grant = Grant(
            _secret(fields, "AUTH_ID"),
            _secret(fields, "REFRESH_ID"),
            _secret(fields, "member_id"),
            application_token,
        )
        return self._install(conn_id, grant)

    def take_code(self, conn_id: str, code: str) -> Taken:
        """Take over an installation by the authorization code of somebody who has proven who he is.

        :raises RefusedError: when it cannot be believed.
        """
        if not _SECRET.fullmatch(code):
            raise _malformed("code is malformed.")
        return _take(conn_id, lambda found: connecting.connect_by_code(found, code))

    def _install(self, conn_id: str, grant: Grant) -> Taken:
        def admit() -> None:
            self.throttle.admit(conn_id)

        return _take(conn_id, lambda found: connecting.install(found, grant, admit=admit))


def is_event(body: bytes) -> bool:
    """Tell an event from what a browser posts for a page: both may go to the address in the application's card."""
    return "event" in _read_form(body)


def _take(conn_id: str, work: Callable[[PortalConnection], Connected]) -> Taken:
    def take(found: PortalConnection) -> Taken:
        connected = work(found)
        log.info("The application of connection %r is installed; it acts for %s.", conn_id, connected.user)
        problems = round_trip.arrange_events(found)
        for problem in problems:
            log.warning("The application of connection %r: %s", conn_id, problem)
        return Taken(found, connected, problems)

    return _decide(conn_id, take)


def _decide(conn_id: str, work: Callable[[PortalConnection], _Result]) -> _Result:
    """Do something with a connection, and say no in the receiver's way."""
    found = find_connection(conn_id)
    if found is None:
        raise RefusedError(404, "unknown_connection", "There is no such connection.")
    try:
        return work(found)
    except InstallationRefusedError as error:
        # To the operator, the reason with names; to a stranger, a word and what a person at the portal can do.
        log.warning("An installation is refused: %s", error)
        status = 409 if error.code in _CONFLICTS else 403
        raise RefusedError(status, error.code, _REASONS[error.code]) from None
    except Bitrix24Error as error:
        log.error("An installation cannot be verified: %s", error)
        raise RefusedError(
            503, "not_verified", "The portal or its authorization server cannot be asked; try again later."
        ) from None


_REASONS = {
    "not_an_application": "The connection is no application: it needs client_id and client_secret.",
    "not_administrator": "Only an administrator of the portal can install the application.",
    "not_granted": "The tokens are not confirmed to be granted to this application by this portal.",
    "other_portal": "The connection belongs to another portal.",
    "unknown_application_token": "The connection has no application_token to verify this with.",
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
