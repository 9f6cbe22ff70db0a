"""How the documentation site is made of the Markdown in this repository; `make docs` does it.

The source is the whole repository, so that a link works on the site as it does in a checkout.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

# The reference imports the package, and with it Airflow, which makes a folder for itself.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-of-docs-")
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"

from sphinx.util.logging import getLogger

from airflow_provider_b24 import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

ROOT = Path(__file__).parents[1]

NAVIGATION = {
    "Start": ["Overview <../README>", "quickstart", "installation", "connection"],
    "Guides": ["robots", "answering", "external-results", "rest", "testing", "sandbox", "dev", "../AGENTS"],
    "Concepts": ["calls", "exactly-one-answer", "security"],
    "Operate": ["troubleshooting", "pages", "receiver", "deployment", "compatibility", "upgrading"],
    "Reference": [
        "reference/commands",
        "reference/configuration",
        "reference/metrics",
        "reference/errors",
        "reference/api-robots",
        "reference/api-airflow",
        "reference/api-rest",
        "reference/api-exceptions",
        "reference/api-testing",
        "reference/examples",
        "sandbox-coverage",
    ],
    "По-русски": ["ru/README", "ru/quickstart", "ru/installation"],
    "Develop": ["../CONTRIBUTING", "quality", "../CHANGELOG", "../SECURITY", "../CODE_OF_CONDUCT"],
}
"""The chapters of the site, and their pages. A page that is in none fails the build."""

project = "airflow-provider-b24"
author = "the authors of airflow-provider-b24"
release = version = __version__
root_doc = "docs/index"
include_patterns = ["docs/**", "*.md"]
exclude_patterns = [".*", "build", "dist", "**/__pycache__", "tests", "benchmarks", "airflow_provider_b24"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
myst_heading_anchors = 4
suppress_warnings = [
    "misc.highlighting_failure",  # JSON with "…" in it
    "ref.python",  # short names in signatures that two modules have
]
highlight_language = "text"
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"airflow-provider-b24 {version}"
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_extra_path = ["_site", "../llms.txt"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def add_navigation(_: Sphinx, document: str, source: list[str]) -> None:
    """Give the first page its table of contents, which would be noise where it is read as Markdown."""
    if document == root_doc:
        for chapter, pages in NAVIGATION.items():
            source[0] += (
                "\n\n```{toctree}\n:hidden:\n:caption: " + chapter + "\n\n" + "\n".join(pages) + "\n```\n"
            )


_FROM_OUTSIDE = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc(?:set)?=\"(?:https?:)?//[^\"]*\""
    r"|<link\b(?![^>]*rel=\"(?:canonical|author)\")[^>]*\bhref=\"(?:https?:)?//[^\"]*\""
    r"|(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"']*"
)


def look_at_site(app: Sphinx, failure: Exception | None) -> None:
    """Publish the Markdown beside the pages, and warn of what a page loads from another address."""
    if failure is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for document in app.env.found_docs:
        source = Path(app.env.doc2path(document))
        if source.suffix == ".md":
            shutil.copy(source, site / f"{document}.md")
    for file in [*site.rglob("*.html"), *site.rglob("*.css")]:
        for match in _FROM_OUTSIDE.finditer(file.read_text(encoding="utf-8")):
            getLogger(__name__).warning("%s loads from another address: %s", file.relative_to(site), match[0])


def setup(app: Sphinx) -> None:
    """Connect the above to Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("build-finished", look_at_site)
