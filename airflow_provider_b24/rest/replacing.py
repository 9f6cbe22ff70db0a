"""Credentials that were replaced while someone waited: a refusal is the reason to look for others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_b24.rest.credentials import OAuthApp, Tokens, Webhook
from airflow_provider_b24.rest.wire import Conversation, LoadCredentials, LoadTokens, Sleep

if TYPE_CHECKING:
    from airflow_provider_b24.rest.credentials import Credentials
    from airflow_provider_b24.rest.repeating import Progress
    from airflow_provider_b24.rest.session import Session

logger = logging.getLogger("airflow_provider_b24.rest")

_PAUSE = 5.0
"""Seconds after a look in which nobody looks again: many calls may be refused at once."""
_POLL = 0.05
"""Seconds between two attempts to be the one who looks."""


def replaced(used: Credentials, progress: Progress, session: Session) -> Conversation[bool]:
    """Look for other credentials than those that the portal has refused.

    One call looks; those that are refused at the same time wait for what it finds.

    :param used: what the call was made with.
    :param progress: the call's; it knows the application's pair that it was made with, and how long it may take.
    :return: whether the session has others now.
    """
    while not session.lookup_lock.acquire(blocking=False):
        if progress.remaining() == 0:
            return False
        yield Sleep(_POLL)
    try:
        return (yield from _look(used, progress.used, session))
    finally:
        session.lookup_lock.release()


def _look(used: Credentials, tokens: Tokens | None, session: Session) -> Conversation[bool]:
    if not _differ(session.credentials, session.tokens, used, tokens):
        if session.clock() < session.look_again_at:
            return False
        session.look_again_at = session.clock() + _PAUSE
        found = yield LoadCredentials()
        if not isinstance(found, (Webhook, OAuthApp)):
            return False
        stored = (yield LoadTokens()) if isinstance(found, OAuthApp) else None
        stored = stored if isinstance(stored, Tokens) else None
        if not _differ(found, stored, used, tokens) or not session.adopt(found, stored):
            return False
    logger.info(
        "%s: the credentials were refused, and have been replaced: calling with the new ones.", session.portal
    )
    return True


def _differ(found: Credentials, stored: Tokens | None, used: Credentials, tokens: Tokens | None) -> bool:
    return found != used or (stored is not None and stored != tokens)
