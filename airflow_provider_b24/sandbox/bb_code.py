"""BB code, which messages and results of tasks are written in, as HTML."""

from __future__ import annotations

import html
import re

_PAIR = re.compile(r"\[(b|i|u|s)\](.*?)\[/\1\]", re.IGNORECASE | re.DOTALL)
_LINK = re.compile(r"\[url(?:=([^\]]*))?\](.*?)\[/url\]", re.IGNORECASE | re.DOTALL)


def as_html(text: str) -> str:
    """Return a text with bold, italic, underlined, struck out parts and links as HTML; other codes stay."""
    text = html.escape(text)
    text = _LINK.sub(lambda found: f'<a href="{found[1] or found[2]}">{found[2]}</a>', text)
    while (converted := _PAIR.sub(lambda f: f"<{f[1].lower()}>{f[2]}</{f[1].lower()}>", text)) != text:
        text = converted
    return text.replace("\n", "<br />")
