"""How a call is addressed and authorized: portal addresses, webhooks, OAuth applications and their tokens."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*\Z"
)
_WEBHOOK_PATH = re.compile(r"/rest/(?:api/)?(\d+)/([A-Za-z0-9_-]+)(?:/[A-Za-z0-9_.]*)?/?\Z")
_USER_ID = re.compile(r"\d+\Z")
_CODE = re.compile(r"[A-Za-z0-9_-]+\Z")

DEFAULT_OAUTH_SERVER = "https://oauth.bitrix.info"
OAUTH_SERVERS = frozenset({DEFAULT_OAUTH_SERVER, "https://oauth.bitrix24.tech"})
"""Bitrix24's own authorization servers: an application's secret and refresh tokens go to no other."""


def named_oauth_server(address: object) -> str:
    """Give the authorization server of Bitrix24 that an address names, whoever says so.

    :param address: a URL or a host, such as ``server_endpoint`` of what Bitrix24 posts.
    :return: one of :data:`OAUTH_SERVERS`, ``""`` when it names none of them.
    """
    if not isinstance(address, str):
        return ""
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
    except ValueError:
        return ""
    server = f"{parts.scheme}://{parts.netloc}".lower()
    return server if server in OAUTH_SERVERS else ""


class PortalAddress(NamedTuple):
    """What a portal's address says.

    :param url: scheme and host (and port, if it is not the usual one), without a slash at the end.
    :param user_id: the webhook's user, ``""`` when the address is no webhook URL.
    :param code: the webhook's code, ``""`` when the address is no webhook URL.
    """

    url: str
    user_id: str
    code: str

    def __repr__(self) -> str:
        return (
            f"PortalAddress(url={self.url!r}, user_id={self.user_id!r}, code={'***' if self.code else ''!r})"
        )


def is_loopback(host: str) -> bool:
    """Whether ``host`` (no port) is this machine: the only place plain ``http`` may go."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse_portal_address(address: str) -> PortalAddress:
    """Read a portal's address in any form people have it in.

    Accepted are ``example.bitrix24.com``, the same with scheme and port, and the whole URL of an incoming webhook.
    Without a scheme ``https`` is meant; plain ``http`` is accepted for loopback addresses only.

    :raises ValueError: when it is none of these. The message never repeats a webhook's code.
    """
    text = address.strip()
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(
            "The portal's address cannot be read: expected a host such as 'example.bitrix24.com'"
        ) from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in ("http", "https"):
        raise ValueError(f"The portal's address must begin with https://, not {scheme}://")
    if "@" in parts.netloc:
        raise ValueError("The portal's address must not hold a user name or password")
    bracketed = f"[{host}]" if ":" in host else host
    if not _HOST_NAME.match(host) and not _is_ip_address(host):
        raise ValueError(
            "The portal's address has no usable host: expected one such as 'example.bitrix24.com'"
        )
    if scheme == "http" and not is_loopback(host):
        raise ValueError(
            f"http://{bracketed} would send secrets unencrypted: use https:// "
            "(plain http is for loopback addresses only)"
        )
    if parts.query or parts.fragment:
        raise ValueError(f"The address of {bracketed} must not have a query or fragment")
    standard = {"http": 80, "https": 443}[scheme]
    url = f"{scheme}://{bracketed}" + (f":{port}" if port is not None and port != standard else "")
    if parts.path.rstrip("/") in ("", "/rest"):
        return PortalAddress(url, "", "")
    webhook = _WEBHOOK_PATH.match(parts.path)
    if not webhook:
        raise ValueError(
            f"The path behind {bracketed} is not that of a webhook: expected nothing, or /rest/USER_ID/CODE/"
        )
    return PortalAddress(url, webhook[1], webhook[2])


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def portal_host(url: str) -> str:
    """Host and, if it is not the usual one, port of a portal's URL: how messages and pacing name a portal."""
    return url.partition("://")[2]


