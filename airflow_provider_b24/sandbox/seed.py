"""What a portal begins with: records, and robots of stages, from a JSON file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_b24.sandbox.steps import steps_from_json

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_b24.sandbox.core import PortalCore


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Automation(_Part):
    kind: str
    stage: str | None = None
    steps: Any


class _Trigger(_Part):
    code: str
    kind: str
    stage: str
    backwards: bool = False


class Seed(_Part):
    """What a portal begins with.

    :param records: by kind, themselves or how many to make up.
    :param automations: what :meth:`~airflow_provider_b24.sandbox.SandboxPortal.add_automation` takes.
    :param triggers: what :meth:`~airflow_provider_b24.sandbox.SandboxPortal.add_trigger` takes.
    """

    records: dict[str, Annotated[int, Field(ge=1, le=100_000)] | list[dict[str, Any]]] = {}
    automations: list[_Automation] = []
    triggers: list[_Trigger] = []

    @classmethod
    def read(cls, file: Path) -> Seed:
        """Read a file.

        :raises OSError: when it cannot be read.
        :raises ValueError: when it does not fit, with the reason.
        """
        try:
            return cls.model_validate_json(file.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{file}: {where + ': ' if where else ''}{first['msg']}") from None

    def sow(self, portal: PortalCore) -> None:
        """Store it in a portal.

        :raises ValueError: for a kind, a value or a step that there is not.
        """
        for kind, records in self.records.items():
            portal.add_records(kind, records)
        for automation in self.automations:
            portal.add_automation(automation.kind, automation.stage, steps_from_json(automation.steps))
        for trigger in self.triggers:
            portal.add_trigger(trigger.code, trigger.kind, trigger.stage, backwards=trigger.backwards)
