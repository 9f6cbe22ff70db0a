"""What a conversation asks its driver to do, and what the driver tells it: the border between policy and I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from airflow_provider_b24.rest.credentials import Tokens


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Its URL, body and so on may hold secrets: none of them shows in ``repr``.

    :param verb: ``GET`` or ``POST``.
    :param timeout: seconds to wait for the connection, and again for each part of the response.
    """

    verb: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    timeout: float


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response, whatever its status. Redirects are responses, too.

    :param headers: looked up without regard to case.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class TransportFailure(Enum):
    """How a request can fail without a response."""

    REFUSED = "no connection"
    """Nothing was sent: refused, unknown host, timeout before the connection stood."""
    UNTRUSTED = "certificate not trusted"
    """Nothing was sent, and trying again would not help."""
    TIMEOUT = "no response in time"
    """The request was sent, or part of it; the portal may have done the work."""
    BROKEN = "connection broken"
    """The request was sent, or part of it; the portal may have done the work."""


@dataclass(frozen=True, slots=True)
class NoResponse:
    """A request that ended without a response.

    :param reason: the kind of error, for the reader; never the text of a library's exception, which holds URLs.
    """

    failure: TransportFailure
    reason: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; be sent a :class:`Response` or a :class:`NoResponse`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Receive:
    """Send a request, and write the body of its response bit by bit if the status is 200.

    Be sent a :class:`Response`, whose body is empty then, or a :class:`NoResponse`.
    """

    request: Request
    write: Callable[[bytes], Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Consult:
    """Do what may have to ask another machine for a moment; be sent the result."""

    work: Callable[[], Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoadTokens:
    """Read the token store; be sent :class:`Tokens`, ``None``, or a :class:`StoreFailed`."""


@dataclass(frozen=True, slots=True)
class StoreTokens:
    """Write the token store; be sent ``None`` or a :class:`StoreFailed`."""

    tokens: Tokens


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The token store, or the place where credentials are looked up, raised an exception.

    :param reason: its kind, for the reader; its text may hold secrets.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class LoadCredentials:
    """Look up whom to call as.

    Be sent :class:`Credentials`, ``None`` where there is no place to look, or a :class:`StoreFailed`.
    """


@dataclass(frozen=True, slots=True)
class Together:
    """Hold several conversations at the same time; be sent their results in order."""

    conversations: Sequence[Conversation[Any]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Whole:
    """Hold a conversation to its end, also when whoever waits for it is interrupted meanwhile; be sent its result.

    What interrupts takes effect afterwards. The conversation takes a bounded time, and raises nothing.
    """

    conversation: Conversation[Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Hand these records of a list to the caller."""

    records: list[Any] = field(repr=False)


CHUNK = 65_536
"""Bytes that are read and written at a time."""
_Result = TypeVar("_Result")
Action: TypeAlias = (
    Send | Receive | Sleep | Consult | LoadTokens | StoreTokens | LoadCredentials | Together | Whole | Page
)
Conversation: TypeAlias = Generator[Action, Any, _Result]
