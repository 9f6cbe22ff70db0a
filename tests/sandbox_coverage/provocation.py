"""What a portal refuses, provoked: calls of the examples with one thing wrong, by callers who may do less."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from unittest import mock

from .pages import ANY, Refusal, Shown, load
from .preparation import Params, prepare
from .replay import new_portal, said, send

_WRONG: tuple[Any, ...] = ("", [], {}, 0, -1, 999_999_999, "no such", ["no such"], {"NO_SUCH": 1})
# What may be wrong with one thing that a name says.
_WRONG_BY_NAME: Mapping[str, tuple[Any, ...]] = {
    "ORDER": ({"ID": "SIDEWAYS"},),
    "CODE": ("a b", "no_such"),
    "HANDLER": ("ftp://handler.example/",),
    "FIELD_NAME": ("a-b", "X" * 60),
    "PROPERTIES": ({"1": {"Name": "x"}}, {"a": {}}),
    "STATUS": ("9",),
    "EMAIL": ("ada@portal.example",),
    "DATA": ([{}] * 21,),
    "EVENT": ("ONNOSUCH",),
}
# Fields that examples do not have.
_MORE_INSIDE: tuple[Mapping[str, Any], ...] = (
    {"HANDLER": "no-address"},
    {"HANDLER": "ftp://handler.example/"},
    {"PROPERTIES": "x"},
    {"PROPERTIES": {"1": {"Name": "x"}}},
    {"PROPERTIES": {"a": {}}},
    {"DOCUMENT_TYPE": ["x"]},
    {"TEMPLATE_DATA": ["a.bpt", "!"]},
    {"STATUS": "9"},
    {"PARENT_ID": 999_999_999},
    {"PARENT_ID": 11},
    {"START_DATE_PLAN": "2026-02-01", "END_DATE_PLAN": "2026-01-01"},
    {"contactIds": 1},
    {"opportunity": "x"},
    {"ENTITY_ID": "SOURCE", "STATUS_ID": "CALL"},
    {"USER_TYPE_ID": "enumeration", "LIST": [{"VALUE": "a", "XML_ID": "x"}, {"VALUE": "b", "XML_ID": "x"}]},
)
_SECTION: Mapping[str, Any] = {
    "name": "main",
    "title": "text",
    "type": "section",
    "elements": [{"name": "TITLE"}],
}
# Parameters that they do not have, by family, and who sends them.
_MORE: tuple[tuple[str, Mapping[str, Any], int], ...] = (
    ("event.bind", {"event_type": "offline"}, 2),
    ("event.unbind", {"event_type": "offline"}, 2),
    ("event.", {"auth_type": 1}, 2),
    ("user.option.set", {"options": {}}, 1),
    ("bizproc.workflow.start", {"DOCUMENT_ID": ["x", "y", "LEAD_1"]}, 1),
    ("bizproc.workflow.start", {"DOCUMENT_ID": ["crm", "CCrmDocumentDeal", "DEAL_1"]}, 1),
    ("crm.status.delete", {"id": 1, "params": {}}, 1),
    ("bizproc.robot.add", {"DOCUMENT_TYPE": ["x"]}, 1),
    ("im.notify", {"ATTACH": 5}, 1),
    # Settings of the deal, and the deal that is made of it.
    ("crm.deal.recurring.add", {"fields": {"DEAL_ID": 46}}, 1),
    ("crm.deal.recurring.delete", {"id": 1}, 1),
    *(
        (f"crm.{kind}.details.configuration.set", {"data": [_SECTION, {**_SECTION, **wrong}]}, 1)
        for kind in ("item", "lead", "deal", "contact", "company")
        for wrong in ({"name": ""}, {"title": ""}, {"type": "x"}, {"elements": [{}]})
    ),
    *(
        (f"crm.{kind}.productrows.set", {"rows": [{"PRICE": 9, "PRODUCT_NAME": "text", **discount}]}, 1)
        for kind in ("lead", "deal")
        for discount in (
            {"DISCOUNT_TYPE_ID": 1},
            {"DISCOUNT_TYPE_ID": 2},
            {"DISCOUNT_TYPE_ID": 2, "DISCOUNT_RATE": 100},
        )
    ),
)
_NESTED = 14
_CALLERS = (("webhook", 1), ("application", 1), ("webhook", 2), ("application", 2), ("stranger", 1))


class Seen(NamedTuple):
    """What a method has refused with, and what its page says.

    :param examples: the page's examples of refusals, and how each was answered: `as shown`, `other text` with the same
        status and code, or `not`.
    :param table: the same of its table.
    :param broken: calls that the portal failed at.
    """

    method: str
    examples: list[tuple[Refusal, str]]
    table: list[tuple[Refusal, str]]
    broken: list[Any]


def provoke() -> Iterator[Seen]:
    """Provoke what every method refuses."""
    for method, shown in load().items():
        answered: set[Refusal] = set()
        broken = []
        for params, refusal in _refusals(method, shown):
            answered.add(refusal)
            if refusal.status >= 500:
                broken.append(params)
        yield Seen(
            method,
            [(documented, _how(documented, answered)) for documented in shown.refusals],
            [(documented, _how(documented, answered)) for documented in shown.table],
            broken,
        )


def _how(documented: Refusal, answered: set[Refusal]) -> str:
    if any(fits(documented, refusal) for refusal in answered):
        return "as shown"
    same = (r for r in answered if documented.status in (0, r.status) and documented.code == r.code != "")
    return "other text" if any(same) else "not"


def fits(documented: Refusal, answered: Refusal) -> bool:
    """Whether an answer is what a page says: status, where it tells one, code and text."""
    if documented.status not in (0, answered.status) or documented.code not in (ANY, answered.code):
        return False
    parts = (re.escape(part) for part in _plain(documented.text).split("*"))
    return re.fullmatch(".*".join(parts), _plain(answered.text), re.DOTALL) is not None


def _plain(text: str) -> str:
    # Pages write one text with a full stop and without, and leave out what stands around it.
    return re.sub(r"<br>|\(internal error\)", "", text).strip(" .!").casefold()


def _refusals(method: str, shown: Shown) -> Iterator[tuple[Any, Refusal]]:
    base = shown.calls[0].params if shown.calls else {}
    callers = shown.calls[0].callers if shown.calls else ["webhook"]
    # The one who may.
    kind = next((kind for kind in callers if _Trial(method, base).send(base, kind)[0] == 200), callers[0])
    trial = _Trial(method, base)
    for params, caller, user, times in _calls(method, base, kind):
        for _ in range(times - 1):
            trial.send(params, caller, user)
        status, answer = trial.send(params, caller, user)
        if status == 200:
            # It has changed something.
            trial = _Trial(method, base)
        elif isinstance(answer, Mapping):
            code, *texts = said(answer)
            yield from ((params, Refusal(status, code, text)) for text in texts)


class _Trial:
    # A portal that has what the example names.
    def __init__(self, method: str, base: Params) -> None:
        self._method = method
        self._base = base
        self._portal = new_portal()
        with mock.patch.object(self._portal.queue_server, "_enqueue", lambda call: call):
            self._prepared = prepare(self._portal, method, base)

    def send(self, params: Params, caller: str = "webhook", user: int = 1) -> tuple[int, Any]:
        # What only the portal can name is put where the example has its own.
        whole = {
            name: self._prepared.get(name, value) if value == self._base.get(name) else value
            for name, value in params.items()
        }
        return send(self._portal, self._method, whole, caller, user)


def _calls(method: str, base: Params, kind: str) -> Iterator[tuple[Params, str, int, int]]:
    for caller, user in _CALLERS:
        yield base, caller, user, 1
    yield base, kind, 1, 2
    yield {}, kind, 1, 1
    for wrong in _spoiled(base):
        yield wrong, kind, 1, 1
    for family, params, user in _MORE:
        if method.startswith(family):
            yield {**base, **params}, kind, user, 1


def _spoiled(base: Params) -> Iterator[dict[str, Any]]:
    for name, value in base.items():
        yield {other: item for other, item in base.items() if other != name}
        for wrong in (*_WRONG, *_WRONG_BY_NAME.get(name.upper(), ())):
            yield {**base, name: wrong}
        if isinstance(value, Mapping):
            yield from ({**base, name: inner} for inner in _inside(value))
            for more in _MORE_INSIDE if name.upper() == "FIELDS" else ():
                yield {**base, name: {**value, **more}}
    lists = {name.upper() for name in base} & {"FILTER", "ORDER"}
    yield from ({**base, name: {"NO_SUCH": 1}} for name in ("filter", "order") if name.upper() not in lists)
    if "ORDER" not in lists:
        yield {**base, "order": {"ID": "SIDEWAYS"}}


def _inside(value: Params) -> Iterator[dict[str, Any]]:
    for name in list(value)[:_NESTED]:
        yield {other: item for other, item in value.items() if other != name}
        for wrong in (*_WRONG, *_WRONG_BY_NAME.get(name.upper(), ())):
            yield {**value, name: wrong}
