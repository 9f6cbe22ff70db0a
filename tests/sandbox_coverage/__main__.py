"""Write the page; with `--facts METHODS_JSON` the facts before."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import facts, page

parser = argparse.ArgumentParser(prog="python -m tests.sandbox_coverage", description=__doc__)
parser.add_argument("--facts", type=Path, help="specifications of methods to take the facts from")
specifications = parser.parse_args().facts
if specifications is not None:
    facts.make(specifications)
page.PAGE.write_text(page.text(), encoding="utf-8")
