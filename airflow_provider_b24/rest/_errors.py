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


_V3 = "BITRIX_REST_V3_EXCEPTION_"
_WRONG_TOKEN = "The access token is not one of this portal and application. " + RECONNECT
_WRONG_WEBHOOK = (
    "There is no such webhook: its user id or code is mistyped, or it was deleted. Compare the connection with the "
    "webhook's URL in Bitrix24, or make a new webhook."
)
_NEEDS_APPLICATION = "The method takes no webhook, only an OAuth application: use a connection to one."
_NO_RIGHTS = (
    "The user behind the credentials lacks the rights for this: give them to the user, or use the credentials of "
    "someone who has them."
)
_MISSING_SCOPE = "Add the missing permission (scope) to the webhook or application in Bitrix24."
_NOT_INSTALLED = KnownError(
    AuthError, "The application is not installed in the portal, or was removed. " + RECONNECT
)
_UNPAID = KnownError(
    PortalBlockedError, "The application's paid or trial period is over: pay for it in the portal's Market."
)
_COMMERCIAL_PLANS = KnownError(
    PortalBlockedError, "The portal's plan has no REST API; it needs a commercial plan."
)
_CLOSED = KnownError(
    OperationTimeLimitError, "The method is closed until its operating time is reset; ask it for less."
)
_FAILED_INSIDE = KnownError(ServerError, "The portal failed inside; try again later.")
_REFUSES_CREDENTIALS = frozenset({
    "NO_AUTH_FOUND", "INVALID_CREDENTIALS", "INVALID_TOKEN", "AUTHORIZATION_ERROR", "ERROR_OAUTH",
    _V3 + "ACCESSDENIEDEXCEPTION",
})  # fmt: skip
"""What a portal says, with the status 401, of credentials that it does not know."""

SYSTEM_ERRORS: dict[str, KnownError] = {
    "INTERNAL_SERVER_ERROR": _FAILED_INSIDE,
    "ERROR_UNEXPECTED_ANSWER": _FAILED_INSIDE,
    "QUERY_LIMIT_EXCEEDED": KnownError(
        RateLimitError, "Other programs at this address use up the portal's limit."
    ),
    "OPERATION_TIME_LIMIT": _CLOSED,
    "ERROR_BATCH_METHOD_NOT_ALLOWED": KnownError(BatchError, "Send this method on its own."),
    "ERROR_BATCH_LENGTH_EXCEEDED": KnownError(BatchError, "Send fewer or smaller calls in one batch."),
    "NO_AUTH_FOUND": KnownError(AuthError, _WRONG_TOKEN),
    "INVALID_TOKEN": KnownError(AuthError, _WRONG_TOKEN),
    "ERROR_OAUTH": KnownError(AuthError, _WRONG_TOKEN),
    "AUTHORIZATION_ERROR": KnownError(AuthError, _WRONG_TOKEN),
    "NOT_INSTALLED": _NOT_INSTALLED,
    "APPLICATION_NOT_FOUND": _NOT_INSTALLED,
    "EXPIRED_TOKEN": KnownError(ExpiredTokenError, "The access token has expired and must be refreshed."),
    "INVALID_REQUEST": KnownError(Bitrix24Error, "The portal wants https; check the scheme of its address."),
    "OVERLOAD_LIMIT": KnownError(
        PortalBlockedError,
        "REST was blocked by hand because of overload; only Bitrix24's support can lift it.",
    ),
    "ACCESS_DENIED": KnownError(
        AuthError, "The user behind the credentials may not do this, or the method needs an application."
    ),
    "ACCESS_ERROR": KnownError(AuthError, _NO_RIGHTS),
    "INVALID_CREDENTIALS": KnownError(AuthError, _NO_RIGHTS),
    "WRONG_AUTH_TYPE": KnownError(AuthError, _NEEDS_APPLICATION),
    "METHOD_CONFIRM_WAITING": KnownError(
        AuthError,
        "An administrator of the portal must confirm that this may be called; see the portal's messages.",
    ),
    "METHOD_CONFIRM_DENIED": KnownError(
        AuthError, "An administrator of the portal has refused that this may be called; ask them."
    ),
    "ALLOWED_ONLY_INTRANET_USER": KnownError(
        AuthError,
        "The user behind the credentials is no employee, but a guest or an extranet user: use an employee's.",
    ),
    "ERROR_MANIFEST_IS_NOT_AVAILABLE": KnownError(Bitrix24Error, "The manifest is not available."),
    "INSUFFICIENT_SCOPE": KnownError(AuthError, _MISSING_SCOPE),
    "USER_ACCESS_ERROR": KnownError(
        AuthError,
        "The portal's administrator has not given this user access to the application: have it given in the "
        "application's settings, or connect as another user.",
    ),
    "PORTAL_DELETED": KnownError(
        PortalBlockedError,
        "The portal was deleted, or its public part is closed: ask its administrator, and check the address.",
    ),
    "ERROR_METHOD_NOT_FOUND": KnownError(
        Bitrix24Error,
        "The portal has no such method, or the webhook's permissions do not include it. If it is one of REST 3.0, call "
        "it with api='v3'.",
    ),
    "PAYMENT_REQUIRED": _UNPAID,
    # REST 3.0
    _V3 + "ACCESSDENIEDEXCEPTION": KnownError(
        AuthError,
        "The user behind the credentials may not do this to this object, or there is no such object.",
    ),
    _V3 + "INSUFFICIENTSCOPEEXCEPTION": KnownError(AuthError, _MISSING_SCOPE),
    _V3 + "LICENSEEXCEPTION": _COMMERCIAL_PLANS,
    _V3 + "RESTUNAVAILABLEEXCEPTION": _COMMERCIAL_PLANS,
    _V3 + "RATELIMITEXCEPTION": _CLOSED,
    _V3 + "METHODNOTFOUNDEXCEPTION": KnownError(
        Bitrix24Error,
        "REST 3.0 of this portal has no such method. If the old API has it, call it without api='v3'.",
    ),
    _V3 + "IDEMPOTENCYKEYREUSEDEXCEPTION": KnownError(
        Bitrix24Error,
        "A call with this idempotency key was done in the last 24 hours, with other parameters or, by an application, "
        "with another access token. Look into the portal whether that was this call; if not, take another key.",
    ),
    _V3 + "INVALIDIDEMPOTENCYKEYEXCEPTION": KnownError(
        Bitrix24Error, "The portal does not take this idempotency key; take another one."
    ),
    _V3 + "INTERNAL_INTERNALEXCEPTION": _FAILED_INSIDE,
}

