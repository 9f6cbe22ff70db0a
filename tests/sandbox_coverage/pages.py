"""What the documentation's pages show of methods, as facts in a small file: calls, shapes of answers, refusals.

`examples.json` was made by `python -m tests.sandbox_coverage --pages CHECKOUT` of the pages of bitrix24/b24restdocs
(MIT licence, Copyright (c) 2024 Bitrix24). Of calls it has the parameters, with prose, addresses and files in them
replaced; of answers the types; of refusals what a portal says: status, code and text.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from airflow_provider_b24.sandbox.methods import all_methods, all_methods_of_rest3

FILE = Path(__file__).with_name("examples.json")
#: An object whose keys are data, such as numbers or names of fields: all values have this shape.
ANY_KEY = "*"
#: The code of a refusal where the page does not tell one.
ANY = "*"
#: What the names of methods of REST 3.0 begin with, as in their addresses.
REST3 = "api/"
_TAB = re.compile(r"^ *- (cURL \((\w+)\)|[A-Z].*)$", re.MULTILINE)
_FENCED = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
_JSON = re.compile(r"```json\s*\n(.*?)```", re.DOTALL)
_STATUS = re.compile(r"HTTP[ -]status:?([^\n]*)", re.IGNORECASE)
_METHOD = re.compile(r"/rest/(api/)?(?:[^/\s]*/[^/\s]*/)?([a-z0-9.]+)", re.IGNORECASE)
_ROW = re.compile(r"^\|\|(.*?)\|\|\s*$", re.MULTILINE | re.DOTALL)
_PLAIN = re.compile(r"[\w.:|+\-=/%{};@,*\\]*|[<>=!]{1,2}", re.ASCII)
_DATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}\.[0-9]{2}\.[0-9]{4}")
_LANGUAGE = re.compile("(?!id)[a-z]{2}")
# Longer words are files and tokens.
_LONG = 60
# Pages leave out lines of an answer, and say so in it.
_PROSE = re.compile(r"^\s*(\.\.\.|\w+( \w+)+)\s*$", re.MULTILINE)
_TRAILING = re.compile(r",(\s*[}\]])")
# Names and values that stand in the text of an error.
_PLACEHOLDER = re.compile(
    r"`([a-z_.]+|X|#)`|<[^>]+>|\{[^}]+\}|(?<=')(id|XML_ID|FIELD)(?=')|orderValue|(?<=XML_ID=)\w+|(?<=id )X\b"
    r"|data\[i\]\.type|#[A-Z]+#"
)
# A code of REST 3.0, and the table of what is said with it.
_CODED = re.compile(r"Error Code: `(\w+)`(.*?)(?=Error Code:|\Z)", re.DOTALL | re.IGNORECASE)
_STATUSES = frozenset({"400", "401", "403", "404"})
# Objects of this many equal ones have keys that are data.
_MANY = 5


class Call(NamedTuple):
    """A call in an example.

    :param callers: who makes it: `webhook`, `application`.
    """

    params: dict[str, Any]
    callers: list[str]


class Refusal(NamedTuple):
    """What a portal says no with.

    :param status: 0 where the page does not say.
    :param code: `*` where it does not.
    :param text: what stands beside the code; `*` stands for anything.
    """

    status: int
    code: str
    text: str


class Shown(NamedTuple):
    """What a page shows of a method.

    :param page: where it is in the repository.
    :param answers: shapes of the whole answer.
    :param refusals: examples of answers.
    :param table: its table of errors.
    """

    page: str
    calls: list[Call]
    answers: list[Any]
    refusals: list[Refusal]
    table: list[Refusal]


def load() -> dict[str, Shown]:
    """Return the facts by method."""
    return {
        name: Shown(
            facts["page"],
            [Call(*call) for call in facts["calls"]],
            facts["answers"],
            [Refusal(*refusal) for refusal in facts["refusals"]],
            [Refusal(*refusal) for refusal in facts["table"]],
        )
        for name, facts in json.loads(FILE.read_text(encoding="utf-8")).items()
    }


def make(checkout: Path) -> None:
    """Write the file.

    :param checkout: of bitrix24/b24restdocs.
    """
    pages = _pages(checkout)
    found = {}
    for name in sorted(names().values()):
        page = pages.get(name.lower())
        if page is not None:
            text = page.read_text(encoding="utf-8")
            found[name] = read(name, text, page.relative_to(checkout).as_posix())
    lines = (f"{json.dumps(name)}: {json.dumps(shown._asdict())}" for name, shown in found.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def names() -> dict[str, str]:
    """Return the names of the portal's methods, by themselves in small letters."""
    newer = {f"{REST3}{name}".lower(): f"{REST3}{name}" for name in all_methods_of_rest3()}
    return {name: method.name for name, method in all_methods().items()} | newer


