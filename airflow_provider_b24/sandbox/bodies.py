"""What the control API takes: one model for each body, and what is said of a body that does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_b24.sandbox.faults import (
    AnswerHtml,
    AnswerStatus,
    Delay,
    DropConnection,
    Fault,
    TruncateJson,
)

#: Ten years: longer than any patience of a portal.
_LONGEST = 315_360_000.0


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class NewProcess(_Body):
    """A process to start; see :func:`~airflow_provider_b24.sandbox.steps.steps_from_json`."""

    steps: Any
    document_id: Annotated[list[str], Field(min_length=3, max_length=3)] = [
        "crm",
        "CCrmDocumentLead",
        "LEAD_77",
    ]
    values: dict[str, Any] = {}


class Decision(_Body):
    """What someone decides about a task."""

    status: Literal["yes", "no", "ok", "cancel"]
    comment: str = ""
    fields: dict[str, Any] = {}


class Move(_Body):
    """How far the clock goes on, in seconds."""

    advance: Annotated[float, Field(ge=0, le=_LONGEST, allow_inf_nan=False)]


class Settings(_Body):
    """Switches of the portal; what is not named stays."""

    limits: bool | None = None
    closed: bool | None = None
    https_required: bool | None = None


class Event(_Body):
    """An event to happen."""

    event: Annotated[str, Field(min_length=1)]
    data: dict[str, Any] = {}


class NewRecords(_Body):
    """Records to store without events and automation: themselves, or how many."""

    records: Annotated[int, Field(ge=1, le=100_000)] | list[dict[str, Any]]


class RecordChange(_Body):
    """Fields of a record to change, as a caller would."""

    fields: Annotated[dict[str, Any], Field(min_length=1)]


class _NewFault(_Body):
    method: str | None = None
    times: Annotated[int, Field(ge=1)] | None = 1
    about: str | None = None


class _Delay(_NewFault):
    type: Literal["delay"]
    seconds: Annotated[float, Field(gt=0, le=600)]
    after_work: bool = False


class _Drop(_NewFault):
    type: Literal["drop"]
    after_work: bool = False


class _Html(_NewFault):
    type: Literal["html"]
    status: Annotated[int, Field(ge=200, le=599)] = 503


class _Status(_NewFault):
    type: Literal["status"]
    status: Annotated[int, Field(ge=200, le=599)] = 500
    code: str | int = "INTERNAL_SERVER_ERROR"
    description: str = "Internal server error"


class _Truncate(_NewFault):
    type: Literal["truncate"]


NewFault = Annotated[_Delay | _Drop | _Html | _Status | _Truncate, Field(discriminator="type")]
_FAULTS: dict[str, type[Fault]] = {
    "delay": Delay,
    "drop": DropConnection,
    "html": AnswerHtml,
    "status": AnswerStatus,
    "truncate": TruncateJson,
}


def fault_of(body: NewFault) -> Fault:
    """Return the fault that a body describes."""
    return _FAULTS[body.type](**body.model_dump(exclude={"type", "method", "times", "about"}))


def complaint(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return in one line why a request to the control API is not understood."""
    parts = []
    for error in errors:
        where = ".".join(str(part) for part in error["loc"][1:])
        if error["type"] == "json_invalid":
            return "The body must be JSON"
        if not where and not error["type"].startswith("union_tag"):
            return "The body must be a JSON object, sent as application/json"
        parts.append(f"{where}: {error['msg']}".removeprefix(": "))
    return "; ".join(parts)
