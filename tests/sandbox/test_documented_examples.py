"""The examples of README and docs that call a portal, run as they stand: against the sandbox portal."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXAMPLE_ADDRESS = "https://example.bitrix24.com/rest/1/CODE/"


def _runs(text: str) -> bool:
    """Whether it calls a portal when it is run: not a DAG, nothing that starts an Airflow, whole by itself."""
    # Files are the reader's own, on his disk and his portal's.
    if "LocalAirflow" in text or "fileContent" in text or re.search(r"^(@|def test_)", text, re.MULTILINE):
        return False
    return (
        re.search(rf"^with .*(SandboxPortal\(|Bitrix24Hook\(|{_EXAMPLE_ADDRESS})", text, re.MULTILINE)
        is not None
    )


_CLIENTS = ("b24pysdk", "fast_bitrix24")
EXAMPLES = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
    for number, text in enumerate(filter(_runs, _FENCED.findall(page.read_text(encoding="utf-8"))), 1)
]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 7


@pytest.mark.parametrize("text", EXAMPLES)
def test_it_runs(portal, webhook_connection, monkeypatch, capsys, text: str) -> None:
    for client in _CLIENTS:
        if client in text:
            pytest.importorskip(client, reason=f"{client} comes with `make test` only")
    portal.add_records("lead", 210)
    portal.add_records("deal", 510)
    portal.add_records("task", 5)
    # Some put connections of their own into the environment.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    exec(compile(text.replace(_EXAMPLE_ADDRESS, portal.webhook.url), "example", "exec"), {})
    assert [request.status for request in portal.requests if request.status != 200] == []
    if "SandboxPortal" not in text:
        assert portal.requests
    # What an example prints of a record it has found; an old Airflow logs there, too.
    printed = [line for line in capsys.readouterr().out.splitlines() if "WARNING" not in line]
    assert "Error" not in "".join(printed)
