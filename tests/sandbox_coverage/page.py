"""The page `docs/sandbox-coverage.md`: counts, and what is left, method by method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .accidents import ACCIDENTS
from .examples_section import section
from .facts import Facts, known_methods, load
from .session import Seen, watch

PAGE = Path(__file__).parents[2] / "docs" / "sandbox-coverage.md"
_SHOWN = 8
_INTRODUCTION = (
    "Made by `python -m tests.sandbox_coverage`; a test compares it with what the portal does. What is documented was"
    " read from the machine-readable specifications in the"
    " [documentation's repository](https://github.com/bitrix-tools/b24-rest-docs): names of parameters, and of fields"
    " in the examples of answers. They are parsed from prose, so what is missing here is a place to look, not always a"
    " fault."
)


class Row(NamedTuple):
    """One method the sandbox portal has and the documentation tells of."""

    method: str
    params: int
    params_missing: list[str]
    answer: int
    answer_missing: list[str]


def rows() -> list[Row]:
    """Compare what was seen with what is documented."""
    seen = watch()
    return [
        _row(name, facts, seen[name.lower()])
        for name, facts in load().items()
        if name.lower() in known_methods()
    ]


def _row(name: str, facts: Facts, seen: Seen) -> Row:
    known = [param for param in facts.params if "*" in seen.read or param.upper() in seen.read]
    there = [path for path in facts.answer if path in seen.answer]
    return Row(
        name,
        len(facts.params),
        [param for param in facts.params if param not in known],
        len(facts.answer),
        [path for path in facts.answer if path not in there],
    )


def text() -> str:
    """Return the page."""
    facts = load()
    found = rows()
    have = {row.method for row in found}
    params, missing_params = sum(row.params for row in found), sum(len(row.params_missing) for row in found)
    answer, missing_answer = sum(row.answer for row in found), sum(len(row.answer_missing) for row in found)
    documented = {name.lower() for name in facts}
    own = sorted(name for lower, name in known_methods().items() if lower not in documented)
    return f"""# What the sandbox portal has

{_INTRODUCTION}

| | documented | the sandbox portal has |
| --- | --- | --- |
| methods | {len(facts)} | {len(have)} |
| parameters of these methods | {params} | {params - missing_params} |
| fields of their answers | {answer} | {answer - missing_answer} |

It has {len(own)} more, which have no specification: {_listed(own, 99)}.

{section()}
## Methods

| Method | Parameters | Not read | Fields of the answer | Not answered |
| --- | --- | --- | --- | --- |
{_table(found)}

## What is not counted

| Method | Parameter or field | Why |
| --- | --- | --- |
{_accidents()}
{_left(set(facts) - have)}"""


def _table(found: Iterable[Row]) -> str:
    return "\n".join(
        f"| `{row.method}` | {row.params - len(row.params_missing)} of {row.params} | {_listed(row.params_missing)} "
        f"| {row.answer - len(row.answer_missing)} of {row.answer} | {_listed(row.answer_missing)} |"
        for row in found
    )


def _accidents() -> str:
    return "\n".join(
        f"| {_listed(list(accident.methods))} | `{accident.name}` | {accident.reason} |"
        for accident in ACCIDENTS
    )


def _listed(names: list[str], shown: int = _SHOWN) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(f"`{name}`" for name in names[:shown]) + more


def _left(names: Iterable[str]) -> str:
    families: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        families[".".join(name.split(".")[:2])].append(name)
    lines = "\n".join(f"- {_listed(members, 99)}" for members in families.values())
    return f"\n## Methods that it does not have\n\n{lines}\n" if lines else ""
