"""Renewing an expired pair of tokens, once per expiry, however many threads, tasks and processes notice it.

Whoever notices reads the store again first: mostly someone else has been there already. Within a process a lock
lets one of them act; between processes only the refresh token itself can decide the race, because it works once, so
that the loser is refused, waits, and finds the winner's pair in the store.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from airflow_provider_b24.exceptions import AuthError, Bitrix24Error, ServerError, TransportError
from airflow_provider_b24.rest._errors import RECONNECT, authorization_error
from airflow_provider_b24.rest.credentials import (
    DEFAULT_OAUTH_SERVER,
    OAUTH_SERVERS,
    OAuthApp,
    Tokens,
    portal_host,
)
from airflow_provider_b24.rest.session import HEADERS, Session
from airflow_provider_b24.rest.wire import (
    Conversation,
    LoadTokens,
    NoResponse,
    Request,
    Response,
    Send,
    Sleep,
    StoreFailed,
    StoreTokens,
    TransportFailure,
    Whole,
)

if TYPE_CHECKING:
    from airflow_provider_b24.rest.repeating import Progress

GrantType = Literal["authorization_code", "refresh_token"]
LOCK_POLL = 0.05
"""Seconds between two looks at another thread's or task's renewal."""
STAGGER = 0.5
"""Processes that notice the expiry together spread over this many seconds, and all but the first find a new pair."""
RACE_DELAYS = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
"""Seconds between two looks of the loser of the race for the winner's pair; the last is repeated."""
STORE_DELAYS = (0.1, 0.4, 1.6, 3.2)
"""Seconds between attempts to store a new pair."""


def current_tokens(session: Session, progress: Progress) -> Conversation[Tokens]:
    """Give the pair to call with, from the store if this client has none yet.

    :raises AuthError: when there is no pair at all.
    """
    if session.unsaved is not None:
        yield from _save_rest(session, progress)
    if session.tokens is None:
        session.tokens = yield from _load(session, progress)
    if session.tokens is None:
        raise AuthError(
            "not_connected", f"No tokens are stored for this application. {RECONNECT}", portal=session.portal
        )
    return session.tokens


def renew(session: Session, progress: Progress) -> Conversation[None]:
    """Replace the pair that the call was refused with.

    It takes no longer than the call's deadline; but what the authorization server is asked for is the only copy of the
    next pair: its response is waited for, and stored, whatever the deadline says.

    :raises AuthError: when the refresh token is dead; or, ``retryable``, when the deadline was too near.
    :raises Bitrix24Error: when the authorization server or the store fails.
    """
    used = progress.used
    yield from _lock(session, progress)
    try:
        if _renewed(session.tokens, used) or (yield from _found_in_store(session, progress)):
            return
        yield from _pause(session.chance() * STAGGER, session, progress)
        if (yield from _found_in_store(session, progress)):
            return
        yield from _refresh(session, progress)
    finally:
        session.renewal_lock.release()


def redeem(
    session: Session, grant_type: GrantType, grant: str, *, oauth_server: str = ""
) -> Conversation[Tokens]:
    """Exchange what a user has granted for the first pair of tokens, and keep it.

    Asks once: a grant works once, so that a second attempt after a lost answer could only be refused.

    :param oauth_server: which of Bitrix24's authorization servers knows the grant, if it is known.
    :raises AuthError: when the authorization server does not accept it for this application.
    :raises Bitrix24Error: when the authorization server or the store fails.
    """
    if session.app is None:
        raise AuthError(
            "not_an_application", "An incoming webhook has no tokens to be granted.", portal=session.portal
        )
    outcome: Tokens | Bitrix24Error = yield Whole(
        _ask_and_save(session.app, grant_type, grant, oauth_server, session)
    )
    if not isinstance(outcome, Tokens):
        raise outcome
    return outcome


