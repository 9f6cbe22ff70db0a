"""Keeping secrets out of the logs of the HTTP libraries, which write down the URLs they fetch."""

from __future__ import annotations

import logging
import re

_LOGGERS = (
    "urllib3.connectionpool", "urllib3.util.retry", "httpx",
    "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy",
)  # fmt: skip
_WEBHOOK_CODE = re.compile(r"(/rest/(?:api/)?\d+/)[A-Za-z0-9_-]+")
_TOKEN_QUERY = re.compile(
    r"((?:client_secret|refresh_token|access_token|auth|code|application_token)=)[^&\s\"'\\]+"
)


def redact(text: str) -> str:
    """Replace webhook codes and tokens in URLs by asterisks."""
    return _TOKEN_QUERY.sub(r"\1***", _WEBHOOK_CODE.sub(r"\1***", text))


class _Redaction(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


_redaction = _Redaction()


def redact_http_logs() -> None:
    """Filter what the HTTP libraries log, in this process and for good; calling it again does nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_redaction)
