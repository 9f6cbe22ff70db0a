"""What the page of a robot's DAG says about it, made from its definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_provider_b24.robots.properties import Property, in_one_language

if TYPE_CHECKING:
    from airflow_provider_b24.robots.definition import RobotDefinition


def documentation_of(definition: RobotDefinition) -> str:
    """Write the documentation of a robot's DAG, in Markdown."""
    kind = "automation rule (robot)" if definition.kind == "robot" else "workflow action (activity)"
    parts = [
        f"# {in_one_language(definition.name)}",
        f"Bitrix24 starts this DAG: it is the {kind} `{definition.code}` of the Airflow connection "
        f"`{definition.bitrix24_conn_id}`.",
    ]
    if definition.description is not None:
        parts.append(in_one_language(definition.description))
    parts += ["## Inputs", _table(definition.properties), "## Answer", _table(definition.return_properties)]
    parts.append(_who_answers(definition))
    return "\n\n".join(parts)


def _who_answers(definition: RobotDefinition) -> str:
    if not definition.use_subscription:
        return "The process does not wait: the task `reply` only logs what the answer would be."
    values = ", ".join(f"`{key}` = `{value}`" for key, value in definition.on_failure.items()) or "no values"
    before = (
        "Bitrix24 goes on by itself when the process's time limit is over, and sets `IsTimeout`."
        if definition.margin(3600) is None
        else "It gets them, too, shortly before its time limit is over."
    )
    return (
        "The task `reply` answers the process with what the DAG returns. When it does not, because the run failed, "
        f"was marked or deleted, the dispatcher answers with {values}. {before}"
    )


def _table(properties: Mapping[str, Property]) -> str:
    if not properties:
        return "None."
    rows = ["| key | name | type | |", "| --- | --- | --- | --- |"]
    for key, prop in properties.items():
        words = [word for word, is_so in (("required", prop.required), ("multiple", prop.multiple)) if is_so]
        if prop.default is not None:
            words.append(f"default `{prop.default}`")
        if prop.options:
            words.append(f"one of {', '.join(f'`{option}`' for option in prop.options)}")
        if prop.description is not None:
            words.append(in_one_language(prop.description))
        cells = (f"`{key}`", in_one_language(prop.name), prop.type, "; ".join(words))
        rows.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
