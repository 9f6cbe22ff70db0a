"""What the portal received."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
