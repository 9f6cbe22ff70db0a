"""The portal's state as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.method import Portal
    from airflow_provider_b24.sandbox.processes import Process

# The page is for looking, not for archives.
_LAST = 100


def describe(portal: Portal) -> dict[str, Any]:
    """Return what is going on, for a person at a terminal: the last 100 entries of each list.

    The credentials a person needs to connect are in it; event tokens and what the portal sent are not.
    """
    with portal.changed:
        return {
            "url": portal.url,
            "member_id": portal.member_id,
            "tariff": portal.tariff,
            "now": portal.clock.now(),
            "webhook": portal.webhook.url,
            "application": {
                "client_id": portal.application.client_id,
                "client_secret": portal.application.client_secret,
                "application_token": portal.application.application_token,
                "access_token": portal.application.access_token,
                "refresh_token": portal.application.refresh_token,
            },
            "oauth_server": portal.url,
            "robots": [
                {"kind": r.kind, "client_id": r.client_id, "code": r.code, "handler": r.handler}
                for r in portal.robots
            ],
            "processes": [describe_process(p) for p in list(portal.processes.values())[-_LAST:]],
            "calls": [
                {"url": c.url, "code": c.fields.get("code"), "status": c.status, "error": c.error}
                for c in portal.calls[-_LAST:]
            ],
            "answers": [
                {
                    "process_id": a.process_id,
                    "activity": a.activity,
                    "values": a.values,
                    "count": a.count,
                    "refused": a.refused,
                    "ignored": a.ignored,
                }
                for a in portal.answers[-_LAST:]
            ],
            "requests": [
                {"verb": r.verb, "method": r.method, "status": r.status, "time": r.time}
                for r in portal.requests[-_LAST:]
            ],
        }


def describe_process(process: Process) -> dict[str, Any]:
    """Return one process."""
    return {
        "id": process.id,
        "status": process.status,
        "document_id": list(process.document_id),
        "values": dict(process.values),
        "answers": {activity: dict(values) for activity, values in process.answers.items()},
        "waiting_at": process.waiting.activity if process.waiting else None,
        "problems": list(process.problems),
        "log": [{"time": entry.time, "message": entry.message} for entry in process.log],
    }
