"""A request to `/rest/`, read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.errors import RestError


@dataclass(slots=True)
class Received:
    """A request to `/rest/`, read.

    :param problem: why it cannot be answered, if it could not be read.
    :param late: by how many real seconds the calls inside delay the answer.
    :param is_rest3: whether it is for REST 3.0.
    :param idempotency_key: what the header of this name says.
    :param reply_headers: what the answer's headers say.
    """

    method: str
    parameters: dict[str, Any] = field(default_factory=dict)
    webhook: tuple[int, str] | None = None
    access_token: Any = None
    problem: RestError | None = None
    late: float = 0.0
    is_rest3: bool = False
    idempotency_key: str | None = None
    body: bytes = field(default=b"", repr=False)
    reply_headers: dict[str, str] = field(default_factory=dict)
