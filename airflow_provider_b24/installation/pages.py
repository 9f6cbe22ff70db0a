"""The pages that people see: the frame in Bitrix24 that finishes an installation, and those of the OAuth sign-in.

Nothing that was posted is repeated on a page. A policy lets a browser load Bitrix24's own script and nothing else, and
show the page in a frame of the connection's portal and of nobody else.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from airflow_provider_b24.receiver.answers import RefusedError

_LIBRARY = "https://api.bitrix24.com"
_STYLE = "body{font:16px/1.5 sans-serif;max-width:40em;margin:3em auto;padding:0 1em}h1{font-size:1.3em}"


def page(
    title: str,
    paragraphs: Sequence[str],
    *,
    status: int = 200,
    portal_url: str | None = None,
    finish: bool = False,
    confirmation: str | None = None,
) -> HTMLResponse:
    """Make a page.

    :param title: its heading.
    :param paragraphs: plain text.
    :param portal_url: the portal that may show it in a frame; nobody may otherwise.
    :param finish: tell Bitrix24 that the installation is finished, which closes the frame's wizard.
    :param confirmation: show a button that posts this text to the page's own address.

    Source: https://apidocs.bitrix24.com/settings/app-installation/installation-finish.html
    """
    nonce = secrets.token_urlsafe(16)
    script = (
        f'<script nonce="{nonce}" src="{_LIBRARY}/api/v1/"></script>'
        f'<script nonce="{nonce}">BX24.init(function(){{BX24.installFinish();}});</script>'
        if finish
        else ""
    )
    text = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
    if confirmation is not None:
        text += (
            f'<form method="post"><input type="hidden" name="confirmation" value="{escape(confirmation)}">'
            "<button>Connect</button></form>"
        )
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<style nonce="{nonce}">{_STYLE}</style></head><body><h1>{escape(title)}</h1>{text}{script}</body></html>'
    )
    policy = {
        "default-src": "'none'",
        "style-src": f"'nonce-{nonce}'",
        "base-uri": "'none'",
    }
    if confirmation is None:
        # Not beside a form: browsers apply it to where the post is redirected to, and a portal redirects further.
        policy["form-action"] = "'none'"
    policy["frame-ancestors"] = portal_url or "'none'"
    if finish:
        policy["script-src"] = f"'nonce-{nonce}' {_LIBRARY}"
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(body, status, headers)


def refusal_page(refusal: RefusedError, portal_url: str | None = None) -> HTMLResponse:
    """Say to a person why the application is not connected."""
    return page("Airflow is not connected", [refusal.message], status=refusal.status, portal_url=portal_url)
