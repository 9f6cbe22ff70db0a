"""Who may call: users, incoming webhooks, applications with their tokens."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_b24.sandbox.errors import (
    RestError,
    application_not_found,
    insufficient_scope,
    no_auth_found,
    wrong_token,
    wrong_webhook,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_b24.sandbox.clock import Clock
    from airflow_provider_b24.sandbox.records.table import Table

#: What a webhook or an application may do unless it is told otherwise.
DEFAULT_SCOPE = (
    "bizproc",
    "catalog",
    "crm",
    "department",
    "disk",
    "im",
    "task",
    "tasks",
    "user",
    "user.userfield",
)
AuthorizationRules = Literal["portal", "documentation"]
_LETTERS = string.ascii_letters + string.digits
REFRESH_TOKEN_LIFETIME = 180 * 24 * 3600
AUTHORIZATION_CODE_LIFETIME = 30


class User:
    """An employee.

    :param row: the record of `user.*`.
    """

    def __init__(self, row: Mapping[str, Any], *, admin: bool = False) -> None:
        self._row = row
        self.admin = admin
        #: What applications keep for this user by `user.option.set`, by client id.
        self.options: dict[str, dict[str, object]] = {}

    def __repr__(self) -> str:
        return f"User({self.id}, {self.name!r}, {self.last_name!r}, admin={self.admin})"

    @property
    def id(self) -> int:
        """Number of the user."""
        return int(self._row["ID"])

    @property
    def name(self) -> str:
        """First name."""
        return str(self._row.get("NAME") or "")

    @property
    def last_name(self) -> str:
        """Family name."""
        return str(self._row.get("LAST_NAME") or "")

    @property
    def email(self) -> str:
        """Address, empty for none."""
        return str(self._row.get("EMAIL") or "")


@dataclass(frozen=True, slots=True)
class Webhook:
    """An incoming webhook: one user, one secret code.

    :param url: the address that REST methods are appended to.
    """

    user_id: int
    code: str = field(repr=False)
    scope: tuple[str, ...]
    url: str = field(repr=False)


@dataclass(slots=True)
class TokenPair:
    """An access token and the refresh token issued with it."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    user_id: int
    expires: float
    refresh_expires: float


@dataclass(slots=True)
class Caller:
    """Who makes a call, and in what capacity.

    :param key: what operating time is counted for: the webhook or the application.
    """

    user: User
    scope: tuple[str, ...]
    key: str
    application: Application | None = None

    @property
    def name(self) -> str:
        """Who that is, for people."""
        if self.application is not None:
            return f"application {self.application.client_id}"
        return f"webhook of {self.user.name} {self.user.last_name}"


@dataclass(frozen=True, slots=True)
class _Code:
    application: Application
    user_id: int
    expires: float


class Application:
    """An OAuth application installed in the portal."""

    def __init__(
        self, tokens: Tokens, *, client_id: str, scope: tuple[str, ...], redirect_uri: str, number: int
    ) -> None:
        self._tokens = tokens
        self.id = number
        self.client_id = client_id
        self.client_secret = "".join(secrets.choice(_LETTERS) for _ in range(50))
        self.application_token = secrets.token_hex(16)
        self.scope = scope
        self.redirect_uri = redirect_uri
        self.installed = True
        #: Whether the installation was finished by `BX24.installFinish`, where there is a page to do so.
        self.finished = True
        #: The authorization server answers `PAYMENT_REQUIRED` while this is false.
        self.paid = True
        #: Users who may use the application; `None` means everybody.
        self.allowed_users: set[int] | None = None
        self.options: dict[str, object] = {}
        self._pair = tokens.issue(self, 1)

    def __repr__(self) -> str:
        return f"Application(client_id={self.client_id!r})"

    @property
    def access_token(self) -> str:
        """The access token issued last."""
        return self._pair.access_token

    @property
    def refresh_token(self) -> str:
        """The refresh token issued last."""
        return self._pair.refresh_token

    def issue_tokens(self, user_id: int = 1) -> TokenPair:
        """Issue a pair of tokens, which becomes the application's current one.

        :param user_id: on whose behalf the application acts with it.
        """
        self._pair = self._tokens.issue(self, user_id)
        return self._pair

    def keep(self, pair: TokenPair) -> None:
        """Make `pair` the current one."""
        self._pair = pair


