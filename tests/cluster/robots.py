"""Who calls what: the robots of ``dags/``, and what a process gets from each when nothing else goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DAGS = Path(__file__).parent / "dags"
NO_VERDICT = "no verdict"
"""What the robots' ``on_failure`` says."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A robot.

    :param code: its code, and the id of its DAG.
    :param share: how often it is called, in proportion to the others.
    :param succeeds: whether its DAG has an answer.
    :param awaited: whether the processes wait for it.
    :param limit: the time limit of the processes' step, in seconds, 0 for none.
    """

    code: str
    share: int
    succeeds: bool = True
    awaited: bool = True
    limit: int = 0


KINDS = (
    Kind("plain", 30),
    Kind("external", 20),
    Kind("deferred", 15),
    Kind("flaky", 10),
    Kind("chain", 10),
    Kind("failing", 5, succeeds=False),
    Kind("never", 5, succeeds=False, limit=100),
    Kind("unawaited", 5, awaited=False),
)
