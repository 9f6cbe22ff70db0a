"""The portal's and the authorization server's error answers, as one table: code to exception and advice."""

from __future__ import annotations

import re
from typing import NamedTuple

from airflow_provider_b24.exceptions import (
    AuthError,
    BatchError,
    Bitrix24Error,
    EventTokenError,
    ExpiredTokenError,
    OperationTimeLimitError,
    PortalBlockedError,
    ProcessEndedError,
    ProcessLockedError,
    RateLimitError,
    ServerError,
    TransportError,
)
from airflow_provider_b24.rest.methods import facts_of

RECONNECT = (
    "Connect the application to the portal again: open or reinstall it in Bitrix24 (or go through the OAuth "
    "sign-in), so that a new pair of tokens is stored."
)


class KnownError(NamedTuple):
    """What an error code means.

    :param kind: the exception that stands for it.
    :param advice: what the reader can do about it.
    """

    kind: type[Bitrix24Error]
    advice: str


SYSTEM_ERRORS: dict[str, KnownError] = {
    "INTERNAL_SERVER_ERROR": KnownError(ServerError, "The portal failed inside; try again later."),
    "ERROR_UNEXPECTED_ANSWER": KnownError(ServerError, "The portal failed inside; try again later."),
    "QUERY_LIMIT_EXCEEDED": KnownError(
        RateLimitError, "Other programs at this address use up the portal's limit."
    ),
    "OPERATION_TIME_LIMIT": KnownError(
        OperationTimeLimitError, "The method is closed until its operating time is reset; ask it for less."
    ),
    "ERROR_BATCH_METHOD_NOT_ALLOWED": KnownError(BatchError, "Send this method on its own."),
    "ERROR_BATCH_LENGTH_EXCEEDED": KnownError(BatchError, "Send fewer or smaller calls in one batch."),
    "NO_AUTH_FOUND": KnownError(
        AuthError, "The webhook's code or the access token is wrong; check the connection's credentials."
    ),
    "INVALID_TOKEN": KnownError(AuthError, "The access token is wrong. " + RECONNECT),
    "EXPIRED_TOKEN": KnownError(ExpiredTokenError, "The access token has expired and must be refreshed."),
    "INVALID_REQUEST": KnownError(Bitrix24Error, "The portal wants https; check the scheme of its address."),
    "OVERLOAD_LIMIT": KnownError(
        PortalBlockedError,
        "REST was blocked by hand because of overload; only Bitrix24's support can lift it.",
    ),
    "ACCESS_DENIED": KnownError(
        AuthError, "The user behind the credentials may not do this, or the method needs an application."
    ),
    "INVALID_CREDENTIALS": KnownError(
        AuthError,
        "Mostly the webhook's user id or code is mistyped, or the webhook was deleted: compare the connection with the "
        "webhook's URL. If they are right, the user behind them lacks the rights for this method.",
    ),
    "ERROR_MANIFEST_IS_NOT_AVAILABLE": KnownError(Bitrix24Error, "The manifest is not available."),
    "INSUFFICIENT_SCOPE": KnownError(
        AuthError, "Add the missing permission (scope) to the webhook or application in Bitrix24."
    ),
    "USER_ACCESS_ERROR": KnownError(
        AuthError, "The portal's administrator has not given this user access to the application."
    ),
    "PORTAL_DELETED": KnownError(PortalBlockedError, "The portal was deleted or its public part is closed."),
    "ERROR_METHOD_NOT_FOUND": KnownError(
        Bitrix24Error, "The portal has no such method, or the webhook's permissions do not include it."
    ),
    "PAYMENT_REQUIRED": KnownError(PortalBlockedError, "The application's paid or trial period is over."),
}

AUTHORIZATION_ERRORS: dict[str, KnownError] = {
    "INVALID_REQUEST": KnownError(AuthError, "The authorization server could not read the request."),
    "INVALID_CLIENT": KnownError(
        AuthError, "Check client_id and client_secret, and that the application is installed in this portal."
    ),
    "INVALID_GRANT": KnownError(AuthError, "The refresh token is spent or older than 180 days. " + RECONNECT),
    "INVALID_SCOPE": KnownError(AuthError, "Add the missing permissions to the application's card."),
    "INSUFFICIENT_SCOPE": KnownError(AuthError, "Add the missing permissions to the application's card."),
    "PAYMENT_REQUIRED": KnownError(PortalBlockedError, "The application's paid or trial period is over."),
}

