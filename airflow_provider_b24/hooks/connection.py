"""The one parser of an Airflow connection of type ``bitrix24``."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_b24.exceptions import ConnectionConfigError
from airflow_provider_b24.rest.credentials import OAuthApp, Tokens, Webhook

if TYPE_CHECKING:
    from airflow.sdk import Connection

DEFAULT_CONN_ID = "bitrix24_default"
DEFAULT_TIMEOUT = 30.0
_TARIFFS = ("standard", "enterprise")


@dataclass(frozen=True, slots=True)
class PortalConnection:
    """What a connection says, checked.

    :param conn_id: the Airflow connection id.
    :param credentials: an incoming webhook or an OAuth application, with the portal's address.
    :param tokens: the OAuth tokens that the connection itself carries; rotated ones win over them.
    :param application_token: proof of origin of robot calls, for the receiver.
    :param member_id: the portal's own id, for the receiver.
    :param tariff: ``standard`` or ``enterprise``; decides the request limits.
    :param timeout: seconds to wait for an answer.
    :param trusted_hosts: hosts the portal may move to besides Bitrix24's own cloud addresses.
    :param verify: whether to check the portal's certificate, or the authorities to trust: see :meth:`authorities`.
    :param uninstalled: whether the portal has said that the application is gone. The connection itself cannot know:
        see :func:`airflow_provider_b24.hooks.installations.with_installation`.
    """

    conn_id: str
    credentials: Webhook | OAuthApp
    tokens: Tokens | None = field(default=None, repr=False)
    application_token: str | None = field(default=None, repr=False)
    member_id: str | None = None
    tariff: Literal["standard", "enterprise"] = "standard"
    timeout: float = DEFAULT_TIMEOUT
    trusted_hosts: tuple[str, ...] = ()
    verify: bool | str = True
    uninstalled: bool = False

    @classmethod
    def load(cls, conn_id: str) -> PortalConnection:
        """Look the connection up wherever Airflow keeps it, and keep its secrets out of every task log.

        :raises AirflowNotFoundException: when there is no such connection.
        :raises ConnectionConfigError: when it cannot be used.
        """
        from airflow.sdk.log import mask_secret

        from airflow_provider_b24._airflow.connections import find_connection

        connection = cls.from_airflow(find_connection(conn_id))
        # Airflow masks passwords itself, but not the code of a webhook whose URL was pasted as host.
        for secret in (connection._secret, connection.application_token):  # noqa: SLF001 - its own
            if secret:
                mask_secret(secret)
        return connection

    @classmethod
    async def aload(cls, conn_id: str) -> PortalConnection:
        """Look the connection up as :meth:`load` does, without blocking the event loop."""
        from asgiref.sync import sync_to_async

        return await sync_to_async(cls.load)(conn_id)

    @classmethod
    def from_airflow(cls, connection: Connection) -> PortalConnection:
        """Read an Airflow connection.

        :raises ConnectionConfigError: naming the connection, the field and what it should be.
        """
        return _Reader(connection).read()

    @property
    def portal_url(self) -> str:
        """Address of the portal, with scheme and without a trailing slash."""
        return self.credentials.portal_url

    @property
    def kind(self) -> Literal["webhook", "oauth"]:
        """How calls are authorized."""
        return "webhook" if isinstance(self.credentials, Webhook) else "oauth"

    @property
    def _secret(self) -> str:
        if isinstance(self.credentials, Webhook):
            return self.credentials.code
        return self.credentials.client_secret

    def authorities(self) -> bool | str:
        """Give what clients take as ``verify``.

        :raises ConnectionConfigError: when the file or folder is not on this machine. Others may read the connection
            all the same.
        """
        if isinstance(self.verify, str) and not Path(self.verify).exists():
            raise _error(
                self.conn_id, f"verify names {self.verify}, and there is no such file or folder here"
            )
        return self.verify

    def signing_key(self, purpose: str) -> bytes:
        """Derive a key from the connection's secret, so that nothing else needs to be configured.

        Changing the webhook's code or the application's secret invalidates what was signed before.

        :param purpose: what is signed; another purpose gives an unrelated key.
        """
        return hmac.digest(self._secret.encode(), f"airflow_provider_b24:{purpose}".encode(), hashlib.sha256)


class _Reader:
    """Reads one connection and names it in every complaint."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._extra = self._read_extra()

    def read(self) -> PortalConnection:
        host = self._host()
        tariff = self._text("tariff") or "standard"
        if tariff not in _TARIFFS:
            raise self._error(f"tariff must be one of {', '.join(_TARIFFS)}, not {tariff!r}")
        try:
            credentials = self._credentials(host)
        except ValueError as error:
            raise self._error(str(error)) from None
        return PortalConnection(
            conn_id=self._connection.conn_id,
            credentials=credentials,
            tokens=self._tokens(),
            application_token=self._text("application_token"),
            member_id=self._text("member_id"),
            tariff="enterprise" if tariff == "enterprise" else "standard",
            timeout=self._timeout(),
            trusted_hosts=self._trusted_hosts(),
            verify=self._verify(),
        )

    def _credentials(self, host: str) -> Webhook | OAuthApp:
        if client_id := self._text("client_id"):
            client_secret = self._text("client_secret")
            if not client_secret:
                raise self._error(
                    "client_id is set, so this is an OAuth application, but client_secret is missing"
                )
            return OAuthApp(
                portal_url=host,
                client_id=client_id,
                client_secret=client_secret,
                oauth_server=self._text("oauth_server") or "",
            )
        if "/rest/" in host:
            return Webhook.from_url(host)
        login, password = self._connection.login, self._connection.password
        if not login or not password:
            raise self._error(
                "it has no credentials: paste the whole webhook URL as host, or give the webhook's user id as "
                "login and its code as password, or give client_id and client_secret of an OAuth application"
            )
        return Webhook(portal_url=host, user_id=login, code=password)

    def _host(self) -> str:
        """Put the address together again: ``AIRFLOW_CONN_...`` URIs arrive taken apart."""
        host = (self._connection.host or "").strip()
        if not host:
            raise self._error("it has no host: give the portal's address, such as example.bitrix24.com")
        scheme = self._connection.schema
        if "://" not in host and scheme in ("http", "https"):
            host = f"{scheme}://{host}"
        port = self._connection.port
        if port and "/rest/" not in host and not host.rstrip("/").endswith(f":{port}"):
            host = f"{host.rstrip('/')}:{port}"
        return host

    def _tokens(self) -> Tokens | None:
        access, refresh = self._text("access_token"), self._text("refresh_token")
        if not refresh:
            return None
        return Tokens(
            access_token=access or "", refresh_token=refresh, member_id=self._text("member_id") or ""
        )

    def _timeout(self) -> float:
        raw = self._extra.get("timeout")
        if raw is None or raw == "":
            return DEFAULT_TIMEOUT
        try:
            timeout = float(raw)
        except (TypeError, ValueError):
            timeout = -1.0
        if not 0 < timeout < float("inf"):
            raise self._error(f"timeout must be a positive number of seconds, not {raw!r}")
        return timeout

    def _trusted_hosts(self) -> tuple[str, ...]:
        raw = self._extra.get("trusted_hosts") or ()
        hosts = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(hosts, (list, tuple)) or not all(isinstance(host, str) for host in hosts):
            raise self._error(
                "trusted_hosts must be a list of host names, or one text with commas between them"
            )
        return tuple(host.strip().lower() for host in hosts if host.strip())

    def _verify(self) -> bool | str:
        raw = self._extra.get("verify")
        if isinstance(raw, bool):
            return raw
        text = self._text("verify") or "true"
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        if not Path(text).is_absolute():
            raise self._error(
                "verify must be true, false, or the whole path of a file or folder of certificate authorities, "
                f"not {text!r}"
            )
        return text

    def _text(self, name: str) -> str | None:
        value = self._extra.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._error(f"{name} must be text, not {type(value).__name__}")
        return value.strip() or None

    def _read_extra(self) -> Mapping[str, Any]:
        raw = self._connection.extra
        if not raw:
            return {}
        try:
            extra = json.loads(raw)
        except ValueError:
            raise self._error("its extra is not JSON") from None
        if not isinstance(extra, dict):
            raise self._error("its extra must be a JSON object")
        return extra

    def _error(self, reason: str) -> ConnectionConfigError:
        return _error(self._connection.conn_id, reason)


def _error(conn_id: str, reason: str) -> ConnectionConfigError:
    return ConnectionConfigError(
        "connection_config", f"The Airflow connection {conn_id!r} cannot be used: {reason.rstrip('.')}."
    )