class Tokens:
    """All access tokens, refresh tokens and authorization codes of a portal."""

    def __init__(self, clock: Clock, lifetime: float, users: Mapping[int, User]) -> None:
        self._clock = clock
        self._users = users
        self.lifetime = lifetime
        self._by_access: dict[str, tuple[Application, TokenPair]] = {}
        self._by_refresh: dict[str, tuple[Application, TokenPair]] = {}
        self._codes: dict[str, _Code] = {}

    def issue(
        self, application: Application, user_id: int, access_token: str = "", refresh_token: str = ""
    ) -> TokenPair:
        """Issue a new pair.

        :param access_token: what it is to be, a random one by default; the same with `refresh_token`.
        :raises ValueError: for a user the portal does not have.
        """
        if user_id not in self._users:
            raise ValueError(f"The portal has no user {user_id}; add one with add_user()")
        now = self._clock.now()
        pair = TokenPair(
            access_token=access_token or secrets.token_hex(32),
            refresh_token=refresh_token or secrets.token_hex(32),
            user_id=user_id,
            expires=now + self.lifetime,
            refresh_expires=now + REFRESH_TOKEN_LIFETIME,
        )
        self._by_access[pair.access_token] = (application, pair)
        self._by_refresh[pair.refresh_token] = (application, pair)
        return pair

    def authorize(self, access_token: str) -> tuple[Application, TokenPair]:
        """Return whom an access token stands for.

        :raises RestError: `401`: `invalid_token` for an unknown one, `expired_token` for an old one,
            `APPLICATION_NOT_FOUND` when its application was removed.
        """
        known = self._by_access.get(access_token)
        if known is None:
            raise wrong_token()
        if not known[0].installed:
            raise application_not_found()
        if known[1].expires <= self._clock.now():
            raise RestError(401, "expired_token", "The access token provided has expired")
        return known

    def expires(self, access_token: str) -> float:
        """Return when an access token expires, as Unix time.

        :raises KeyError: for an unknown one.
        """
        return self._by_access[access_token][1].expires

    def refresh(self, application: Application, refresh_token: str) -> TokenPair:
        """Exchange a refresh token for a new pair; the old one is worth nothing afterwards.

        :raises RestError: `400 invalid_grant`.
        """
        known = self._by_refresh.get(refresh_token)
        if known is None or known[0] is not application or known[1].refresh_expires <= self._clock.now():
            raise RestError(400, "invalid_grant", "Invalid refresh token")
        del self._by_refresh[refresh_token]
        return self.issue(application, known[1].user_id)

    def create_code(self, application: Application, user_id: int) -> str:
        """Return an authorization code that lives for 30 seconds."""
        code = secrets.token_hex(16)
        expires = self._clock.now() + AUTHORIZATION_CODE_LIFETIME
        self._codes[code] = _Code(application, user_id, expires)
        return code

    def redeem(self, application: Application, code: str) -> TokenPair:
        """Exchange an authorization code, once.

        :raises RestError: `400 invalid_grant`.
        """
        known = self._codes.pop(code, None)
        if known is None or known.application is not application or known.expires <= self._clock.now():
            raise RestError(400, "invalid_grant", "Invalid authorization code")
        return self.issue(application, known.user_id)

    def expire_access(self) -> None:
        """Let every access token issued so far be expired."""
        for _, pair in self._by_access.values():
            pair.expires = 0

    def revoke_refresh(self) -> None:
        """Forget every refresh token issued so far."""
        self._by_refresh.clear()


