"""What is known of an application's installation in a portal: one record for each connection, in an Airflow Variable.

The Variable ``bitrix24_oauth_<conn_id>`` is the place that tasks, triggers, the receiver and the command line can all
write to. It is encrypted at rest, and Airflow hides its tokens in the user interface.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import AuthError
from airflow_provider_b24.hooks._variables import read_variable, write_variable
from airflow_provider_b24.rest.credentials import OAuthApp, Tokens, portal_host

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection

log = logging.getLogger(__name__)

_TEXTS = ("client_id", "seed", "application_token", "member_id", "challenge")
_TIMES = ("installed_at", "event_time", "uninstalled_at", "challenge_until", "reached_at")


@dataclass(frozen=True, slots=True)
class Installation:
    """An application as it is installed in a portal. Times are Unix times by this machine's clock.

    :param client_id: whose installation this is; a record of another application counts for nothing.
    :param tokens: the pair that is good now, ``None`` after the application was uninstalled.
    :param seed: digest of the refresh token that the connection carried when this was written: when somebody has put
        another one into the connection since, that one is newer.
    :param application_token: what Bitrix24 signs its calls with.
    :param member_id: the portal's permanent id.
    :param installed_at: when the tokens were verified and stored.
    :param event_time: when Bitrix24 sent the event that brought them, by Bitrix24's clock.
    :param uninstalled_at: when Bitrix24 said that the application was uninstalled.
    :param challenge: digest of what a test event must bring back to be believed, see
        :func:`airflow_provider_b24.hooks.connecting.request_test_event`.
    :param challenge_until: when that stops being good.
    :param reached_at: when the last such event arrived.
    """

    client_id: str
    tokens: Tokens | None = field(default=None, repr=False)
    seed: str | None = field(default=None, repr=False)
    application_token: str | None = field(default=None, repr=False)
    member_id: str | None = None
    installed_at: float | None = None
    event_time: float | None = None
    uninstalled_at: float | None = None
    challenge: str | None = field(default=None, repr=False)
    challenge_until: float | None = None
    reached_at: float | None = None

    @classmethod
    def from_json(cls, text: str) -> Installation:
        """Read a record as :meth:`to_json` wrote it.

        :raises ValueError: saying what is wrong with it, without any of its values.
        """
        try:
            data = json.loads(text)
        except ValueError:
            raise ValueError("it is not JSON") from None
        if not isinstance(data, Mapping):
            raise ValueError("it is no JSON object")
        for name in _TEXTS:
            if not isinstance(data.get(name), str | None):
                raise ValueError(f"its {name} is no text")
        for name in _TIMES:
            if isinstance(data.get(name), bool) or not isinstance(data.get(name), int | float | None):
                raise ValueError(f"its {name} is no Unix time")
        fields: dict[str, Any] = {name: data.get(name) or None for name in (*_TEXTS, *_TIMES)}
        if not fields["client_id"]:
            raise ValueError("it has no client_id")
        return cls(tokens=Tokens.from_json(data) if data.get("refresh_token") else None, **fields)

    def to_json(self) -> str:
        """Write the record, secrets included: for encrypted storage only."""
        own = {name: getattr(self, name) for name in (*_TEXTS, *_TIMES)}
        tokens = self.tokens.to_json() if self.tokens else {}
        return json.dumps(tokens | {name: value for name, value in own.items() if value is not None})

    def tokens_beside(self, own: Tokens | None) -> Tokens | None:
        """Choose between the stored pair and the one that the connection itself carries."""
        return own if own is not None and self.seed != seed_of(own) else self.tokens

    def uninstalled_beside(self, own: Tokens | None) -> bool:
        """Whether the application is gone, and nobody has put other tokens into the connection since."""
        return self.uninstalled_at is not None and (own is None or self.seed == seed_of(own))


class InstallationStore:
    """Keeps the installation of one connection.

    :param connection: the connection as Airflow has it; an OAuth application.
    """

    def __init__(self, connection: PortalConnection) -> None:
        self._connection = connection
        self.key = f"bitrix24_oauth_{connection.conn_id}"

    def read(self) -> Installation | None:
        """Read the record as it is now, ``None`` when there is none of this application."""
        credentials = self._connection.credentials
        raw = read_variable(self.key) if isinstance(credentials, OAuthApp) else None
        if not raw:
            return None
        try:
            installation = Installation.from_json(raw)
        except ValueError as error:
            log.error(
                "The Airflow Variable %s cannot be used: %s. Connect the application again.", self.key, error
            )
            return None
        if not isinstance(credentials, OAuthApp) or installation.client_id != credentials.client_id:
            return None
        _mask(installation)
        return installation

    def write(self, installation: Installation) -> None:
        """Replace the record."""
        _mask(installation)
        write_variable(
            self.key,
            installation.to_json(),
            f"Installation and rotating OAuth tokens of the connection {self._connection.conn_id}, kept by "
            "airflow-provider-b24. Deleting it forgets them.",
        )

    def begin(self) -> Installation:
        """Give the record that is there, or an empty one of this application."""
        credentials = self._connection.credentials
        client_id = credentials.client_id if isinstance(credentials, OAuthApp) else ""
        return self.read() or Installation(client_id)


def with_installation(connection: PortalConnection) -> PortalConnection:
    """Complete a connection by what its installation brought; what the connection itself says comes first."""
    installation = InstallationStore(connection).read()
    if installation is None:
        return connection
    return dataclasses.replace(
        connection,
        application_token=connection.application_token or installation.application_token,
        member_id=connection.member_id or installation.member_id,
        uninstalled=installation.uninstalled_beside(connection.tokens),
    )


def refuse_if_uninstalled(connection: PortalConnection) -> None:
    """Keep an application that is gone from calling.

    :raises AuthError: when Bitrix24 has said that it was uninstalled; says how to go on.
    """
    installation = InstallationStore(connection).read()
    if installation is None or not installation.uninstalled_beside(connection.tokens):
        return
    when = datetime.fromtimestamp(installation.uninstalled_at or 0, UTC)
    raise AuthError(
        "application_uninstalled",
        f"The application of the Airflow connection {connection.conn_id!r} was uninstalled from the portal at "
        f"{when:%Y-%m-%d %H:%M} UTC; nothing was sent. Install it again in Bitrix24, or run "
        f"`airflow-b24 connect {connection.conn_id}`.",
        portal=portal_host(connection.portal_url),
    )


def seed_of(tokens: Tokens | None) -> str | None:
    """Recognize the pair that a connection carries, without keeping it twice."""
    return hashlib.sha256(tokens.refresh_token.encode()).hexdigest()[:16] if tokens else None


def _mask(installation: Installation) -> None:
    """Keep the record's secrets out of every log, whoever prints them."""
    from airflow.sdk.log import mask_secret

    if installation.tokens is not None:
        mask_secret(installation.tokens.access_token)
        mask_secret(installation.tokens.refresh_token)
    if installation.application_token:
        mask_secret(installation.application_token)