def _pages(checkout: Path) -> dict[str, Path]:
    """Return the page of each method that the portal has: the one that is named like it and calls it."""
    known: dict[str, list[str]] = defaultdict(list)
    for name in names():
        known[_bare(name.removeprefix(REST3))].append(name)
    pages: dict[str, Path] = {}
    for page in sorted((checkout / "api-reference").rglob("*.md")):
        methods = known.get(_bare(page.stem.lower().removesuffix("-rest-v3")), [])
        if methods and "outdated" not in page.parts:
            commands = [command for _, command in _commands(page.read_text(encoding="utf-8"))]
            for method in methods:
                if any(_called(method, command) is not None for command in commands):
                    pages.setdefault(method, page)
    return pages


def _bare(name: str) -> str:
    return re.sub("[._-]", "", name)


def read(method: str, text: str, page: str) -> Shown:
    """Read one page."""
    calls: list[Call] = []
    for kind, command in _commands(text):
        params = _called(method, command)
        if params is None:
            continue
        caller = "webhook" if kind.lower() == "webhook" else "application"
        same = next((call for call in calls if call.params == params), None)
        if same is None:
            calls.append(Call(params, [caller]))
        elif caller not in same.callers:
            same.callers.append(caller)
    handled, _, errors = re.split(r"^## Response handling", text, flags=re.MULTILINE | re.IGNORECASE)[
        -1
    ].partition("## Error")
    answers, refusals = [], []
    for body in _bodies(handled):
        if "result" in body and (of := shape({k: v for k, v in body.items() if k != "time"})) not in answers:
            answers.append(of)
    head = _STATUS.search(errors)
    statuses = re.findall("[0-9]{3}", head[1]) if head else []
    for body in map(_older, _bodies(errors)):
        if "error" in body:
            status = int(statuses[0]) if len(statuses) == 1 else 0
            code, said = str(body["error"]), str(body.get("error_description", ""))
            if " " in code:
                # Some pages have the text there, and beside it what it means.
                code, said = "", code
            refusals.append(Refusal(status, code, _said(said)))
    table = _table_of_rest3(errors) if method.startswith(REST3) else _table(errors)
    return Shown(page, calls, answers, refusals, list(table))


