"""What the receiver says: an answer, or a refusal that tells the caller why and nothing else."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer.

    :param status: HTTP status.
    :param body: what is sent as JSON.
    """

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)


class RefusedError(Exception):
    """The request is not done.

    :param status: HTTP status.
    :param error: a word for programs.
    :param message: a sentence for people, without anything secret.
    """

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(status, error, message)
        self.status = status
        self.error = error
        self.message = message

    @property
    def body(self) -> dict[str, str]:
        """What is sent as JSON."""
        return {"error": self.error, "message": self.message}


def unavailable() -> RefusedError:
    """Say that Airflow's database does not answer."""
    return RefusedError(503, "unavailable", "Airflow's database is not available; try again later.")


def anonymous(error: BaseException) -> str:
    """Describe an error for the log by its kind and place.

    Never by its own text: SQLAlchemy puts statements and their parameters into it.
    """
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__)[-3:])}"
