"""The forms of the pages: what a browser posts, and the fields that an answer by hand is typed into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import Request  # noqa: TC002 - FastAPI resolves annotations here at run time

from airflow_provider_b24.receiver.answers import RefusedError
from airflow_provider_b24.receiver.bodies import Bodies
from airflow_provider_b24.robots.properties import in_one_language

if TYPE_CHECKING:
    from airflow_provider_b24.robots.definition import RobotDefinition

_MOST_FIELDS = 500
_VALUE = "value."
_bodies = Bodies(max_bytes=512 * 1024)


@dataclass(frozen=True, slots=True)
class PostedForm:
    """What a browser posted: each name with its texts."""

    fields: Mapping[str, list[str]] = field(repr=False)

    def all(self, name: str) -> list[str]:
        """Give the texts of a name."""
        return self.fields.get(name, [])

    def one(self, name: str) -> str:
        """Give the first text of a name, an empty one where there is none."""
        return next(iter(self.all(name)), "")

    def values(self, robot: RobotDefinition) -> dict[str, list[str]]:
        """Give what was typed for return properties; what was left empty and may be is left out."""
        typed: dict[str, list[str]] = {}
        for key, prop in robot.return_properties.items():
            text = self.one(_VALUE + key).replace("\r\n", "\n")
            texts = [line for line in text.split("\n") if line.strip()] if prop.multiple else [text]
            if any(texts) or prop.required:
                typed[key] = texts or [""]
        return typed


async def posted_form(request: Request) -> PostedForm:
    """Read the form of a request.

    :raises RefusedError: when it is too long, or no form.
    """
    async with _bodies.reading(request) as body:
        try:
            fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise RefusedError(400, "malformed", "What was posted is no form of these pages.") from None
    return PostedForm(fields)


@dataclass(frozen=True, slots=True)
class AnswerField:
    """A field for a return property.

    :param kind: ``choice``, ``lines`` for several values, ``text``, or the type of an input.
    :param text: what is in it.
    """

    name: str
    key: str
    title: str
    description: str
    kind: str
    required: bool
    hint: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


_HINTS = {
    "date": "2026-12-25",
    "datetime": "2026-12-25T10:00:00+01:00",
    "double": "7.5",
    "int": "7",
    "user": "user_14",
    "file": "https://…",
}


def answer_fields(robot: RobotDefinition, form: PostedForm | None = None) -> list[AnswerField]:
    """Make the fields for an answer of a robot.

    :param form: what was typed into them before.
    """
    fields = []
    for key, prop in robot.return_properties.items():
        choices = dict(prop.options or {})
        if prop.type == "bool":
            choices = {"Y": "Yes", "N": "No"}
        kind = (
            "lines" if prop.multiple else "choice" if choices else "text" if prop.type == "text" else "line"
        )
        fields.append(
            AnswerField(
                name=_VALUE + key,
                key=key,
                title=in_one_language(prop.name),
                description="" if prop.description is None else in_one_language(prop.description),
                kind=kind,
                required=prop.required,
                hint=_HINTS.get(prop.type, ""),
                choices=choices,
                text=form.one(_VALUE + key) if form is not None else "",
            )
        )
    return fields