def _older(body: dict[str, Any]) -> dict[str, Any]:
    """Return a refusal of REST 3.0 as the older REST would write it, and others as they are."""
    error = body.get("error")
    if not isinstance(error, dict):
        return body
    return {"error": error["code"], "error_description": error["message"]}


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Return who makes a call, and the command, of all tabs with curl."""
    examples = re.split(r"^## Response handling", text, flags=re.MULTILINE | re.IGNORECASE)[0]
    tabs = list(_TAB.finditer(examples))
    ends = [*(tab.start() for tab in tabs[1:]), len(examples)]
    for tab, end in zip(tabs, ends, strict=False):
        if tab[2]:
            for command in _FENCED.findall(examples[tab.end() : end]):
                yield tab[2], command


def _called(method: str, command: str) -> dict[str, Any] | None:
    """Return the parameters of a call by curl, `None` for another method or what cannot be read."""
    try:
        words = shlex.split(command.replace("\\\n", " "))
    except ValueError:
        return None
    address = next((word for word in words if "/rest/" in word), "")
    named = _METHOD.search(address.replace("**", ""))
    if named is None or f"{named[1] or ''}{named[2]}".lower().removesuffix(".json") != method.lower():
        return None
    body = next((words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-d", "--data")), "{}")
    try:
        given = json.loads(body)
    except ValueError:
        return None
    if not isinstance(given, dict):
        return None
    return {name: neutral(value) for name, value in given.items() if name != "auth"}


def neutral(value: Any) -> Any:
    """Return a parameter without prose, addresses and files of others."""
    if isinstance(value, dict):
        return {k: "text" if _LANGUAGE.fullmatch(k) else neutral(item) for k, item in value.items()}
    if isinstance(value, list):
        return [neutral(item) for item in value]
    if not isinstance(value, str):
        return value
    if "://" in value:
        return "https://handler.example/"
    if "@" in value[1:]:
        return "someone@portal.example"
    if "$(date" in value or "Date(" in value or "_date_" in value:
        return "2026-01-31"
    if _DATED.match(value) or (_PLAIN.fullmatch(value) and len(value) <= _LONG):
        return value
    return "text" if " " in value else "dGV4dA=="


def _bodies(text: str) -> Iterator[dict[str, Any]]:
    for body in _JSON.findall(text):
        try:
            value = json.loads(_TRAILING.sub(r"\1", _PROSE.sub("", body)))
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def shape(value: Any) -> Any:
    """Return the types of a value: those of JSON by their names, lists of one shape, objects of shapes."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if value is None:
        return "null"
    if isinstance(value, list):
        return [_common(shape(item) for item in value)] if value else []
    shapes = {key: shape(item) for key, item in value.items()}
    keyed = shapes and all(re.fullmatch("[0-9]+|[a-z]{2}", key) for key in shapes) and "id" not in shapes
    if keyed or (len(shapes) > _MANY and all(isinstance(item, dict) for item in shapes.values())):
        return {ANY_KEY: _common(shapes.values())}
    return shapes


def _common(shapes: Iterable[Any]) -> Any:
    """Return what is in all of these shapes."""
    common, *others = shapes
    for other in others:
        if isinstance(common, Mapping) and isinstance(other, Mapping):
            common = {k: _common([v, other[k]]) for k, v in common.items() if k in other}
        elif isinstance(common, list) and isinstance(other, list):
            common = [_common([*common, *other])] if common or other else []
        elif common != other:
            # What may be nothing is left open, and so is what may be this or that.
            common = "null"
    return common


def _table(errors: str) -> Iterator[Refusal]:
    """Read the page's own table of errors."""
    table = errors.partition("#|")[2].partition("|#")[0] if "ossible" in errors else ""
    rows = [[cell.strip() for cell in row.split("|") if cell.strip()] for row in _ROW.findall(table)]
    if not rows:
        return
    head = " ".join(rows[0]).lower()
    for cells in rows[1:]:
        status = 0
        if re.fullmatch("`?[0-9]{3}`?", cells[0]) and "status" in head:
            status = int(cells.pop(0).strip("`"))
        if "code" not in head:
            yield Refusal(status, ANY, _said(cells[0] if cells else ""))
            continue
        code = cells.pop(0).replace("`", "").replace("*", "") if cells else ""
        code, _, rest = code.partition("\n")
        code = "" if re.fullmatch(r"(?i)[-\u2013\u2014\s]*|empty.*", code) else code.strip()
        if code in _STATUSES and not status:
            # Some tables have the status there.
            status, code = int(code), ""
        said = rest.strip() or (cells[0] if cells else "")
        if " " in code:
            # And some the text, with what it means beside it.
            code, said = "", code
        yield Refusal(status, code, _said(said))


def _table_of_rest3(errors: str) -> Iterator[Refusal]:
    """Read the tables of such a page, one for each code: which field it is about, and what is said."""
    for code, part in _CODED.findall(errors):
        for row in _ROW.findall(part)[1:]:
            cells = [cell.strip() for cell in row.split("|")]
            yield Refusal(0, code, _said(cells[1]))


def _said(cell: str) -> str:
    """Return the text of an error, with `*` for what is in it for a name or a value."""
    text = cell.replace("\\u003C", "<").replace("\\u003E", ">").replace("\\u0027", "'").replace("<br>", "")
    text = _PLACEHOLDER.sub("\0", text)
    return " ".join(text.replace("*", "").replace("`", "").replace("\0", "*").split())
