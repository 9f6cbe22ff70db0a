"""What happens in a portal, a line each, for a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_b24.sandbox.journal import Request
from airflow_provider_b24.sandbox.processes import AcceptedAnswer
from airflow_provider_b24.sandbox.redaction import redact

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.core import Happening


def line_of(happening: Happening) -> str:
    """Return one line about a request that was answered, a call that has an outcome, or an accepted answer.

    No secrets are in it, and values of answers are cut at 100 characters each.
    """
    if isinstance(happening, Request):
        what = f"{happening.verb} {happening.method or redact(happening.path)}"
        outcome = str(happening.status or "no answer")
        fault = f"fault: {happening.fault}" if happening.fault else ""
        return _line(what, outcome, happening.seconds, " ".join(filter(None, (happening.error, fault))))
    if isinstance(happening, AcceptedAnswer):
        said = ", ".join(f"{name}={repr(value)[:100]}" for name, value in happening.values.items())
        text = f"process {happening.process_id}, {happening.by or 'someone'}: {said or 'no declared values'}"
        return _line(f"<- answer of {happening.activity}", "taken", happening.after, text)
    name = happening.fields.get("code") or happening.fields.get("event") or ""
    process = happening.fields.get("workflow_id")
    detail = f"{redact(happening.url)}{f', process {process}' if process else ''}"
    if happening.error is not None:
        detail = f"{happening.error}: {detail}"
    return _line(f"-> {happening.kind} {name}", str(happening.status or "failed"), happening.seconds, detail)


def _line(what: str, outcome: str, seconds: float | None, detail: str) -> str:
    took = "" if seconds is None else f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
    now = datetime.now().astimezone()
    # A handler's error or an error code may be of several lines; a line stays one.
    text = f"{now:%H:%M:%S}  {what:<36} {outcome:>9} {took:>8}  {detail}".rstrip()
    return " ".join(text.splitlines())