def _pause(seconds: float, session: Session, progress: Progress) -> Conversation[None]:
    """Wait, until the deadline at most.

    :raises AuthError: ``retryable``, when it is over already.
    """
    remaining = progress.remaining()
    if remaining is not None:
        if remaining <= 0:
            error = AuthError(
                "renewal_unfinished",
                "The tokens could not be renewed within the time the call may take: another process is at it, or the "
                "authorization server is slow.",
                portal=session.portal,
            )
            error.retryable = True
            raise error
        seconds = min(seconds, remaining)
    if seconds > 0:
        session.announce(seconds, "renewal", progress.call.method)
        yield Sleep(seconds)


def _lock(session: Session, progress: Progress) -> Conversation[None]:
    """Wait for another thread's or task's renewal, without blocking its event loop."""
    while not session.renewal_lock.acquire(blocking=False):
        yield from _pause(LOCK_POLL, session, progress)


def _save_rest(session: Session, progress: Progress) -> Conversation[None]:
    """Store the pair that could not be stored when it was new, unless someone is just doing it."""
    yield from _lock(session, progress)
    try:
        if session.unsaved is not None:
            yield from _save(session, session.unsaved)
    finally:
        session.renewal_lock.release()


def _renewed(tokens: Tokens | None, used: Tokens | None) -> bool:
    return tokens is not None and (used is None or tokens.access_token != used.access_token)


def _found_in_store(session: Session, progress: Progress) -> Conversation[bool]:
    """Take the stored pair; say whether it is another one than the one used."""
    stored = yield from _load(session, progress)
    if stored is not None:
        session.tokens = stored
    return _renewed(stored, progress.used)


def _refresh(session: Session, progress: Progress) -> Conversation[None]:
    app, tokens = session.app, session.tokens
    if app is None or tokens is None:
        raise AuthError(
            "not_connected", f"There are no tokens to refresh. {RECONNECT}", portal=session.portal
        )
    if not tokens.refresh_token:
        raise AuthError(
            "no_refresh_token",
            "The access token has expired, and there is no refresh token to renew it with.",
            portal=session.portal,
        )
    failures, delay = 0, 0.0
    while True:
        yield from _pause(delay, session, progress)
        outcome: Tokens | Bitrix24Error = yield Whole(
            _ask_and_save(
                app, "refresh_token", tokens.refresh_token, tokens.oauth_server, session, tokens.member_id
            )
        )
        if isinstance(outcome, Tokens):
            session.observer.on_refresh()
            return
        if outcome.code.lower() == "invalid_grant":
            if (yield from _winner_has_stored(tokens.refresh_token, session, progress)):
                return
            raise outcome
        failures += 1
        patience = session.patience
        # A pair that could not be stored has spent the refresh token.
        if session.unsaved is not None or not outcome.retryable or failures >= patience.attempts:
            raise outcome
        delay = session.chance() * min(patience.longest_delay, patience.first_delay * 2 ** (failures - 1))


def _winner_has_stored(refresh_token: str, session: Session, progress: Progress) -> Conversation[bool]:
    """Wait for the pair of whoever has spent the refresh token.

    It can be on its way for as long as a response may take, and then needs to be stored. Nobody can tell this from a
    refresh token that is dead, except by waiting; which is done once for each.
    """
    waited = 0.0
    delays = chain(RACE_DELAYS, repeat(RACE_DELAYS[-1]))
    longest = session.patience.timeout + sum(STORE_DELAYS)
    while refresh_token != session.dead_refresh_token and waited < longest:
        delay = next(delays)
        yield from _pause(delay, session, progress)
        waited += delay
        if (yield from _found_in_store(session, progress)):
            return True
    session.dead_refresh_token = refresh_token
    return False


def _ask_and_save(
    app: OAuthApp,
    grant_type: GrantType,
    grant: str,
    granted_by: str,
    session: Session,
    member_id: str = "",
) -> Conversation[Tokens | Bitrix24Error]:
    """Ask for a pair of tokens and store it: a grant works once, so nothing may come in between.

    :param member_id: whose tokens they must be, if that is known.
    """
    outcome = yield from _ask(app, grant_type, grant, granted_by, session)
    if not isinstance(outcome, Tokens):
        return outcome
    if member_id and outcome.member_id and member_id != outcome.member_id:
        return AuthError(
            "wrong_portal",
            "The authorization server answered with tokens of another portal; they were discarded. "
            + RECONNECT,
            portal=session.portal,
        )
    try:
        yield from _save(session, outcome)
    except AuthError as error:
        return error
    return outcome


