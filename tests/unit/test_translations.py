"""The Russian pages keep step with the English ones: the same parts, snippets, names and links in the same places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUSSIAN = ROOT / "docs" / "ru"
ORIGINALS = {
    RUSSIAN / "README.md": ROOT / "README.md",
    RUSSIAN / "quickstart.md": ROOT / "docs" / "quickstart.md",
    RUSSIAN / "installation.md": ROOT / "docs" / "installation.md",
}

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def outline(page: Path) -> list[str]:
    """What each line of the page is: a heading of which level, a row of how many cells, a list item, or text."""
    kinds = []
    for line in prose(page).splitlines():
        if line.startswith("|"):
            kinds.append(f"row of {line.count('|') - 1}")
        elif line.strip():
            mark = re.match(r"#+ |- |\d+\. |!\[", line)
            kinds.append(mark[0] if mark else "text")
    return kinds


def links(page: Path) -> list[tuple[Path, str]]:
    """Where each link leads, in English: a heading of a translated page only as "some heading"."""
    found = []
    for link in re.findall(r"\]\(([^()\s]+)\)", prose(page)):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        is_translated = file in ORIGINALS or file in ORIGINALS.values()
        found.append((ORIGINALS.get(file, file), "some heading" if anchor and is_translated else anchor))
    return found


@pytest.mark.parametrize("page", ORIGINALS, ids=lambda page: page.name)
def test_it_has_the_same_parts_in_the_same_order(page: Path) -> None:
    assert outline(page) == outline(ORIGINALS[page])


@pytest.mark.parametrize("page", ORIGINALS, ids=lambda page: page.name)
def test_it_has_the_same_snippets(page: Path) -> None:
    original = ORIGINALS[page].read_text(encoding="utf-8")

    assert _FENCED.findall(page.read_text(encoding="utf-8")) == _FENCED.findall(original)


@pytest.mark.parametrize("page", ORIGINALS, ids=lambda page: page.name)
def test_it_names_the_same_options_commands_and_codes(page: Path) -> None:
    names = re.compile(r"`([^`\n]+)`")

    assert sorted(names.findall(prose(page))) == sorted(names.findall(prose(ORIGINALS[page])))


@pytest.mark.parametrize("page", ORIGINALS, ids=lambda page: page.name)
def test_it_links_to_the_same_pages(page: Path) -> None:
    def others(of: Path) -> list[tuple[Path, str]]:
        # The overviews lead to each other, and to no page that both have.
        return sorted(link for link in links(of) if link[0] != ROOT / "README.md")

    assert others(page) == others(ORIGINALS[page])


def test_every_russian_page_is_compared() -> None:
    assert set(RUSSIAN.glob("*.md")) == set(ORIGINALS)
