"""The sandbox portal against the facts of the documentation."""

from __future__ import annotations

from . import page


def test_the_page_says_what_the_portal_does() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(), "Run python -m tests.sandbox_coverage"


def test_every_method_of_bizproc_takes_all_documented_parameters() -> None:
    found = [row for row in page.rows() if row.method.startswith("bizproc.")]
    assert len(found) >= 20
    assert {row.method: row.params_missing for row in found if row.params_missing} == {}
