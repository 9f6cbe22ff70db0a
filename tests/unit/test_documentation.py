"""The documentation: its links lead somewhere, its snippets are code, its commands, options and names exist."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from airflow_provider_b24 import cli
from airflow_provider_b24.get_provider_info import get_provider_info

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PACKAGE = "airflow_provider_b24"
COMMAND = "airflow-b24"

_FENCED = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_DECLARES_A_DAG = re.compile(r"^@(?:robot_)?dag\(", re.MULTILINE)
_OPTION = re.compile(r"\[bitrix24\] (\w+)|AIRFLOW__BITRIX24__(\w+)")
_FILE_NAME = re.compile(r"# dags/(\w+\.py)\n")


class Snippet(NamedTuple):
    """A fenced block, and where it stands."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(*languages: str) -> list[Snippet]:
    return [snippet for page in PAGES for snippet in _snippets(page) if snippet.language in languages]


def _snippets(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for match in _FENCED.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Snippet(page, line, match["language"], match["text"])


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What can stand behind `#` in a link to the page, as GitHub makes it of the headings."""
    headings = (heading.replace("`", "").lower() for heading in _HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def commands() -> Iterator[tuple[str, str]]:
    """Every command line of ours that the documentation names, with its place."""
    for snippet in snippets("bash", "sh", "shell", "console"):
        for number, line in enumerate(snippet.text.splitlines(), snippet.line + 1):
            command = line.removeprefix("$ ")
            if snippet.language != "console" or command != line:
                yield f"{snippet.page.relative_to(ROOT)}:{number}", command
    for page in PAGES:
        for code in _INLINE.findall(prose(page)):
            yield str(page.relative_to(ROOT)), code


def own_commands() -> list[tuple[str, list[str]]]:
    """The arguments of each; `plan|apply` stands for two commands."""
    found = []
    for place, command in commands():
        if not re.match(rf"(\w+=\S+ )*{COMMAND}\b", command):
            continue
        words = shlex.split(command, comments=True)
        words = words[words.index(COMMAND) + 1 :]
        found += [(place, list(choice)) for choice in product(*(word.split("|") for word in words))]
    return found


def test_there_is_documentation() -> None:
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"} <= {page.name for page in PAGES}
    assert snippets("python")
    assert own_commands()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in _LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(link)

    assert dead == []


def test_llms_txt_lists_every_page_and_nothing_else() -> None:
    listed = _LINK.findall((ROOT / "llms.txt").read_text(encoding="utf-8"))

    assert sorted(listed) == sorted(str(page.relative_to(ROOT)) for page in PAGES)


@pytest.mark.parametrize("source", sorted(ROOT.glob("docs/diagrams/*.mmd")), ids=lambda source: source.stem)
def test_diagrams_are_drawn_from_their_sources(source: Path) -> None:
    drawn = (ROOT / "docs/images" / f"{source.stem}.svg").read_text(encoding="utf-8")
    settings = (source.parent / "config.json").read_bytes()

    assert sha256(source.read_bytes() + settings).hexdigest() in drawn, "run `make diagrams`"


@pytest.mark.parametrize("snippet", snippets("python"), ids=lambda snippet: snippet.place)
def test_python_snippets_compile_and_import_names_that_exist(snippet: Snippet) -> None:
    missing = []
    for node in ast.walk(ast.parse(snippet.text, snippet.place)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            module = importlib.import_module(str(node.module))
            missing += [f"{node.module}.{one.name}" for one in node.names if not hasattr(module, one.name)]
        elif isinstance(node, ast.Import):
            for one in node.names:
                if one.name.partition(".")[0] == PACKAGE:
                    importlib.import_module(one.name)

    assert missing == []


@pytest.mark.parametrize("picture", sorted(ROOT.glob("docs/images/*")), ids=lambda file: file.name)
def test_pictures_are_shown_described_and_small(picture: Path) -> None:
    shown = [
        text
        for page in PAGES
        for text, link in _PICTURE.findall(prose(page))
        if link.endswith(f"images/{picture.name}")
    ]

    assert shown
    assert all(len(text) > 20 for text in shown)
    assert picture.stat().st_size <= 150_000


DAG_SNIPPETS = [one for one in snippets("python") if _DECLARES_A_DAG.search(one.text)]


@pytest.mark.parametrize("snippet", DAG_SNIPPETS, ids=lambda snippet: snippet.place)
def test_snippets_that_declare_a_dag_are_whole_dag_files(snippet: Snippet, tmp_path: Path) -> None:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag

    name = _FILE_NAME.match(snippet.text)
    file = tmp_path / (name[1] if name else "snippet.py")
    file.write_text(snippet.text, encoding="utf-8")

    bag = DagBag(str(tmp_path))

    assert bag.import_errors == {}
    assert len(bag.dags) == len(_DECLARES_A_DAG.findall(snippet.text))


@pytest.mark.parametrize(
    ("place", "arguments"),
    own_commands(),
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_commands_exist(place: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(arguments, capsys)

    # Prose may name a command without what has to follow it.
    assert not said or "the following arguments are required" in said, f"{place}: {said}"


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says against the arguments."""
    try:
        cli._command_line(arguments)
    except SystemExit as end:
        return capsys.readouterr().err if end.code else ""
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_exist(page: Path) -> None:
    named = _OPTION.findall(page.read_text(encoding="utf-8"))
    declared = get_provider_info()["config"]["bitrix24"]["options"]

    assert {"".join(forms).lower() for forms in named} <= set(declared)
