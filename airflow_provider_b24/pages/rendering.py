"""From a template to a page: what every page has, how times and values are written, what a browser may do with it."""

from __future__ import annotations

import datetime as dt
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

import airflow_provider_b24
from airflow_provider_b24._airflow.masking import masked

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request

PREFIX = "/bitrix24-pages"
"""Where the pages are mounted: beside the receiver, whose address is public."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def render(request: Request, template: str, /, status: int = 200, **values: Any) -> HTMLResponse:
    """Make a page.

    :param template: its file in ``templates/``.
    :param values: what the template shows.
    """
    base = request.scope.get("root_path", "")
    text = (
        _environment()
        .get_template(template)
        .render(
            base=base,
            airflow=base.removesuffix(PREFIX),
            version=airflow_provider_b24.__version__,
            now=dt.datetime.now(dt.UTC),
            **values,
        )
    )
    return HTMLResponse(text, status, HEADERS)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("airflow_provider_b24.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"utc": utc, "iso": iso, "span": span, "shown": shown}
    return environment


def iso(time: dt.datetime) -> str:
    """Write a time for programs."""
    return time.astimezone(dt.UTC).isoformat(timespec="milliseconds")


def utc(time: dt.datetime) -> str:
    """Write a time for people; the pages' script makes it one of their own time zone."""
    return f"{time.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(length: dt.timedelta) -> str:
    """Write how long something takes, to two units: ``20 s``, ``3 min 5 s``, ``2 h``, ``5 d 3 h``."""
    seconds = max(int(length.total_seconds()), 0)
    parts = []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        parts.append((number, name))
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{number} {name}" for number, name in parts[:2] if number) or "0 s"


def shown(value: Any, name: str) -> str:
    """Write a value for people, masked as Airflow masks.

    :param name: what it is called.
    """
    safe = masked(value, name)
    return safe if isinstance(safe, str) else json.dumps(safe, ensure_ascii=False)