def _ask(
    app: OAuthApp, grant_type: GrantType, grant: str, granted_by: str, session: Session
) -> Conversation[Tokens | Bitrix24Error]:
    """Ask an authorization server for a pair of tokens.

    :param granted_by: the server that is said to know the grant. Unless the application names one, the other is asked
        where the first cannot be reached: nothing was sent then, so that the grant is not spent.
    """
    first = app.oauth_server or granted_by or DEFAULT_OAUTH_SERVER
    servers = [first] if app.oauth_server else [first, *sorted(OAUTH_SERVERS - {first})]
    query = urlencode({
        "grant_type": grant_type,
        "client_id": app.client_id,
        "client_secret": app.client_secret,
        "code" if grant_type == "authorization_code" else "refresh_token": grant,
    })  # fmt: skip
    asked: list[str] = []
    while True:
        server = servers[len(asked)]
        asked.append(portal_host(server))
        request = Request("GET", f"{server}/oauth/token/?{query}", HEADERS, None, session.patience.timeout)
        answer: Response | NoResponse = yield Send(request)
        unreached = isinstance(answer, NoResponse) and answer.failure is TransportFailure.REFUSED
        if not unreached or len(asked) == len(servers):
            break
    outcome = _understand(answer, " and ".join(asked) if unreached else asked[-1], session, grant)
    if isinstance(outcome, Tokens) and not outcome.oauth_server:
        return replace(outcome, oauth_server=granted_by)
    return outcome


def _understand(
    answer: Response | NoResponse, server: str, session: Session, grant: str
) -> Tokens | Bitrix24Error:
    place = ("token refresh", server)
    if isinstance(answer, NoResponse):
        error = TransportError(
            f"connection_{answer.failure.name.lower()}", answer.failure.value, None, *place
        )
        error.retryable = answer.failure is not TransportFailure.UNTRUSTED
        return error
    try:
        data = json.loads(answer.body)
        if isinstance(data, dict) and data.get("error"):
            code = session.scrub(str(data["error"]), grant)
            description = session.scrub(str(data.get("error_description") or ""), grant)
            return authorization_error(code, description, answer.status, server)
        if isinstance(data, dict) and answer.status == 200:
            return Tokens.from_json(data)
    except (ValueError, OverflowError, RecursionError):
        pass
    kind = ServerError if answer.status >= 500 or answer.status == 200 else AuthError
    return kind(
        "unreadable_answer", "The authorization server's answer is not understood.", answer.status, *place
    )


def _load(session: Session, progress: Progress) -> Conversation[Tokens | None]:
    outcome: Tokens | StoreFailed | None = None
    for delay in (0.0, *STORE_DELAYS):
        if delay:
            yield from _pause(delay, session, progress)
        outcome = yield LoadTokens()
        if not isinstance(outcome, StoreFailed):
            return outcome
    reason = outcome.reason if isinstance(outcome, StoreFailed) else ""
    raise _store_error(f"The token store could not be read ({reason}). Check where tokens are kept.", session)


def _save(session: Session, tokens: Tokens) -> Conversation[None]:
    """Store a new pair before anyone uses it; the old one is void, so it must not get lost."""
    session.unsaved = tokens
    outcome: StoreFailed | None = None
    for delay in (0.0, *STORE_DELAYS):
        if delay:
            yield Sleep(delay)
        outcome = yield StoreTokens(tokens)
        if not isinstance(outcome, StoreFailed):
            session.tokens, session.unsaved = tokens, None
            return
    reason = outcome.reason if outcome is not None else ""
    raise _store_error(
        f"The new tokens could not be stored ({reason}). They are kept in this process and stored with the next "
        "call; if the process ends before, the application must be connected again.",
        session,
    )


def _store_error(text: str, session: Session) -> AuthError:
    error = AuthError("token_store_failed", text, portal=session.portal)
    error.retryable = True
    return error
