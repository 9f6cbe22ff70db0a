"""The portal's state as JSON, for a page, a terminal, or a test in another language."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.limits import OPERATING_LIMIT
from airflow_provider_b24.sandbox.records import filters
from airflow_provider_b24.sandbox.records.directories import stage_directory
from airflow_provider_b24.sandbox.redaction import redact, shown
from airflow_provider_b24.sandbox.steps import TASK_STATUSES

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.faults import PlannedFault
    from airflow_provider_b24.sandbox.journal import Request
    from airflow_provider_b24.sandbox.method import Portal
    from airflow_provider_b24.sandbox.processes import Moment, Process, Waiting
    from airflow_provider_b24.sandbox.queue_server import Call
    from airflow_provider_b24.sandbox.robots import Robot
    from airflow_provider_b24.sandbox.tasks import Task

# The state is for looking, not for archives.
_LAST = 100
_BODY = 20_000
_TASK_STATUSES = {0: "in progress", 1: "approved", 2: "rejected", 3: "completed", 4: "cancelled"}
_DECISIONS = {1: "yes", 2: "no", 3: "ok", 4: "cancel"}


def describe(portal: Portal) -> dict[str, Any]:
    """Return what is going on: the last 100 entries of each list.

    The credentials a person needs to connect are in it; event tokens and what was sent are not.
    """
    with portal.changed:
        return {
            "url": portal.url,
            "member_id": portal.member_id,
            "tariff": portal.tariff,
            "now": portal.clock.now(),
            # How many seconds the clock is ahead of the real one.
            "ahead": None if portal.clock.frozen else round(portal.clock.now() - time.time(), 2),
            "webhook": portal.webhook.url,
            "application": {
                "client_id": portal.application.client_id,
                "client_secret": portal.application.client_secret,
                "application_token": portal.application.application_token,
                "access_token": portal.application.access_token,
                "refresh_token": portal.application.refresh_token,
            },
            "oauth_server": portal.url,
            "settings": {
                "limits": portal.limits,
                "closed": portal.closed,
                "https_required": portal.https_required,
                "clock_frozen": portal.clock.frozen,
            },
            "limits": _limits(portal),
            "faults": [describe_fault(planned) for planned in portal.faults.planned()],
            "records": [
                {
                    "kind": kind,
                    "count": len(table),
                    "changes": table.changes,
                    "staged": bool(table.schema.stage),
                }
                for kind, table in ((kind, portal.store.table(kind)) for kind in portal.store.kinds())
                if table.schema.entity_type_id or kind in ("task", "user", "department", "notification")
            ],
            "robots": [_robot(robot) for robot in portal.robots],
            "tasks": [describe_task(portal, task) for task in portal.tasks[-_LAST:]],
            "processes": [describe_process(portal, p) for p in list(portal.processes.values())[-_LAST:]],
            "calls": [describe_call(call) for call in portal.queue_server.recent(_LAST)],
            "answers": [
                {
                    "process_id": a.process_id,
                    "activity": a.activity,
                    "values": a.values,
                    "time": a.time,
                    "by": a.by,
                    "after": a.after,
                    "count": a.count,
                    "refused": a.refused,
                    "ignored": a.ignored,
                }
                for a in portal.answers[-_LAST:]
            ],
            "request_count": portal.journal.count,
            "requests": [describe_request(request) for request in portal.journal.recent(_LAST)],
        }


def describe_process(portal: Portal, process: Process) -> dict[str, Any]:
    """Return one process with its timeline, and what it waits for and why."""
    return {
        "id": process.id,
        "status": process.status,
        "state": process.state,
        "document_id": list(process.document_id),
        "document_name": portal.engine.document_name(process),
        "started": process.started,
        "modified": process.modified,
        "values": dict(process.values),
        "answers": {activity: dict(values) for activity, values in process.answers.items()},
        "waiting_at": process.waiting.activity if process.waiting else None,
        "waiting": _waiting(portal, process, process.waiting) if process.waiting else None,
        "problems": list(process.problems),
        "log": [{"time": entry.time, "message": entry.message} for entry in process.log],
        "timeline": [_moment(moment) for moment in process.history],
    }


def describe_call(call: Call, *, whole: bool = False) -> dict[str, Any]:
    """Return a request to a handler.

    :param whole: with what was sent and what the handler said, without secrets.
    """
    described = {
        "number": call.number,
        "kind": call.kind,
        "time": call.time,
        "url": redact(call.url),
        "code": call.fields.get("code") or call.fields.get("event"),
        "process_id": call.fields.get("workflow_id"),
        "status": call.status,
        "error": call.error,
        "seconds": call.seconds,
    }
    if whole:
        described |= {"body": shown(call.fields)[:_BODY], "response": redact(call.answer[:_BODY])}
    return described


def describe_request(request: Request, *, whole: bool = False) -> dict[str, Any]:
    """Return a request that the portal has received.

    :param whole: with its parameters and the beginning of the answer, without secrets.
    """
    described = {
        "number": request.number,
        "verb": request.verb,
        "method": request.method,
        "status": request.status,
        "error": request.error,
        "fault": request.fault,
        "time": request.time,
        "seconds": request.seconds,
    }
    if whole:
        # An authorization code is a secret, a robot's code is none.
        hidden = {"code": "…"} if request.method.startswith("oauth.") and "code" in request.parameters else {}
        described |= {
            "path": redact(request.path.partition("?")[0]),
            "body": shown(request.parameters | hidden)[:_BODY],
            "response": redact(_readable(request.response)),
        }
    return described


def describe_task(portal: Portal, task: Task) -> dict[str, Any]:
    """Return what someone is asked."""
    user = portal.callers.users.get(task.user_id)
    return {
        "id": task.id,
        "title": task.step.title,
        "description": task.step.description,
        "user_id": task.user_id,
        "user": f"{user.name} {user.last_name}" if user else f"user {task.user_id}",
        "process_id": task.process.id,
        "activity": task.activity,
        "created": task.created,
        "status": _TASK_STATUSES[task.status],
        "decisions": [
            _DECISIONS[status] for status in sorted(TASK_STATUSES[task.step.activity]) if not task.status
        ],
        "fields": [
            {
                "id": declared["Id"],
                "name": declared.get("Name") or declared["Id"],
                "required": bool(declared.get("Required")),
            }
            for declared in task.step.fields
        ],
    }


def describe_fault(planned: PlannedFault) -> dict[str, Any]:
    """Return what is going to go wrong."""
    details = dataclasses.asdict(planned.fault)
    details.pop("body", None)
    return {
        "fault": type(planned.fault).__name__,
        "details": details,
        "method": planned.method,
        "times": planned.left,
        "about": planned.about,
    }


def describe_board(portal: Portal, kind: str) -> dict[str, Any]:
    """Return the records of a kind by their stages: of each stage the newest 50, and how many there are.

    :raises ValueError: when there are no such records, or they have no stages.
    """
    with portal.changed:
        table = portal.store.table(kind)
        stage = table.schema.stage
        if not stage:
            raise ValueError(f"Records of kind {kind} have no stages")
        directory = portal.store.table("status")
        numbers = directory.all(
            filters.CRM, filter_by={"=ENTITY_ID": stage_directory(kind)}, order={"SORT": "ASC"}
        )
        columns = []
        for entry in map(directory.row, numbers):
            rows, total, _ = table.page(
                filters.ITEM,
                filter_by={"=stageId": entry["STATUS_ID"]},
                order={"id": "DESC"},
            )
            cards = [
                {
                    "id": row["ID"],
                    "title": row.get("TITLE") or f"{kind} {row['ID']}",
                    "sum": row.get("OPPORTUNITY"),
                }
                for row in rows
            ]
            columns.append(
                {"stage": entry["STATUS_ID"], "name": entry["NAME"], "total": total, "cards": cards}
            )
        return {"kind": kind, "changes": table.changes, "columns": columns}


def _limits(portal: Portal) -> dict[str, Any]:
    names = {f"webhook {code}": f"webhook of user {user_id}" for user_id, code in portal.callers.webhooks}
    return {
        "in_force": portal.limits,
        "requests": [
            {"source": source, "level": portal.buckets.level(source), "limit": portal.buckets.threshold}
            for source in portal.buckets.levels()
        ],
        "leak_per_second": portal.buckets.rate,
        "operating": [
            {
                "caller": names.get(caller, f"application {caller}"),
                "method": method,
                "seconds": round(seconds, 1),
                "limit": OPERATING_LIMIT,
            }
            for (caller, method), seconds in portal.operating.used().items()
        ],
    }


def _robot(robot: Robot) -> dict[str, Any]:
    return {
        "kind": robot.kind,
        "client_id": robot.client_id,
        "code": robot.code,
        "name": _text(robot.fields.get("NAME")) or robot.code,
        "handler": robot.handler,
        "use_subscription": robot.use_subscription,
        "properties": [_property(name, declared) for name, declared in robot.properties.items()],
        "return_properties": [
            _property(name, declared) for name, declared in robot.return_properties.items()
        ],
    }


def _property(name: str, declared: dict[str, Any]) -> dict[str, Any]:
    said = {str(key).upper(): value for key, value in declared.items()}
    options = said.get("OPTIONS")
    if isinstance(options, list):
        options = {str(option): option for option in options}
    return {
        "id": name,
        "name": _text(said.get("NAME")) or name,
        "description": _text(said.get("DESCRIPTION")),
        "type": str(said.get("TYPE") or "string"),
        "required": _yes(said.get("REQUIRED")),
        "multiple": _yes(said.get("MULTIPLE")),
        "default": said.get("DEFAULT"),
        "options": {str(key): _text(value) for key, value in (options or {}).items()},
    }


def _text(value: object) -> str:
    # Names may be given in several languages.
    if isinstance(value, dict):
        value = value.get("en") or next(iter(value.values()), "")
    return str(value or "")


def _yes(value: object) -> bool:
    return str(value).lower() in ("y", "1", "true")


def _moment(moment: Moment) -> dict[str, Any]:
    described: dict[str, Any] = {
        "time": moment.time,
        "what": moment.what,
        "text": moment.text,
        "activity": moment.activity,
    }
    if moment.call is not None:
        call = moment.call
        described["call"] = call.number
        described["outcome"] = _outcome(call)
        described["refused"] = call.refused
    return described


def _outcome(call: Call) -> str:
    if call.error is not None:
        return f"the handler could not be called: {call.error}"
    if call.status is None:
        return "the handler has not answered yet"
    return f"the handler answered {call.status} after {(call.seconds or 0) * 1000:,.0f} ms"


def _waiting(portal: Portal, process: Process, waiting: Waiting) -> dict[str, Any]:
    if waiting.token is None:
        # The newest first: a process that waits is one of the last, as a rule.
        task = next(
            (
                t
                for t in reversed(portal.task_list.all())
                if t.process is process and t.activity == waiting.activity and not t.status
            ),
            None,
        )
        described = describe_task(portal, task) if task else {}
        lost = False
        on, why = described.get("user", "a person"), f"the task “{described.get('title', '')}” is open"
    else:
        robot, call = waiting.robot, waiting.call
        lost = call is not None and call.refused
        on = f"the {robot.kind} {robot.code}" if robot else "an answer"
        if call is None or call.status is None or lost:
            why = _outcome(call) if call else ""
        else:
            why = f"the handler has taken the call ({call.status}), bizproc.event.send has not come yet"
        if lost:
            why += "; Bitrix24 does not call again, so nobody is going to answer"
    if process.locked_until > portal.clock.now():
        why += "; the process is locked, answers are refused with 423"
    return {
        "for": on,
        "why": why,
        "lost": lost,
        "activity": waiting.activity,
        "since": waiting.since,
        "until": waiting.until,
    }


def _readable(response: bytes) -> str:
    text = response.decode("ascii", "replace")
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:  # only its beginning is kept
        return text
