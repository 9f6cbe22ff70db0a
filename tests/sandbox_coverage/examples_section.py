"""The section of the page about the documentation's examples and errors: how many are answered so, and what differs."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

from .pages import names
from .provocation import Seen, provoke
from .replay import Outcome, replay

_NO_WEBHOOK = "the page's own errors say that a webhook may not"
_NOT_SELECTED = "the example's answer has more than its call selects"
_NO_LINK = "the example asks for a link to upload to, which the portal does not give"
_NO_NUMBER = "the example has no `id`"
#: Why an example is not answered as its page shows, by the beginning of `method caller number`
WHY: Mapping[str, str] = {
    "api/tasks.task.access.field.get": _NOT_SELECTED,
    "api/tasks.task.access.field.list": _NOT_SELECTED,
    "api/tasks.task.field.get": _NOT_SELECTED,
    "api/tasks.task.get": _NOT_SELECTED,
    "api/tasks.task.update": "the page's own errors say that `creatorId` may not be changed",
    "app.info webhook": _NO_WEBHOOK,
    "app.option.get webhook": _NO_WEBHOOK,
    "app.option.set webhook": _NO_WEBHOOK,
    "user.option.get webhook": _NO_WEBHOOK,
    "user.option.set webhook": _NO_WEBHOOK,
    "crm.automation.trigger.add webhook": _NO_WEBHOOK,
    "crm.automation.trigger.delete webhook": _NO_WEBHOOK,
    "crm.automation.trigger.execute webhook": _NO_WEBHOOK,
    "crm.automation.trigger.list webhook": _NO_WEBHOOK,
    "crm.contact.userfield.update webhook 2": _NO_NUMBER,
    "crm.contact.userfield.update application 2": _NO_NUMBER,
    "crm.deal.recurring.list": "the example's answer has `deal_id`, which `crm.deal.recurring.fields` calls `DEAL_ID`",
    "crm.item.payment.update": "the example names a pay system that the portal has not",
    "disk.folder.uploadfile webhook 2": _NO_LINK,
    "disk.folder.uploadfile application 2": _NO_LINK,
    "event.offline": "the example's events carry nothing, those of the portal the record's number",
    "im.notify.history.search": "`total_results`, which the page's text gives to the first page of results only",
    "tasks.task.result.list": "the example's result has files, which no method gives it",
}
_INTRODUCTION = (
    "The examples in the [pages](https://github.com/bitrix24/b24restdocs) of {} methods are sent to a portal that has"
    " the records they name, each as the callers that the page shows, by webhook and with an access token. An answer"
    " is as documented when it has the status, all fields, and in them the types of JSON that the page shows; nothing"
    " may stand for anything. Methods of REST 3.0 begin with `api/` here, as in their addresses. Then each"
    " example is sent with one thing wrong at a time, and by callers who may do less,"
    " to provoke the errors of the page. Methods without a page with such an example: {}."
)
# Why an error was not provoked, by what its text says.
_UNPROVOKED = (
    ("needs rights that the portal does not tell apart", r"denied|insufficient|permission|rights|WRONG_AUTH"),
    (
        "needs a plan or a limit that the portal has not",
        r"plan |restrict|intranet|exhausted|exceeded|extranet",
    ),
    ("needs a failure within the portal", r"error on |save error|error deleting|fail|already added|fatal"),
)


@cache
def outcomes() -> list[Outcome]:
    """Return what came of the examples."""
    return list(replay())


@cache
def seen() -> list[Seen]:
    """Return what came of the errors."""
    return list(provoke())


def why(outcome: Outcome) -> str | None:
    """Return why an example is not answered as its page shows, `None` when nobody has said."""
    name = f"{outcome.method} {outcome.caller} {outcome.number}"
    return next(
        (text for start, text in WHY.items() if f"{name} ".startswith((f"{start} ", f"{start}."))), None
    )


def section() -> str:
    """Return the section."""
    found = outcomes()
    good = [outcome for outcome in found if not outcome.differs]
    examples = Counter(how for method in seen() for _, how in method.examples)
    table = Counter(how for method in seen() for _, how in method.table)
    methods = {outcome.method for outcome in found}
    without = sorted(set(names().values()) - methods)
    return f"""## The documentation's examples

{_INTRODUCTION.format(len(methods), ", ".join(f"`{name}`" for name in without))}

| | documented | answered so | same status and code, other text | not |
| --- | --- | --- | --- | --- |
| examples of calls | {len(found)} | {len(good)} | | {len(found) - len(good)} |
| examples of errors | {examples.total()} | {examples["as shown"]} | {examples["other text"]} | {examples["not"]} |
| errors in tables | {table.total()} | {table["as shown"]} | {table["other text"]} | {table["not"]} |

Calls that are answered otherwise:

{_different(found)}

Errors that were not provoked:

{_unprovoked()}
"""


def _different(found: Iterable[Outcome]) -> str:
    methods: dict[str, list[str]] = defaultdict(list)
    for outcome in found:
        if outcome.differs:
            methods[why(outcome) or "; ".join(outcome.differs)].append(outcome.method)
    return "\n".join(
        f"- {', '.join(f'`{name}`' for name in dict.fromkeys(names))}: {reason}"
        for reason, names in methods.items()
    )


def _unprovoked() -> str:
    groups: Counter[str] = Counter()
    others = []
    for method in seen():
        for refusal, how in (*method.examples, *method.table):
            if how == "not":
                text = f"{refusal.code} {refusal.text}"
                reason = next((why for why, part in _UNPROVOKED if re.search(part, text, re.IGNORECASE)), "")
                if reason:
                    groups[reason] += 1
                else:
                    said = f"`{refusal.code}` {refusal.text}".removeprefix("`` ").removeprefix("`*` ")
                    others.append(f"- `{method.method}`: {said}")
    counted = [f"- {count} times: {reason}" for reason, count in groups.items()]
    return "\n".join([*counted, *dict.fromkeys(others)])