_COMMERCIAL_PLANS = KnownError(
    PortalBlockedError, "The portal's plan has no REST API; it needs a commercial plan."
)
_PLAN = re.compile(r"\b(?:commercial|plans?|tariff)\b", re.IGNORECASE)
_EVENT_TOKEN = KnownError(
    EventTokenError,
    "The event token is invalid, has expired, or was used before; asking again will not help.",
)
_PROCESS_ENDED = KnownError(
    ProcessEndedError, "The process is over and waits for no answer; asking again will not help."
)
# What `bizproc.event.send` and `bizproc.activity.log` say of the process behind a token that is genuine. The codes are
# those of the portal's module `bizproc`; the documentation does not list them.
_PROCESS_ERRORS: dict[str, KnownError] = {
    "404": _PROCESS_ENDED,
    "499": _PROCESS_ENDED,
    "423": KnownError(
        ProcessLockedError, "The portal works on the process at this moment; try again in a moment."
    ),
}
_NO_PROCESS = "empty root activity"
"""How older portals say 404; they give no code."""


def system_error(code: str, description: str, status: int | None, method: str, portal: str) -> Bitrix24Error:
    """Turn an error object of a portal into the exception that stands for it.

    :param code: as text; ``refused`` when the portal gave none.

    An unknown code is judged by its status: 401 is about authorization, 429 about limits, 5xx is the portal's fault.
    """
    key = code.upper()
    known = SYSTEM_ERRORS.get(key)
    to_process = facts_of(method).takes_event_token
    if key == "ACCESS_DENIED":
        if _PLAN.search(description):
            known = _COMMERCIAL_PLANS
        elif to_process:
            known = _EVENT_TOKEN
    elif to_process and known is None:
        known = _PROCESS_ERRORS.get(key)
        if known is None and _NO_PROCESS in description.lower():
            known = _PROCESS_ENDED
    if known is None:
        return _kind_by_status(status)(code, description, status, method, portal)
    text = f"{description.rstrip('.! ')}. {known.advice}" if description else known.advice
    return known.kind(code, text, status, method, portal)


def _kind_by_status(status: int | None) -> type[Bitrix24Error]:
    if status == 401:
        return AuthError
    if status == 429:
        return RateLimitError
    if status is not None and status >= 500:
        return ServerError
    return Bitrix24Error


def authorization_error(code: str, description: str, status: int | None, server: str) -> Bitrix24Error:
    """Turn an error object of the authorization server into the exception that stands for it."""
    known = AUTHORIZATION_ERRORS.get(code.upper())
    place = ("token refresh", server)
    if known is None:
        kind = ServerError if status is not None and status >= 500 else AuthError
        return kind(code, description, status, *place)
    text = f"{description.rstrip('.! ')}. {known.advice}" if description else known.advice
    return known.kind(code, text, status, *place)


def error_by_status(status: int, method: str, portal: str) -> Bitrix24Error:
    """Judge an answer that is no JSON: a page of a proxy or of the portal's limits. The status decides."""
    if status == 503:
        return RateLimitError(
            "QUERY_LIMIT_EXCEEDED",
            "Too many requests; the portal said so with a page.",
            status,
            method,
            portal,
        )
    if status == 429:
        return OperationTimeLimitError(
            "OPERATION_TIME_LIMIT", "The method is closed for a while; the portal said so with a page.",
            status, method, portal,
        )  # fmt: skip
    if status in (408, 502, 504):
        return TransportError(
            "gateway_error",
            "A gateway answered instead of the portal.",
            status,
            method,
            portal,
            ambiguous=True,
        )
    if status >= 500:
        return ServerError(
            "server_error", "The portal failed inside; try again later.", status, method, portal
        )
    if status in (401, 407):
        return AuthError(
            "unauthorized", "The portal does not accept the credentials.", status, method, portal
        )
    if status == 413:
        kind = BatchError if method == "batch" else Bitrix24Error
        return kind(
            "request_too_large", "The request is larger than the portal accepts.", status, method, portal
        )
    if 200 <= status < 300:
        return TransportError(
            "unreadable_answer",
            "The answer is cut off or is no JSON; the portal may have done the work all the same.",
            status, method, portal, ambiguous=True,
        )  # fmt: skip
    return Bitrix24Error(
        "not_rest", "The answer is no JSON; is this the address of a Bitrix24 portal?", status, method, portal
    )