class Callers:
    """Everybody a portal knows.

    :param rules: what is said to wrong credentials; see :class:`~airflow_provider_b24.sandbox.SandboxPortal`.
    :raises ValueError: when there are no such rules.
    """

    def __init__(
        self, clock: Clock, access_token_lifetime: float, table: Table, rules: AuthorizationRules
    ) -> None:
        if rules not in get_args(AuthorizationRules):
            raise ValueError(
                f"No portal refuses by {rules!r}: choose one of {', '.join(get_args(AuthorizationRules))}"
            )
        self._documented = rules == "documentation"
        self._table = table
        self.users: dict[int, User] = {}
        self.add_user("Ada", "Admin", "ada@portal.example", admin=True)
        self.add_user("Emil", "Employee", "emil@portal.example")
        self.tokens = Tokens(clock, access_token_lifetime, self.users)
        self.webhooks: dict[tuple[int, str], Webhook] = {}
        self.applications: dict[str, Application] = {}
        self._link_tokens: dict[str, Caller] = {}

    def add_user(self, name: str, last_name: str, email: str = "", *, admin: bool = False) -> User:
        """Add an employee."""
        number = self._table.add({"NAME": name, "LAST_NAME": last_name, "EMAIL": email})
        return self.let_in(number, admin=admin)

    def let_in(self, number: int, *, admin: bool = False) -> User:
        """Let someone call who has a record of `user.*`."""
        user = self.users[number] = User(self._table.row(number), admin=admin)
        return user

    def create_webhook(self, portal_url: str, user_id: int, scope: Iterable[str], code: str = "") -> Webhook:
        """Add an incoming webhook of one user.

        :param code: its secret, a random one by default.
        """
        if user_id not in self.users:
            raise ValueError(f"The portal has no user {user_id}; add one with add_user()")
        code = code or secrets.token_hex(8)
        webhook = Webhook(user_id, code, tuple(scope), f"{portal_url}/rest/{user_id}/{code}/")
        self.webhooks[user_id, code] = webhook
        return webhook

    def move_webhook(self, webhook: Webhook, portal_url: str) -> Webhook:
        """Return the same webhook under the portal's new address."""
        moved = replace(webhook, url=f"{portal_url}/rest/{webhook.user_id}/{webhook.code}/")
        self.webhooks[webhook.user_id, webhook.code] = moved
        return moved

    def create_application(
        self, *, client_id: str | None, scope: Iterable[str], redirect_uri: str
    ) -> Application:
        """Install an application."""
        name = client_id or f"local.{secrets.token_hex(7)}.{secrets.randbelow(90_000_000) + 10_000_000}"
        number = len(self.applications) + 1
        application = Application(
            self.tokens, client_id=name, scope=tuple(scope), redirect_uri=redirect_uri, number=number
        )
        self.applications[name] = application
        return application

    def out_of_scope(self) -> RestError:
        """Return what is said to a call of a method outside the caller's scope."""
        return insufficient_scope(403 if self._documented else 401)

    def by_webhook(self, user_id: int, code: str) -> Caller:
        """Return who calls through a webhook.

        :raises RestError: `401`.
        """
        webhook = self.webhooks.get((user_id, code))
        if webhook is None:
            raise no_auth_found() if self._documented else wrong_webhook()
        return Caller(self.users[user_id], webhook.scope, f"webhook {code}")

    def token_for_links(self, caller: Caller) -> str:
        """Return what links in answers hold as `auth`: the application's token, or one for a webhook's user."""
        if caller.application is not None:
            return caller.application.access_token
        token = secrets.token_hex(32)
        self._link_tokens[token] = caller
        return token

    def by_token(self, access_token: object) -> Caller:
        """Return who calls with an access token.

        :raises RestError: `401` for a wrong or expired token, `403 user_access_error`.
        """
        if not isinstance(access_token, str) or not access_token:
            raise no_auth_found()
        if access_token in self._link_tokens:
            return self._link_tokens[access_token]
        try:
            application, pair = self.tokens.authorize(access_token)
        except RestError as refusal:
            if self._documented and refusal.code != "expired_token":
                raise no_auth_found() from None
            raise
        if application.allowed_users is not None and pair.user_id not in application.allowed_users:
            raise RestError(403, "user_access_error", "The user does not have access to the application")
        return Caller(self.users[pair.user_id], application.scope, application.client_id, application)
