"""The examples of the pages, sent to a portal that has what they name: whether it answers as they show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from unittest import mock

from airflow_provider_b24.sandbox import SandboxPortal, rest
from airflow_provider_b24.sandbox.disk import Content

from .pages import ANY_KEY, REST3, Shown, load, shape
from .preparation import prepare

# Names that stand in an answer because of the portal it was made with.
_ACCIDENTAL = re.compile(r"UF_|uf[A-Z]|PARENT_ID_|parentId\d|\d+$")
# Lists no deeper than this are rows that have been asked for.
_ROWS = 3


class Outcome(NamedTuple):
    """What came of one example.

    :param differs: what is not as the page shows, empty when all is.
    """

    method: str
    number: int
    caller: str
    differs: list[str]


def new_portal() -> SandboxPortal:
    """Return a portal that is called without a network."""
    portal = SandboxPortal(limits=False)
    portal.webhook = portal.create_webhook()
    portal.application = portal.create_application()
    return portal


def send(
    portal: SandboxPortal, method: str, params: Any, caller: str = "webhook", user: int = 1
) -> tuple[int, Any]:
    """Send a call, and return status and answer.

    :param caller: `webhook`, `application`, or `stranger` with a webhook that the portal does not know.
    """
    headers = {"content-type": "application/json"}
    newer, name = method.startswith(REST3), method.removeprefix(REST3)
    base = f"/rest/{REST3 if newer else ''}"
    path = f"{base}{name}"
    if caller == "webhook":
        webhook = portal.webhook if user == 1 else portal.create_webhook(user)
        path = f"{base}{user}/{webhook.code}/{name}"
    elif caller == "stranger":
        path = f"{base}{user}/nocode/{name}"
    elif caller == "application":
        headers["authorization"] = f"Bearer {portal.application.issue_tokens(user).access_token}"
    received = rest.read(path, b"", headers, json.dumps(params).encode())
    with mock.patch.object(portal.queue_server, "_enqueue", lambda call: call):
        return rest.answer(portal, received, "127.0.0.1")


def said(answer: Mapping[str, Any]) -> list[str]:
    """Return the code of a refusal, and its texts: one of the older REST, of REST 3.0 one for each field, too."""
    error = answer["error"]
    if not isinstance(error, Mapping):
        return [str(error), str(answer["error_description"])]
    return [error["code"], error["message"], *(problem["message"] for problem in error.get("validation", ()))]


def replay() -> Iterator[Outcome]:
    """Send every example, as the callers that the page shows."""
    for method, shown in load().items():
        for number, call in enumerate(shown.calls, 1):
            for caller in call.callers:
                yield Outcome(
                    method, number, caller, _differences(shown, method, number, call.params, caller)
                )


def _differences(shown: Shown, method: str, number: int, params: Mapping[str, Any], caller: str) -> list[str]:
    portal = new_portal()
    with mock.patch.object(portal.queue_server, "_enqueue", lambda call: call):
        params = prepare(portal, method, params)
    status, answer = send(portal, method, params, caller)
    if isinstance(answer, Content):
        return []
    if status != 200:
        code, text, *_ = said(answer)
        return [f"{status} {code} {text}"]
    found = [list(different(expected, shape(answer), "")) for expected in shown.answers]
    best = min(found, key=len) if found else []
    # Where a page has one answer for several examples, it is that of the first.
    first = len(shown.answers) > 1 or number == 1
    return best if first else [difference for difference in best if "missing" not in difference]


def different(expected: Any, given: Any, at: str) -> Iterator[str]:
    """Return what a shape lacks of another, or has otherwise. Nothing may stand for anything."""
    if expected == given or "null" in (expected, given):
        return
    if isinstance(expected, list) and isinstance(given, list):
        if expected and given:
            yield from different(expected[0], given[0], f"{at}[]")
        elif expected and at.count(".") < _ROWS:
            yield f"{at.lstrip('.')}: no rows"
    elif isinstance(expected, Mapping) and isinstance(given, Mapping):
        yield from _of_objects(expected, given, at)
    elif [] not in (expected, given) or isinstance(expected, str) or isinstance(given, str):
        yield f"{at.lstrip('.')}: {_named(given)}, not {_named(expected)}"


def _of_objects(expected: Mapping[str, Any], given: Mapping[str, Any], at: str) -> Iterator[str]:
    if ANY_KEY in expected or ANY_KEY in given:
        for one in expected.values():
            for other in list(given.values())[:1]:
                yield from different(one, other, f"{at}.{ANY_KEY}")
        return
    for name, item in expected.items():
        if name in given:
            yield from different(item, given[name], f"{at}.{name}")
        elif not _ACCIDENTAL.match(name) and name not in ("next", "time"):
            yield f"{at}.{name}".lstrip(".") + ": missing"


def _named(given: Any) -> str:
    return given if isinstance(given, str) else "list" if isinstance(given, list) else "object"
