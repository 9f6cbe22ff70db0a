"""What is known of an application's installation in a portal: one record for each connection, in an Airflow Variable.

The Variable ``bitrix24_installation_<conn_id>`` holds what changes when the application is connected, uninstalled or
tested. The tokens, which change every hour, have one of their own, see :mod:`airflow_provider_b24.hooks.tokens`:
nothing that writes the one can put an old value into the other.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_b24._airflow.variables import read_variable, update_variable
from airflow_provider_b24.exceptions import AuthError
from airflow_provider_b24.hooks._old_record import installation_key, move_old_record
from airflow_provider_b24.hooks.tokens import seed_of
from airflow_provider_b24.rest.credentials import OAuthApp, Tokens, portal_host

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection

log = logging.getLogger(__name__)

_TEXTS = ("client_id", "seed", "application_token", "member_id", "challenge", "user_id", "user_name")
_TIMES = ("installed_at", "event_time", "uninstalled_at", "challenge_until", "reached_at")


@dataclass(frozen=True, slots=True)
class Installation:
    """An application as it is installed in a portal. Times are Unix times by this machine's clock.

    :param client_id: whose installation this is; a record of another application counts for nothing.
    :param seed: digest of the refresh token that the connection carried when it was connected or uninstalled: when
        someone has put another one into the connection since, that one is newer.
    :param application_token: what Bitrix24 signs its calls with.
    :param member_id: the portal's permanent id.
    :param installed_at: when the tokens were verified and stored.
    :param event_time: when Bitrix24 sent the event that brought them, by Bitrix24's clock.
    :param uninstalled_at: when Bitrix24 said that the application was uninstalled.
    :param challenge: digest of what a test event must bring back to be believed, see
        :func:`airflow_provider_b24.installation.test_event.request_test_event`.
    :param challenge_until: when that stops being good.
    :param reached_at: when the last such event arrived.
    :param user_id: the user who was granted the tokens, on whose behalf the application acts.
    :param user_name: that user's name.
    :param administrator: whether that user was an administrator of the portal then, ``None`` if unknown.
    """

    client_id: str
    seed: str | None = field(default=None, repr=False)
    application_token: str | None = field(default=None, repr=False)
    member_id: str | None = None
    installed_at: float | None = None
    event_time: float | None = None
    uninstalled_at: float | None = None
    challenge: str | None = field(default=None, repr=False)
    challenge_until: float | None = None
    reached_at: float | None = None
    user_id: str | None = None
    user_name: str | None = None
    administrator: bool | None = None

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
        if not isinstance(data.get("administrator"), bool | None):
            raise ValueError("its administrator is neither true nor false")
        fields: dict[str, Any] = {name: data.get(name) or None for name in (*_TEXTS, *_TIMES)}
        if not fields["client_id"]:
            raise ValueError("it has no client_id")
        return cls(administrator=data.get("administrator"), **fields)

    def to_json(self) -> str:
        """Write the record, secrets included: for encrypted storage only."""
        values = dataclasses.asdict(self)
        return json.dumps({name: value for name, value in values.items() if value is not None})

    def uninstalled_beside(self, own: Tokens | None) -> bool:
        """Whether the application is gone, and nobody has put other tokens into the connection since."""
        return self.uninstalled_at is not None and (own is None or self.seed == seed_of(own))


_listeners: list[Callable[[str], None]] = []


def on_installation_changed(callback: Callable[[str], None]) -> Callable[[], None]:
    """Have a function called whenever this process has changed what is known of an installation.

    It is called in the thread that has made the change, after it was stored, and must be quick. What other processes
    change it is not told.

    :param callback: is given the connection id.
    :return: ends it.
    """
    _listeners.append(callback)
    return lambda: _listeners.remove(callback)


class InstallationStore:
    """Keeps the installation of one connection.

    :param connection: the connection as Airflow has it; an OAuth application.
    """

    def __init__(self, connection: PortalConnection) -> None:
        credentials = connection.credentials
        self._conn_id = connection.conn_id
        self._client_id = credentials.client_id if isinstance(credentials, OAuthApp) else ""
        self.key = installation_key(connection.conn_id)

    def read(self) -> Installation | None:
        """Read the record as it is now, ``None`` when there is none of this application."""
        if not self._client_id:
            return None
        raw = read_variable(self.key)
        if raw is None:
            raw = move_old_record(self._conn_id).installation
        return self._understood(raw)

    def update(self, change: Callable[[Installation], Installation | None]) -> Installation:
        """Change the record; what others change meanwhile is kept, as far as Airflow allows.

        :param change: is given the record, or an empty one of this application, and gives the new one, ``None`` to
            leave it as it is. Must be quick, and may be called twice. What it raises ends this.
        :return: the record as it is now.
        """
        # What an earlier version has kept must be moved before there is something in its place.
        self.read()
        now = Installation(self._client_id)
        changed = False

        def write(raw: str | None) -> str | None:
            nonlocal now, changed
            before = self._understood(raw) or Installation(self._client_id)
            after = change(before)
            now, changed = after or before, after is not None
            return after.to_json() if after else None

        update_variable(
            self.key,
            write,
            f"Installation of the application of the connection {self._conn_id}, kept by airflow-provider-b24. "
            "Deleting it forgets which portal it belongs to.",
        )
        if changed:
            _mask(now)
            for callback in tuple(_listeners):
                callback(self._conn_id)
        return now

    def _understood(self, raw: str | None) -> Installation | None:
        if not raw:
            return None
        try:
            installation = Installation.from_json(raw)
        except ValueError as error:
            log.error(
                "The Airflow Variable %s cannot be used: %s. Connect the application again.", self.key, error
            )
            return None
        if installation.client_id != self._client_id:
            return None
        _mask(installation)
        return installation


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


def _mask(installation: Installation) -> None:
    """Keep the record's secret out of every log, whoever prints it."""
    from airflow.sdk.log import mask_secret

    if installation.application_token:
        mask_secret(installation.application_token)
