"""What really happened at the portal, and whether the table of calls says the same."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from airflow_provider_b24.calls.table import run_id_of
from tests.cluster.robots import NO_VERDICT, Kind

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox import Process, SandboxPortal

OPEN = ("received", "running")
UNCERTAIN = ("may have come first", "may have arrived")


@dataclass(frozen=True)
class Called:
    """A process that has called a robot.

    :param number: what the robot was called with.
    """

    kind: Kind
    number: int
    process: Process

    @property
    def expected(self) -> str:
        return f"verdict {self.number}" if self.kind.succeeds else NO_VERDICT


@dataclass
class Books:
    """The record of the portal beside that of Airflow.

    Each list holds a line in words for every call with which something is wrong.

    :param states: how many calls ended how.
    :param seconds: from the post of a call to its process's going on, where that was the DAG's answer.
    :param degraded: what has got ``on_failure`` although its DAG had an answer.
    :param repeated: how many answers were sent again, and ignored by the portal.
    """

    processes: int = 0
    states: Counter[str] = field(default_factory=Counter)
    answered_by: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    unaccepted: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    contradictory: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    uncertain: int = 0
    repeated: int = 0

    @property
    def complaints(self) -> list[str]:
        """Everything that must not be; degraded answers are no lie and no loss."""
        return [
            f"{name}: {line}"
            for name in ("lost", "stuck", "wrong", "contradictory", "untrue")
            for line in getattr(self, name)
        ]

    def quantiles(self) -> tuple[float, float]:
        """Tell the median and the 95th percentile of :attr:`seconds`."""
        if len(self.seconds) < 2:
            return (0.0, 0.0)
        return statistics.median(self.seconds), statistics.quantiles(self.seconds, n=20)[-1]


def compare(
    called: Sequence[Called],
    portal: SandboxPortal,
    rows: Iterable[Mapping[str, Any]],
    runs: Mapping[str, str],
) -> Books:
    """Compare call by call.

    :param rows: of ``airflow-b24 calls --json``.
    :param runs: the states of DAG runs by their ids.
    """
    books = Books(processes=len(called))
    calls = {call.fields["workflow_id"]: call for call in portal.calls}
    listed = {row["run_id"]: row for row in rows}
    sent = _answers_sent(portal)
    accepted = {answer.process_id: answer for answer in portal.answers}
    for one in called:
        call = calls[one.process.id]
        row = listed.pop(run_id_of(call.fields["event_token"]), None)
        name = f"{one.kind.code} {one.number}"
        if call.status != 202:
            books.unaccepted.append(f"{name}: {call.status} {call.error}, {_shown(row)}")
        if row is None:
            books.lost.append(f"{name}: the call is not on record ({call.status} {call.error})")
            continue
        books.states[row["state"]] += 1
        if row["state"] in OPEN:
            books.stuck.append(f"{name}: {_shown(row)}")
            continue
        if runs.get(row["run_id"]) in ("queued", "running"):
            books.stuck.append(f"{name}: its run is {runs[row['run_id']]}, {_shown(row)}")
        if not one.kind.awaited:
            if row["state"] != "not-awaited" or call.fields["event_token"] in sent:
                books.untrue.append(f"{name}: nobody waits, and {_shown(row)}")
            continue
        books.answered_by[row["answered_by"]] += 1
        verdicts = sent.get(call.fields["event_token"], [])
        books.repeated += max(len(verdicts) - 1, 0)
        got = one.process.answers.get("Robot")
        if got is None:
            books.lost.append(f"{name}: the process still waits, {_shown(row)}")
            continue
        if "IsTimeout" in got:
            books.lost.append(f"{name}: Bitrix24 went on by itself, {_shown(row)}")
            continue
        _compare_answer(books, one, name, got.get("verdict"), verdicts, row)
        if got.get("verdict") == one.expected and one.kind.succeeds:
            books.seconds.append(accepted[one.process.id].time - one.process.started)
    books.untrue += [f"a row of nobody: {_shown(row)}" for row in listed.values()]
    return books


def _compare_answer(
    books: Books, one: Called, name: str, verdict: Any, verdicts: Sequence[str], row: Mapping[str, Any]
) -> None:
    if verdict not in (one.expected, NO_VERDICT):
        books.wrong.append(f"{name}: got {verdict!r}")
    if verdict != one.expected:
        books.degraded.append(f"{name}: {_shown(row)}")
    is_uncertain = any(words in (row["reason"] or "") for words in UNCERTAIN)
    books.uncertain += is_uncertain
    if len(set(verdicts)) > 1:
        books.contradictory.append(f"{name}: was sent {verdicts}, {_shown(row)}")
    state = "failure-answered" if verdict == NO_VERDICT else "answered"
    by = "dispatcher" if verdict == NO_VERDICT else "reply"
    if (row["state"], row["answered_by"]) != (state, by) and not is_uncertain:
        books.untrue.append(f"{name}: got {verdict!r}, and {_shown(row)}")


def _answers_sent(portal: SandboxPortal) -> dict[str, list[str]]:
    """Collect what was sent for each event token and taken by the portal, in order, whether or not it was ignored."""
    sent: dict[str, list[str]] = defaultdict(list)
    for request in portal.requests:
        if request.status != 200:
            continue
        if request.method == "bizproc.event.send":
            parameters = {str(name).lower(): value for name, value in request.parameters.items()}
            values = parameters.get("return_values") or {}
            sent[parameters["event_token"]].append(values.get("verdict", ""))
        elif request.method == "batch":
            commands = request.parameters.get("cmd") or {}
            for command in commands.values() if isinstance(commands, Mapping) else commands:
                method, _, query = command.partition("?")
                if method == "bizproc.event.send":
                    fields = {name.lower(): value[0] for name, value in parse_qs(query).items()}
                    sent[fields["event_token"]].append(fields.get("return_values[verdict]", ""))
    return sent


def _shown(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "no row"
    names = ("run_id", "state", "answered_by", "reason", "last_error")
    return ", ".join(f"{name} {row[name]}" for name in names if row.get(name))
