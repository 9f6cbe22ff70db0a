"""The errors a portal answers with, as documented on https://apidocs.bitrix24.com/error-codes.html."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class RestError(Exception):
    """A call that the portal refuses.

    :param status: HTTP status.
    :param code: Bitrix24's error code; a few methods answer with an empty one, processes with a number.
    :param description: the text beside it.
    """

    def __init__(self, status: int, code: str | int, description: str) -> None:
        super().__init__(status, code, description)
        self.status = status
        self.code = code
        self.description = description

    def body(self) -> dict[str, Any]:
        """Return the answer's body."""
        return {"error": self.code, "error_description": self.description}


class Rest3Error(RestError):
    """A call of REST 3.0 that the portal refuses.

    :param name: the code without what all of them begin with.
    :param problems: what is wrong, by the name of the parameter.
    """

    def __init__(
        self, status: int, name: str, description: str, problems: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, f"BITRIX_REST_V3_EXCEPTION_{name}", description)
        self.problems = problems

    def body(self) -> dict[str, Any]:
        """Return the answer's body."""
        error: dict[str, Any] = {"code": self.code, "message": self.description}
        if self.problems:
            error["validation"] = [{"message": text, "field": field} for field, text in self.problems.items()]
        return {"error": error}


def invalid(problems: Mapping[str, str]) -> Rest3Error:
    """Return what REST 3.0 says to parameters that are missing or of another type."""
    name = "VALIDATION_REQUESTVALIDATIONEXCEPTION"
    return Rest3Error(400, name, "Error validating request object", problems)


def access_denied(description: str = "Access denied!", status: int = 403) -> RestError:
    """Return the refusal most methods share."""
    return RestError(status, "ACCESS_DENIED", description)


def process_not_found(*, older: bool) -> RestError:
    """Return what an answer to a process meets that is over.

    :param older: as portals said it before they gave codes.
    """
    return RestError(400, "", "Empty root activity") if older else RestError(400, 404, "Workflow not found")


def process_terminated() -> RestError:
    """Return what an answer to a process meets that was stopped."""
    return RestError(400, 499, "Workflow terminated")


def process_locked() -> RestError:
    """Return what an answer to a process meets that another request works on."""
    return RestError(400, 423, "Workflow locked")


def no_auth_found() -> RestError:
    """Return the answer to a call without authorization; as documented, to one with a wrong one, too."""
    return RestError(401, "NO_AUTH_FOUND", "Wrong authorization data")


def wrong_webhook() -> RestError:
    """Return the answer to a wrong webhook code."""
    return RestError(401, "INVALID_CREDENTIALS", "Invalid request credentials")


def wrong_token() -> RestError:
    """Return the answer to an access token that nobody has issued."""
    return RestError(401, "invalid_token", "Unable to get application by token")


def application_not_found() -> RestError:
    """Return the answer to an access token of an application that was removed."""
    return RestError(401, "APPLICATION_NOT_FOUND", "Application not found")


def insufficient_scope(status: int) -> RestError:
    """Return the answer to a method that the caller has no permission for.

    :param status: 401 of portals, 403 as documented.
    """
    text = "The request requires higher privileges than provided by the webhook token"
    return RestError(status, "insufficient_scope", text)


def https_required() -> RestError:
    """Return the answer to plain HTTP, where the portal wants HTTPS."""
    return RestError(400, "INVALID_REQUEST", "Https required")


def portal_deleted() -> RestError:
    """Return the answer of a portal that is closed."""
    return RestError(500, "PORTAL_DELETED", "Portal was deleted")


def method_not_found() -> RestError:
    """Return the answer to a method name nobody knows."""
    return RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")


def malformed(description: str) -> RestError:
    """Return the answer to a request that cannot be read."""
    return RestError(400, "INVALID_REQUEST", description)
