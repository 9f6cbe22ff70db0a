"""What people see of requests and calls: everything but secrets."""

from __future__ import annotations

import json
import re
from typing import Any

HIDDEN = "…"
_NAMES = (
    "auth|access_token|refresh_token|client_secret|application_token|event_token|auth_id|refresh_id|app_sid"
    "|token|password|authorization"
)
_IN_JSON = re.compile(rf'("(?:{_NAMES})"\s*:\s*")[^"]*', re.IGNORECASE)
_IN_QUERY = re.compile(rf'(?<![A-Za-z_])((?:{_NAMES})(?:=|%3D))[^&"\s]+', re.IGNORECASE)
_IN_PATH = re.compile(r'(/rest/(?:api/)?[0-9]+/)[^/"\s?]+')
# Tokens, and the signatures without which event tokens are worth nothing.
_SIGNATURE = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def redact(text: str) -> str:
    """Return a text, such as JSON or an address, without the secrets of a portal."""
    for pattern in (_IN_JSON, _IN_QUERY, _IN_PATH):
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return _SIGNATURE.sub(HIDDEN, text)


def shown(value: Any) -> str:
    """Return a value as JSON for people, without secrets.

    :param value: what was sent; what JSON does not know is shown as text.
    """
    return redact(json.dumps(value, ensure_ascii=False, indent=2, default=str))
