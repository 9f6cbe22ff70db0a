"""Write the page; with `--facts METHODS_JSON` and `--pages CHECKOUT` the facts before."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import facts, page, pages

parser = argparse.ArgumentParser(prog="python -m tests.sandbox_coverage", description=__doc__)
parser.add_argument("--facts", type=Path, help="specifications of methods to take the facts from")
parser.add_argument("--pages", type=Path, help="checkout of bitrix24/b24restdocs to take the examples from")
arguments = parser.parse_args()
if arguments.facts is not None:
    facts.make(arguments.facts)
if arguments.pages is not None:
    pages.make(arguments.pages)
page.PAGE.write_text(page.text(), encoding="utf-8")
