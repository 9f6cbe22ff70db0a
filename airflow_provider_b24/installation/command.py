"""``airflow-b24 connect CONN_ID``: connect an application from a terminal."""

from __future__ import annotations

import argparse
import hmac
import secrets
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID, PortalConnection

if TYPE_CHECKING:
    from airflow_provider_b24.installation.grants import Connected

_SECONDS_FOR_THE_EVENT = 15.0
_POLL = 0.2


class ConnectError(Exception):
    """What was pasted cannot be used; says why, and repeats nothing of it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "conn_id",
        nargs="?",
        default=DEFAULT_CONN_ID,
        metavar="CONN_ID",
        help="Airflow connection (%(default)s)",
    )
    parser.add_argument(
        "--again", action="store_true", help="sign in to the portal even if there are tokens already"
    )
    parser.add_argument(
        "--replace-administrator",
        action="store_true",
        help="let someone who is no administrator replace an administrator; robots cannot be registered then",
    )


def run(arguments: argparse.Namespace) -> int:
    """Connect an application and say what came of it.

    :return: exit code: 0 when it is connected, 1 otherwise.
    """
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_provider_b24._airflow.connections import in_words
    from airflow_provider_b24.exceptions import Bitrix24Error

    try:
        connection = PortalConnection.load(arguments.conn_id)
        connected = None if arguments.again else _by_tokens(connection)
        if connected is None:
            connected = _by_code(connection, replace_administrator=arguments.replace_administrator)
        _report(connection, connected)
    except (ConnectError, Bitrix24Error, AirflowException) as error:
        _say(f"Error: {in_words(error)}")
        return 1
    return 0


def read_code(pasted: str, state: str) -> str:
    """Find the authorization code in what someone has pasted: the code itself, or the address he was sent to.

    :param state: what an address must bring back.
    :raises ConnectError: when there is none, or the address is of another sign-in.
    """
    text = pasted.strip()
    if not text:
        raise ConnectError("Nothing was pasted.")
    if "code=" not in text and "/" not in text:
        return text
    query = parse_qs(urlsplit(text).query)
    codes, states = query.get("code", []), query.get("state", [])
    if len(codes) != 1:
        raise ConnectError(
            "There is no code in this address. Paste the address you were sent to, as a whole."
        )
    if len(states) != 1 or not hmac.compare_digest(states[0].encode(), state.encode()):
        raise ConnectError("This address is of another sign-in. Begin again, and paste the newest one.")
    return codes[0]


def _by_tokens(connection: PortalConnection) -> Connected | None:
    """Use the tokens that are there, ``None`` when they are no good."""
    from airflow_provider_b24.exceptions import InstallationRefusedError
    from airflow_provider_b24.installation.grants import connect_by_tokens

    try:
        return connect_by_tokens(connection)
    except InstallationRefusedError as error:
        if error.code != "not_granted":
            raise
        _say(str(error))
        return None


def _by_code(connection: PortalConnection, *, replace_administrator: bool) -> Connected:
    from airflow_provider_b24.installation.grants import connect_by_code
    from airflow_provider_b24.installation.oauth import TERMINAL_STATE, authorize_url
    from airflow_provider_b24.rest.credentials import named_oauth_server

    state = TERMINAL_STATE + secrets.token_urlsafe(16)
    _say(
        "Open this address in a browser, as an administrator of the portal:\n\n"
        f"  {authorize_url(connection, state)}\n\n"
        "Then paste here the code, or the whole address that you are sent to, within 30 seconds: ",
        end="",
    )
    pasted = sys.stdin.readline()
    return connect_by_code(
        connection,
        read_code(pasted, state),
        oauth_server=named_oauth_server(_parameter(pasted, "server_domain")),
        replace_administrator=replace_administrator,
    )


def _parameter(address: str, name: str) -> str:
    return next(iter(parse_qs(urlsplit(address.strip()).query).get(name, [])), "")


def _report(connection: PortalConnection, connected: Connected) -> None:
    from airflow_provider_b24.hooks.installations import with_installation
    from airflow_provider_b24.installation.test_event import arrange_events

    _say(f"Connected: {connection.conn_id} calls {connection.portal_url} for {connected.user}.")
    if not connected.administrator:
        _say("This user is no administrator: robots can be answered, but not registered.")
    problems = arrange_events(connection)
    for problem in problems:
        _say(problem)
    if not problems:
        ends = time.monotonic() + _SECONDS_FOR_THE_EVENT
        while with_installation(connection).application_token is None:
            if time.monotonic() > ends:
                _say(
                    "The portal was asked to tell the application_token to the receiver, and it has not arrived: "
                    "robot calls will be refused until it does."
                )
                break
            time.sleep(_POLL)
    _say(f"`airflow-b24 doctor {connection.conn_id}` checks the rest.")


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)  # noqa: T201
