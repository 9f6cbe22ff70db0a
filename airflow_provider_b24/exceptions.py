"""What a call to Bitrix24 can fail with: one family, each member knows whether repeating makes sense."""

from __future__ import annotations


class Bitrix24Error(Exception):
    """A call that the portal refused, or that never got a usable answer.

    :param code: Bitrix24's error code (``ACCESS_DENIED``), or this package's own in lower case words.
    :param description: what happened and what to do next, for a person.
    :param status: HTTP status of the answer, ``None`` when there was none.
    :param method: the REST method that was called.
    :param portal: host of the portal that was called.

    ``retryable`` says whether the same call may be made again, and may then succeed; ``ambiguous`` whether the
    portal may have carried the call out although no good answer arrived.
    """

    retryable: bool = False
    ambiguous: bool = False

    def __init__(
        self,
        code: str,
        description: str = "",
        status: int | None = None,
        method: str = "",
        portal: str = "",
    ) -> None:
        super().__init__(code, description, status, method, portal)
        self.code = code
        self.description = description
        self.status = status
        self.method = method
        self.portal = portal

    def __str__(self) -> str:
        place = " at ".join(part for part in (self.method, self.portal) if part)
        status = f" (HTTP {self.status})" if self.status is not None else ""
        text = f"{self.code}{status}: {self.description}" if self.description else f"{self.code}{status}"
        return f"{place}: {text}" if place else text


class TransportError(Bitrix24Error):
    """No usable answer: the portal is down, the connection broke, or what came back was not REST.

    :param ambiguous: ``True`` when the portal may have done the work all the same.
    """

    retryable = True

    def __init__(
        self,
        code: str,
        description: str = "",
        status: int | None = None,
        method: str = "",
        portal: str = "",
        *,
        ambiguous: bool = False,
    ) -> None:
        super().__init__(code, description, status, method, portal)
        self.ambiguous = ambiguous


class AuthError(Bitrix24Error):
    """The portal or the authorization server does not accept the credentials."""


class ExpiredTokenError(AuthError):
    """The access token has expired; a refresh makes the call possible again."""

    retryable = True


class EventTokenError(Bitrix24Error):
    """The portal does not accept the event token (``403 ACCESS_DENIED`` of ``bizproc.event.send``).

    Its signature is wrong. By the documentation the same is said of a token that has expired or was used before.
    """


class ProcessEndedError(EventTokenError):
    """The process that waited is over: it was completed, terminated or deleted, and nobody waits for the answer.

    The portal says so with the code 404 or 499, or with no code and "Empty root activity".
    """


class ProcessLockedError(Bitrix24Error):
    """The portal works on the process at this moment (code 423); nothing was delivered, and it can be in a moment."""

    retryable = True


class RateLimitError(Bitrix24Error):
    """Too many requests at once (``QUERY_LIMIT_EXCEEDED``); the portal accepts more in a moment.

    :param retry_after: seconds until a request may be sent, ``None`` if unknown. Set when waiting for a free
        place would have taken longer than the caller's deadline allows.
    """

    retryable = True

    def __init__(
        self,
        code: str,
        description: str = "",
        status: int | None = None,
        method: str = "",
        portal: str = "",
        *,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, description, status, method, portal)
        self.retry_after = retry_after


class OperationTimeLimitError(Bitrix24Error):
    """The method has used up its execution time (``OPERATION_TIME_LIMIT``).

    :param reset_at: Unix time in seconds at which the method is open again, ``None`` if unknown.
    :param retry_after: seconds until then, ``None`` if unknown.
    """

    retryable = True

    def __init__(
        self,
        code: str,
        description: str = "",
        status: int | None = None,
        method: str = "",
        portal: str = "",
        *,
        reset_at: float | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, description, status, method, portal)
        self.reset_at = reset_at
        self.retry_after = retry_after


class PortalBlockedError(Bitrix24Error):
    """The portal is blocked, deleted, or its plan has no REST; a person must act."""


class ServerError(Bitrix24Error):
    """The portal failed inside (HTTP 500), perhaps after the work was done; repeating may help where it is safe."""

    retryable = True
    ambiguous = True


class BatchError(Bitrix24Error):
    """The batch as a whole was refused and none of its calls was done; or one was not made because another failed."""


class ConnectionConfigError(Bitrix24Error):
    """The Airflow connection cannot be used as it is; nothing was sent.

    ``description`` says which connection, what is wrong with it, and what it should be.
    """

    def __str__(self) -> str:
        return self.description


class InstallationRefusedError(Bitrix24Error):
    """An installation that was offered is not taken over; what was stored before stays as it is.

    ``code`` is one of ``not_an_application``, ``not_granted``, ``not_administrator``, ``would_replace_administrator``,
    ``other_portal``, ``wrong_application_token``, ``unknown_application_token``, ``still_installed``, ``no_tokens``,
    ``not_verified``.
    """

    def __str__(self) -> str:
        return self.description
