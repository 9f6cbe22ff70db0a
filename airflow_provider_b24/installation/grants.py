"""What is granted to the application is verified first, and stored only then.

What arrives at the receiver's public address is a claim. Tokens may be of another application or another portal, and an
``application_token`` is a mere text that anyone can choose. So before any of it is stored

1. the connection's own portal is asked with the granted access token: an unknown token, or one of a user who is no
   administrator, ends here: one cheap request, and the authorization server is not asked;
2. the refresh token is exchanged at the authorization server with the connection's own ``client_id`` and
   ``client_secret``. Only this proves that the grant was made to *this* application (``app.info`` gives a code that
   is the client id for local applications only); the answer names the portal's ``member_id`` on the authority of the
   authorization server; and the pair that went through a browser or a proxy's log is worthless afterwards;
3. the connection's own portal is asked again, with the new access token: it accepts none of another portal. Its user
   must be an administrator: every employee who may open an application gets valid tokens, but only an administrator
   can install one, and only then the ``application_token`` that came along is believed.

A user who is no administrator can sign in by a code, too: robots can be answered with those tokens, not registered.
They do not replace an administrator's tokens unless someone says that they shall.

Requests go to the connection's portal and to Bitrix24's authorization servers, never to an address out of what was
posted. Which of the two servers to ask first, what was posted may say.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import AuthError, Bitrix24Error, InstallationRefusedError
from airflow_provider_b24.hooks.installations import Installation, InstallationStore
from airflow_provider_b24.hooks.tokens import VariableTokenStore, seed_of
from airflow_provider_b24.installation.client import short_timeout_client
from airflow_provider_b24.installation.refusals import (
    refusal,
    require_application,
    require_application_token,
    require_portal,
)
from airflow_provider_b24.rest.credentials import Tokens, portal_host

if TYPE_CHECKING:
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.rest import Bitrix24Client, TokenStore
    from airflow_provider_b24.rest.renewal import GrantType

_ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Grant:
    """What Bitrix24 posts when an application is installed or opened.

    :param access_token: opens the REST API for about an hour.
    :param refresh_token: buys the next pair, once.
    :param member_id: the portal that the tokens are said to be of.
    :param application_token: what Bitrix24 is going to sign its calls with, if it was posted.
    :param event_time: when the event was sent, Unix time by Bitrix24's clock, if it was an event.
    :param oauth_server: which of Bitrix24's authorization servers it says has granted them, if it names one.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    member_id: str
    application_token: str | None = field(default=None, repr=False)
    event_time: float | None = None
    oauth_server: str = ""


@dataclass(frozen=True, slots=True)
class Connected:
    """What came of connecting an application.

    :param installation: as it is stored now.
    :param user: name of the user on whose behalf the application acts.
    :param administrator: whether that user is one: without, robots cannot be registered.
    """

    installation: Installation
    user: str
    administrator: bool


def check_claims(connection: PortalConnection, grant: Grant) -> None:
    """Check what can be compared without asking anyone.

    :param connection: as Airflow has it.
    :raises InstallationRefusedError: when it is no application, of another portal, or has a wrong application token.
    """
    require_application(connection)
    require_portal(connection, InstallationStore(connection).read(), grant.member_id)
    if grant.application_token is not None:
        require_application_token(connection, grant.application_token, connection.application_token)


def install(connection: PortalConnection, grant: Grant) -> Connected:
    """Take over an installation that was posted to the receiver.

    :param connection: as Airflow has it.
    :raises InstallationRefusedError: when the grant does not prove what it has to.
    :raises Bitrix24Error: when the portal or the authorization server cannot be asked.

    Source: https://apidocs.bitrix24.com/api-reference/events/safe-event-handlers.html
    """
    from airflow_provider_b24.rest import MemoryTokenStore

    check_claims(connection, grant)
    pair = MemoryTokenStore(Tokens(grant.access_token, grant.refresh_token, oauth_server=grant.oauth_server))
    with short_timeout_client(connection, pair) as client:
        _require_administrator(connection, _profile(connection, client, "not_granted"))
        # The client has renewed the pair by now if the event came so late that its access token had expired.
        current = pair.load()
        refresh_token = current.refresh_token if current else grant.refresh_token
        oauth_server = current.oauth_server if current else grant.oauth_server
        tokens = _redeem(connection, client, "refresh_token", refresh_token, oauth_server)
    if tokens.member_id != grant.member_id:
        raise refusal(connection, "other_portal", "The tokens are not of the portal they came with.")
    profile = _profile_of_new_pair(connection, pair)
    _require_administrator(connection, profile)
    return _store(connection, tokens, profile, grant.application_token, grant.event_time)


def connect_by_code(
    connection: PortalConnection,
    code: str,
    *,
    oauth_server: str = "",
    replace_administrator: bool = False,
) -> Connected:
    """Take over an installation with the authorization code that the portal has given to a user.

    :param connection: as Airflow has it.
    :param code: good for 30 seconds.
    :param oauth_server: which of Bitrix24's authorization servers the portal says has made it, if it names one.
    :param replace_administrator: whether the tokens of someone who is no administrator may replace those of an
        administrator.
    :raises InstallationRefusedError: when it does not prove what it has to, or would replace an administrator's.
    :raises Bitrix24Error: when the portal or the authorization server cannot be asked.

    Source: https://apidocs.bitrix24.com/settings/oauth/index.html
    """
    from airflow_provider_b24.rest import MemoryTokenStore

    tokens, profile = _redeem_and_ask(
        connection, MemoryTokenStore(), "authorization_code", code, oauth_server
    )
    if profile.get("ADMIN") is not True and not replace_administrator:
        _require_no_administrator_yet(connection, profile)
    return _store(connection, tokens, profile)


