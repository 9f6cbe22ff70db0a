"""A finding: what one check has found, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ok", "warning", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    :param check: name of the check.
    :param verdict: ``failed`` keeps robots from working; ``warning`` may; ``unknown`` could not be checked.
    :param what: a sentence.
    :param advice: what to do, empty when there is nothing to do.
    """

    check: str
    verdict: Verdict
    what: str
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-safe form."""
        return asdict(self)