@dataclass(frozen=True, slots=True)
class Webhook:
    """An incoming webhook: one portal, one user, and a code that is the secret.

    :param portal_url: the portal's address, see :func:`parse_portal_address`.
    :param user_id: number of the user who made the webhook.
    :param code: the secret part of the webhook's URL.
    :raises ValueError: when one of them is not what it should be.
    """

    portal_url: str
    user_id: str
    code: str = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "portal_url", parse_portal_address(self.portal_url).url)
        object.__setattr__(self, "user_id", str(self.user_id))
        if not _USER_ID.match(self.user_id):
            raise ValueError("A webhook's user id is a number, such as 1")
        if not _CODE.match(self.code):
            raise ValueError(
                "A webhook's code consists of letters and digits; this one does not (or is empty)"
            )

    @classmethod
    def from_url(cls, url: str) -> Webhook:
        """Read the URL that Bitrix24 shows, ``https://example.bitrix24.com/rest/1/code/``.

        :raises ValueError: when it is no webhook URL.
        """
        address = parse_portal_address(url)
        if not address.code:
            raise ValueError(
                f"{address.url} is a portal's address without a webhook: expected {address.url}/rest/USER_ID/CODE/"
            )
        return cls(*address)


@dataclass(frozen=True, slots=True)
class OAuthApp:
    """An OAuth 2.0 application that is installed in a portal. Its tokens live in a token store.

    :param portal_url: the portal's address, see :func:`parse_portal_address`.
    :param client_id: the application's id.
    :param client_secret: the application's secret; it is sent to an authorization server and nowhere else.
    :param oauth_server: which of :data:`OAUTH_SERVERS` to ask, with or without the path ``/oauth/token/``; a server of
        this machine is accepted, too, for a portal that stands in for Bitrix24. ``""`` asks the one that has granted
        the tokens, and where it cannot be reached, the other.
    :raises ValueError: when one of them is not what it should be.
    """

    portal_url: str
    client_id: str
    client_secret: str = field(repr=False)
    oauth_server: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "portal_url", parse_portal_address(self.portal_url).url)
        if server := self.oauth_server.strip().rstrip("/").removesuffix("/oauth/token"):
            server = parse_portal_address(server).url
            if server not in OAUTH_SERVERS and not is_loopback(urlsplit(server).hostname or ""):
                known = " or ".join(sorted(map(portal_host, OAUTH_SERVERS)))
                raise ValueError(
                    f"The authorization server is {known}, not {portal_host(server)}: the application's secret goes to "
                    "no other"
                )
        object.__setattr__(self, "oauth_server", server)
        if not self.client_id or not self.client_secret:
            raise ValueError("An OAuth application needs both its client_id and its client_secret")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A pair of OAuth tokens, and whose they are.

    :param access_token: opens the REST API for about an hour.
    :param refresh_token: buys the next pair, once, within 180 days.
    :param expires: Unix time at which the access token ends, ``None`` if unknown.
    :param member_id: the portal's permanent id, ``""`` if unknown.
    :param user_id: the user on whose behalf the tokens act, ``""`` if unknown.
    :param scope: what they allow, as the authorization server puts it.
    :param oauth_server: which of :data:`OAUTH_SERVERS` has granted them, ``""`` if unknown.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires: float | None = None
    member_id: str = ""
    user_id: str = ""
    scope: str = ""
    oauth_server: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tokens:
        """Read what the authorization server answers, or what :meth:`to_json` wrote.

        :raises ValueError: when there is no pair of tokens in it.
        """
        access_token, refresh_token = data.get("access_token"), data.get("refresh_token")
        if not isinstance(access_token, str) or not access_token:
            raise ValueError("There is no access_token among the tokens")
        if not isinstance(refresh_token, str) or not refresh_token:
            raise ValueError("There is no refresh_token among the tokens")
        try:
            expires = float(data["expires"]) if data.get("expires") else None
        except (TypeError, ValueError):
            raise ValueError("'expires' of the tokens is not a Unix time") from None
        return cls(
            access_token,
            refresh_token,
            expires,
            str(data.get("member_id") or ""),
            str(data.get("user_id") or ""),
            str(data.get("scope") or ""),
            named_oauth_server(data.get("oauth_server") or data.get("server_endpoint")),
        )

    def to_json(self) -> dict[str, Any]:
        """Everything that is needed to make the pair again, secrets included: for encrypted storage only."""
        return {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "expires": self.expires,
            "member_id": self.member_id,
            "user_id": self.user_id,
            "scope": self.scope,
            "oauth_server": self.oauth_server,
        }


Credentials = Webhook | OAuthApp
