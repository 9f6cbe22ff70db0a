"""What has happened to a call, in its order."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_b24._airflow.masking import masked

if TYPE_CHECKING:
    from airflow_provider_b24.calls.inspection import CallDetails

_TASK_STATES = {"success": "good", "failed": "bad", "upstream_failed": "bad", "skipped": "none"}


@dataclass(frozen=True, slots=True)
class Event:
    """One line.

    :param at: when, in UTC; a time to come says what is going to happen.
    :param what: in words.
    :param mood: ``good``, ``bad``, ``none``, or ``next`` for what is to come.
    """

    at: dt.datetime
    what: str
    detail: str = ""
    mood: str = "none"


def timeline(call: CallDetails) -> list[Event]:
    """Tell it."""
    report, run = call.report, call.run
    events = [Event(report.sent_at, "Sent by Bitrix24"), Event(report.received_at, "Received, and on record")]
    if run is not None:
        if run.queued_at is not None:
            events.append(Event(run.queued_at, "Run created"))
        if run.started_at is not None:
            events.append(Event(run.started_at, "Run started"))
        for task in run.tasks:
            name = task.task_id if task.map_index < 0 else f"{task.task_id} [{task.map_index}]"
            tries = f", try {task.tries}" if task.tries > 1 else ""
            if task.started_at is not None:
                events.append(Event(task.started_at, f"Task {name} started{tries}"))
            if task.ended_at is not None:
                events.append(
                    Event(
                        task.ended_at,
                        f"Task {name}: {task.state}",
                        mood=_TASK_STATES.get(task.state or "", "none"),
                    )
                )
        if run.ended_at is not None:
            events.append(
                Event(
                    run.ended_at, f"Run ended: {run.state}", mood="bad" if run.state == "failed" else "good"
                )
            )
    if call.maybe_sent_at is not None:
        by = who(call.maybe_sent_by)
        events.append(
            Event(call.maybe_sent_at, f"An answer was sent by {by}; whether it came is not known", mood="bad")
        )
    if report.answered_at is not None:
        events.append(Event(report.answered_at, f"Answered by {who(report.answered_by)}", mood="good"))
    if call.is_open:
        events += _to_come(call)
    return sorted(events, key=lambda event: event.at)


def _to_come(call: CallDetails) -> list[Event]:
    report = call.report
    events = []
    if call.next_attempt_at is not None:
        tried = f"{call.attempts} times tried: {masked(report.last_error or '')}" if call.attempts else ""
        events.append(Event(call.next_attempt_at, "The dispatcher sends the answer", tried, "next"))
    if report.answer_by is not None and report.answer_by != call.process_ends_at:
        events.append(Event(report.answer_by, "The dispatcher answers in the run's place", mood="next"))
    if call.process_ends_at is not None:
        events.append(Event(call.process_ends_at, "The process stops waiting by its own limit", mood="next"))
    return events


def who(answered_by: str | None) -> str:
    """Say who has answered."""
    if answered_by is None:
        return "nobody"
    if answered_by.startswith("hand:"):
        return answered_by.removeprefix("hand:") + ", by hand"
    return {"reply": "the run's task reply", "dispatcher": "the dispatcher"}.get(answered_by, answered_by)