AUTHORIZATION_ERRORS: dict[str, KnownError] = {
    "INVALID_REQUEST": KnownError(AuthError, "The authorization server could not read the request."),
    "WRONG_CLIENT": KnownError(
        AuthError,
        "There is no application with this client_id: compare it with the application's card in Bitrix24.",
    ),
    "INVALID_CLIENT": KnownError(
        AuthError,
        "The client_secret is not that of this client_id, or the application is not installed in the portal: compare "
        "both with the application's card in Bitrix24.",
    ),
    "INVALID_GRANT": KnownError(
        AuthError,
        "The refresh token was used before, is older than 180 days, or is another application's. "
        + RECONNECT,
    ),
    "INVALID_SCOPE": KnownError(AuthError, "Add the missing permissions to the application's card."),
    "INSUFFICIENT_SCOPE": KnownError(AuthError, "Add the missing permissions to the application's card."),
    "NOT_INSTALLED": _NOT_INSTALLED,
    "PAYMENT_REQUIRED": _UNPAID,
}

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
PROCESS_ERRORS: dict[str, KnownError] = {
    "404": _PROCESS_ENDED,
    "499": _PROCESS_ENDED,
    "423": KnownError(
        ProcessLockedError, "The portal works on the process at this moment; try again in a moment."
    ),
}
_NO_PROCESS = "empty root activity"
"""How older portals say 404; they give no code."""


def system_error(
    code: str, description: str, status: int | None, method: str, portal: str, *, is_application: bool = False
) -> Bitrix24Error:
    """Turn an error object of a portal into the exception that stands for it.

    :param code: as text; ``refused`` when the portal gave none.
    :param is_application: whether an application has called, and no webhook.

    An unknown code is judged by its status: 401 is about authorization, 429 about limits, 5xx is the portal's fault.
    """
    key = code.upper()
    known = SYSTEM_ERRORS.get(key)
    to_process = facts_of(method).takes_event_token
    if status == 401 and key in _REFUSES_CREDENTIALS:
        known = _wrong_credentials(key, is_application=is_application)
    elif key == "ACCESS_DENIED":
        if _PLAN.search(description):
            known = _COMMERCIAL_PLANS
        elif "application context" in description.lower():
            known = KnownError(AuthError, _NEEDS_APPLICATION)
        elif to_process:
            known = _EVENT_TOKEN
    elif to_process and known is None:
        known = PROCESS_ERRORS.get(key)
        if known is None and _NO_PROCESS in description.lower():
            known = _PROCESS_ENDED
    if known is None:
        return _kind_by_status(status)(code, description, status, method, portal)
    text = f"{description.rstrip('.! ')}. {known.advice}" if description else known.advice
    return known.kind(code, text, status, method, portal)


def _wrong_credentials(key: str, *, is_application: bool) -> KnownError:
    if not is_application:
        return KnownError(AuthError, _WRONG_WEBHOOK)
    # REST 3.0 has no word of its own for a token that has expired.
    return SYSTEM_ERRORS["EXPIRED_TOKEN"] if key.startswith(_V3) else KnownError(AuthError, _WRONG_TOKEN)


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