def connect_by_tokens(connection: PortalConnection) -> Connected:
    """Verify the tokens that the connection already has, and learn from them which portal it is.

    :param connection: as Airflow has it.
    :raises InstallationRefusedError: when there are none, or they do not prove what they have to.
    :raises Bitrix24Error: when the portal or the authorization server cannot be asked.
    """
    require_application(connection)
    store = VariableTokenStore(connection)
    tokens = store.load()
    if tokens is None:
        raise refusal(connection, "not_granted", "It has no tokens yet.")
    # Others may be using them: the new pair must not be lost, whatever the portal says to it.
    redeemed = _redeem_and_ask(connection, store, "refresh_token", tokens.refresh_token, tokens.oauth_server)
    return _store(connection, *redeemed)


def _redeem_and_ask(
    connection: PortalConnection,
    token_store: TokenStore,
    grant_type: GrantType,
    grant: str,
    oauth_server: str,
) -> tuple[Tokens, Mapping[str, Any]]:
    require_application(connection)
    known = InstallationStore(connection).read()
    with short_timeout_client(connection, token_store) as client:
        tokens = _redeem(connection, client, grant_type, grant, oauth_server)
    require_portal(connection, known, tokens.member_id)
    return tokens, _profile_of_new_pair(connection, token_store)


def _redeem(
    connection: PortalConnection,
    client: Bitrix24Client,
    grant_type: GrantType,
    grant: str,
    oauth_server: str,
) -> Tokens:
    try:
        tokens = client.redeem(grant_type, grant, oauth_server=oauth_server)
    except AuthError as error:
        if error.retryable:
            raise
        raise refusal(
            connection,
            "not_granted",
            f"The authorization server does not confirm that this was granted to its application ({error.code}). "
            "Check client_id and client_secret, and begin anew: codes and refresh tokens work once.",
        ) from error
    if not tokens.member_id:
        raise refusal(
            connection, "not_granted", "The authorization server does not say which portal this is."
        )
    return tokens


def _profile(connection: PortalConnection, client: Bitrix24Client, word: str) -> Mapping[str, Any]:
    """Ask the connection's own portal who its tokens stand for.

    :param word: what it means when the portal does not accept them.
    """
    try:
        profile = client.call("profile").result
    except AuthError as error:
        if error.retryable:
            raise
        raise refusal(
            connection,
            word,
            f"{portal_host(connection.portal_url)} does not accept the tokens ({error.code}).",
        ) from error
    return profile if isinstance(profile, Mapping) else {}


def _profile_of_new_pair(connection: PortalConnection, token_store: TokenStore) -> Mapping[str, Any]:
    """Ask whom a pair stands for that was redeemed just now, patiently: what it was redeemed for works once.

    :raises InstallationRefusedError: when the portal does not say; the same grant is not good a second time.
    """
    try:
        with short_timeout_client(connection, token_store, attempts=_ATTEMPTS) as client:
            return _profile(connection, client, "other_portal")
    except InstallationRefusedError:
        raise
    except Bitrix24Error as error:
        raise refusal(
            connection,
            "not_verified",
            f"The portal does not say whom the new tokens stand for, and what was granted is spent: {error} When it "
            "answers again, begin anew: open the application in Bitrix24 as an administrator, or install it again, or "
            f"run `airflow-b24 connect {connection.conn_id}`.",
        ) from error


def _require_administrator(connection: PortalConnection, profile: Mapping[str, Any]) -> None:
    if profile.get("ADMIN") is not True:
        raise refusal(
            connection,
            "not_administrator",
            "The tokens are not an administrator's. Only an administrator of the portal can install the application.",
        )


def _require_no_administrator_yet(connection: PortalConnection, profile: Mapping[str, Any]) -> None:
    """Refuse to put the tokens of someone who is no administrator into the place of an administrator's."""
    known, store = InstallationStore(connection).read(), VariableTokenStore(connection)
    if store.load() is None:
        return
    if known is not None and known.administrator is not None and known.seed == seed_of(connection.tokens):
        administrator = known.administrator
    else:
        # Tokens that someone has put into the connection, or that an earlier version has stored.
        try:
            with short_timeout_client(connection, store) as client:
                administrator = client.call("profile").result.get("ADMIN") is True
        except AuthError as error:
            if error.retryable:
                raise
            return
    if administrator:
        raise refusal(
            connection,
            "would_replace_administrator",
            f"It acts for an administrator of the portal, and {_name(profile)} is none. Sign in to the portal as an "
            "administrator. To give up the right to register robots, run `airflow-b24 connect "
            f"{connection.conn_id} --again --replace-administrator`.",
        )


def _store(
    connection: PortalConnection,
    tokens: Tokens,
    profile: Mapping[str, Any],
    application_token: str | None = None,
    event_time: float | None = None,
) -> Connected:
    VariableTokenStore(connection).replace(tokens)
    user, administrator = _name(profile), profile.get("ADMIN") is True

    def change(before: Installation) -> Installation:
        # A new installation has a new application token, perhaps; the one before is not to be believed any longer.
        kept = before.application_token if before.uninstalled_at is None else None
        return dataclasses.replace(
            before,
            seed=seed_of(connection.tokens),
            application_token=application_token or kept,
            member_id=tokens.member_id,
            installed_at=time.time(),
            event_time=event_time,
            uninstalled_at=None,
            user_id=str(profile.get("ID") or tokens.user_id) or None,
            user_name=user,
            administrator=administrator,
        )

    return Connected(InstallationStore(connection).update(change), user, administrator)


def _name(profile: Mapping[str, Any]) -> str:
    name = " ".join(str(profile.get(part) or "") for part in ("NAME", "LAST_NAME")).strip()
    return name or f"user {profile.get('ID')}"
