"""What REST 3.0 answered to calls with an idempotency key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.errors import Rest3Error

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.clock import Clock

KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class _Kept:
    digest: str
    result: Any
    until: float


@dataclass(slots=True)
class KeptResults:
    """What was answered to calls with an idempotency key, for 24 hours of the portal's clock."""

    clock: Clock
    _results: dict[tuple[str, ...], _Kept] = field(default_factory=dict)

    def find(self, key: tuple[str, ...], body: bytes) -> Any:
        """Return the result of the call before, `None` when there is none.

        :raises RestError: `422` when its body was another one.
        """
        kept = self._results.get(key)
        if kept is None or kept.until <= self.clock.now():
            return None
        if kept.digest != hashlib.sha256(body).hexdigest():
            raise Rest3Error(
                422, "IDEMPOTENCYKEYREUSEDEXCEPTION", "The idempotency key was used with another request body"
            )
        return kept.result

    def keep(self, key: tuple[str, ...], body: bytes, result: Any) -> None:
        """Remember the result of a call."""
        digest = hashlib.sha256(body).hexdigest()
        self._results[key] = _Kept(digest, result, self.clock.now() + KEPT_SECONDS)
