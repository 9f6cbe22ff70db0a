"""What the portal received, as far back as there is room."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

#: How many bytes of bodies are kept.
KEPT_BYTES = 32_000_000
# Of a response as much as a person reads.
_RESPONSE = 4_000


@dataclass(slots=True)
class Request:
    """A request the portal received.

    :param method: the REST method, `oauth.token` or `oauth.authorize`, empty if the path names none.
    :param verb: the HTTP method.
    :param parameters: as sent, secrets included, except for the access token.
    :param access_token: the access token, if one was sent.
    :param status: HTTP status answered, `None` while there is none.
    :param time: when it arrived, on the portal's clock.
    :param late: by how many real seconds the calls of a batch delayed the answer.
    :param reply_headers: what the answer's headers say, beside the usual.
    :param number: 1 for the portal's first request.
    :param size: bytes of the body.
    :param error: the error code in the answer, empty for none.
    :param response: the first bytes of the answer, if it is JSON.
    :param fault: the planned fault that has befallen it.
    :param seconds: real seconds until it was answered.
    """

    method: str
    verb: str
    path: str = field(repr=False)
    parameters: dict[str, Any] = field(repr=False)
    access_token: Any = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    time: float
    status: int | None = None
    late: float = 0.0
    reply_headers: dict[str, str] = field(default_factory=dict, repr=False)
    number: int = 0
    size: int = 0
    error: str = ""
    response: bytes = field(default=b"", repr=False)
    fault: str = ""
    seconds: float | None = None

    def keep_response(self, content: bytes) -> None:
        """Keep the beginning of the answer."""
        self.response = content[:_RESPONSE]


class Journal:
    """The last requests of a portal.

    :param most: how many are kept; fewer where their bodies are larger than :data:`KEPT_BYTES` together.
    :raises ValueError: when that is fewer than one.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"A portal keeps one request at least, not {most}")
        self._most = most
        self._requests: deque[Request] = deque()
        self._bytes = 0
        #: How many there have been.
        self.count = 0

    def add(self, request: Request) -> None:
        """Keep a request, and forget the oldest if there is no room for it."""
        self.count += 1
        request.number = self.count
        self._requests.append(request)
        self._bytes += request.size
        while len(self._requests) > self._most or (self._bytes > KEPT_BYTES and len(self._requests) > 1):
            self._bytes -= self._requests.popleft().size

    def all(self) -> list[Request]:
        """Return what is kept, in order."""
        return list(self._requests)

    def recent(self, most: int) -> list[Request]:
        """Return the last requests, in order."""
        first = max(0, len(self._requests) - most)
        return [self._requests[index] for index in range(first, len(self._requests))]

    def numbered(self, number: int) -> Request | None:
        """Return one request, `None` when it is not kept."""
        if not self._requests:
            return None
        index = number - self._requests[0].number
        return self._requests[index] if 0 <= index < len(self._requests) else None

    def forget(self) -> None:
        """Forget all that is kept."""
        self._requests.clear()
        self._bytes = 0
