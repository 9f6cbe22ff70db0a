"""Event tokens: the signed right to answer one waiting activity of one process."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from typing import NamedTuple

_ALPHABET = string.ascii_letters + string.digits


class EventToken(NamedTuple):
    """What an event token says."""

    process_id: str
    activity: str
    event_id: str


class EventTokens:
    """Writes and reads event tokens: `workflow id|activity name|event id.signature`."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def write(self, process_id: str, activity: str) -> tuple[str, str]:
        """Return a new token and the event id in it."""
        event_id = "".join(secrets.choice(_ALPHABET) for _ in range(32))
        content = f"{process_id}|{activity}|{event_id}"
        return f"{content}.{self._sign(content)}", event_id

    def read(self, token: object) -> EventToken | None:
        """Return what a token says, or `None` when it was not signed here."""
        if not isinstance(token, str) or not token.isascii():
            return None
        content, _, signature = token.rpartition(".")
        parts = content.split("|")
        if len(parts) != 3 or not hmac.compare_digest(signature, self._sign(content)):
            return None
        return EventToken(*parts)

    def _sign(self, content: str) -> str:
        return hmac.new(self._key, content.encode("ascii"), hashlib.sha256).hexdigest()
