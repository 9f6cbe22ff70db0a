"""Many calls in few requests: up to 50 as one ``batch``, each with its own reply or error.

The rules of repeating apply to each call inside on its own: what failed for good is reported, what may be repeated
is gathered and sent again, the rest is left alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import (
    AuthError,
    BatchError,
    Bitrix24Error,
    PortalBlockedError,
    TransportError,
)
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.conversation import closed_error, converse, error_from_json
from airflow_provider_b24.rest.encoding import command, plain
from airflow_provider_b24.rest.repeating import Again, Progress
from airflow_provider_b24.rest.wire import Conversation, Sleep, Together

if TYPE_CHECKING:
    from airflow_provider_b24.rest.session import Session

MAX_CALLS = 50
MAX_BYTES = 1_000_000
"""A request longer than this is split; what a portal really accepts depends on its web server."""
AT_ONCE = 4
"""Requests under way at the same time: enough to use the limit when each takes a second or two."""
_GATHER = 1.0
"""Calls that may be repeated within so many seconds of each other are sent together."""

AnyCall = Call | tuple[str, Mapping[str, Any]]
Outcome = Reply | Bitrix24Error


class _Item:
    """One call of a batch and what has become of it."""

    def __init__(self, call: Call, session: Session, deadline: float | None) -> None:
        self.call = call
        self.params = plain(call.params)
        self.command = None if call.method.lower() == "batch" else command(call.method, self.params)
        self.progress = Progress(call, session, deadline)
        self.outcome: Outcome | None = None
        self.not_before = 0.0

    def settle(self, outcome: Outcome, session: Session) -> None:
        """Take note of a reply or a failure; after a failure that may be repeated the item stays open."""
        if isinstance(outcome, Reply):
            self.outcome = outcome
            return
        if outcome.code.upper() == "ERROR_BATCH_METHOD_NOT_ALLOWED" and self.command is not None:
            self.command = None
            return
        verdict = self.progress.judge(outcome)
        if isinstance(verdict, Again):
            session.observer.on_retry(verdict.cause)
            self.not_before = session.clock() + verdict.delay
        else:
            self.outcome = verdict


def as_call(call: AnyCall) -> Call:
    """Accept a :class:`Call` or a ``(method, params)`` pair.

    :raises ValueError: when it is neither.
    """
    if isinstance(call, Call):
        return call
    if isinstance(call, tuple) and len(call) == 2:
        return Call(call[0], call[1] or {})
    raise ValueError(f"Expected a Call or a pair of method and parameters, not {type(call).__name__}")


def converse_batch(
    calls: Iterable[AnyCall], session: Session, *, halt: bool = False, deadline: float | None = None
) -> Conversation[list[Outcome]]:
    """Hold the conversation of any number of calls.

    A call that no batch can carry goes alone: one with a text that begins with ``$result[``, with an empty list, or of
    a method that refuses to be called in a batch.

    :param calls: the calls. Without ``halt`` they must not depend on each other's order.
    :param halt: do them one after the other and stop at the first that fails for good; those behind it get a
        :class:`BatchError` with the code ``halted``.
    :param deadline: seconds it may take in all; ``None`` for the session's own deadline.
    :return: a generator whose result is a :class:`Reply` or :class:`Bitrix24Error` per call, in order.
    :raises UnsendableValueError: when a parameter cannot be sent; nothing was.

    Documentation: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/batch.html
    """
    items = [_Item(as_call(call), session, deadline) for call in calls]
    if halt:
        yield from _in_order(items, session)
    else:
        yield from _in_any_order(items, session)
    return [item.outcome for item in items if item.outcome is not None]


def _in_any_order(items: list[_Item], session: Session) -> Conversation[None]:
    gone: list[Bitrix24Error] = []
    while pending := [item for item in items if item.outcome is None]:
        ready = yield from _next_ready(pending, session)
        chunks = _pack(ready)
        if len(chunks) == 1:
            yield from _send(chunks[0], session, gone)
        elif chunks:
            yield Together([_send(chunk, session, gone) for chunk in chunks], AT_ONCE)


def _next_ready(pending: list[_Item], session: Session) -> Conversation[list[_Item]]:
    """Wait for the first calls that may be sent: those whose method is closed let the others go ahead."""
    now = session.clock()
    due: list[tuple[float, _Item]] = []
    for item in pending:
        not_before = item.not_before
        closed = session.pacer.closed(session.owner, item.call.method)
        if closed is not None:
            remaining = item.progress.remaining()
            if remaining is not None and closed.seconds > remaining:
                item.outcome = closed_error(item.call.method, closed, session)
                continue
            not_before = max(not_before, now + closed.seconds)
        due.append((not_before, item))
    if not due:
        return []
    horizon = max(now, min(when for when, _ in due) + _GATHER)
    ready = [(when, item) for when, item in due if when <= horizon]
    wait = max(when for when, _ in ready) - now
    if wait > 0:
        session.observer.on_wait(
            wait, "retry" if wait <= session.patience.longest_delay else "operating_time"
        )
        yield Sleep(wait)
    return [item for _, item in ready]


def _in_order(items: list[_Item], session: Session) -> Conversation[None]:
    position = 0
    while position < len(items):
        chunk = _pack_in_order(items[position:])
        yield from _send(chunk, session, [], halt=True)
        for item in chunk:
            if isinstance(item.outcome, Reply):
                position += 1
                continue
            if item.outcome is None:
                yield from _next_ready([item], session)
            break
        if position < len(items) and isinstance(items[position].outcome, Bitrix24Error):
            for item in items[position + 1 :]:
                item.outcome = BatchError(
                    "halted",
                    f"Not called, because call number {position + 1} ({items[position].call.method}) failed.",
                    None, item.call.method, session.portal,
                )  # fmt: skip
            return


def _pack(items: Sequence[_Item]) -> list[list[_Item]]:
    """Fill requests with calls, up to their number and length; a call that must go alone does."""
    chunks: list[list[_Item]] = []
    current: list[_Item] = []
    size = 0
    for item in items:
        length = MAX_BYTES if item.command is None else len(item.command) + 16
        if length >= MAX_BYTES:
            chunks.append([item])
            continue
        if len(current) == MAX_CALLS or size + length > MAX_BYTES:
            chunks.append(current)
            current, size = [], 0
        current.append(item)
        size += length
    return [*chunks, current] if current else chunks


def _pack_in_order(items: Sequence[_Item]) -> list[_Item]:
    chunk: list[_Item] = []
    size = 0
    for item in items[:MAX_CALLS]:
        if item.command is None or size + len(item.command) + 16 > MAX_BYTES:
            return chunk or [item]
        chunk.append(item)
        size += len(item.command) + 16
    return chunk


def exchange(
    calls: Sequence[Call],
    commands: Sequence[str],
    session: Session,
    progress: Progress,
    *,
    halt: bool = False,
) -> Conversation[list[Outcome | None]]:
    """Send one ``batch``, under the keys ``c0``, ``c1``, …, and repeat nothing of what is inside.

    :param calls: what is asked, for the errors.
    :param commands: the same as commands; references between them are possible.
    :param progress: of the batch as a whole.
    :return: a generator whose result has for each call its reply, its error, or ``None`` when the portal did not come
        to it because of ``halt``.
    :raises Bitrix24Error: when the batch as a whole has failed.
    """
    session.observer.on_batch(len(calls))
    params = {"halt": "1" if halt else "0", "cmd": {f"c{index}": text for index, text in enumerate(commands)}}
    reply = yield from converse(progress.call, session, progress=progress, params=params)
    if not isinstance(reply.result, dict):
        raise TransportError(
            "unreadable_answer", "The answer to the batch is not understood; the calls may have been done.",
            None, "batch", session.portal, ambiguous=True,
        )  # fmt: skip
    parts = {
        name: part if isinstance(part := reply.result.get(name), dict) else {}
        for name in ("result", "result_error", "result_total", "result_next", "result_time")
    }
    return [
        _part(call, f"c{index}", parts, session, progress.portal_now, halt=halt)
        for index, call in enumerate(calls)
    ]


def _part(
    call: Call,
    key: str,
    parts: Mapping[str, Mapping[str, Any]],
    session: Session,
    portal_now: float,
    *,
    halt: bool,
) -> Outcome | None:
    if key in parts["result_error"]:
        data = parts["result_error"][key]
        fields = (
            data if isinstance(data, Mapping) else {"error": "unknown_error", "error_description": str(data)}
        )
        error = error_from_json(fields, None, call, session)
        session.note_error(call.method, error)
        return error
    if key in parts["result"]:
        reply = Reply.from_json({
            "result": parts["result"][key],
            "total": parts["result_total"].get(key),
            "next": parts["result_next"].get(key),
            "time": parts["result_time"].get(key),
        })  # fmt: skip
        session.note_reply(call.method, reply.time, portal_now)
        return reply
    if halt:
        return None
    return TransportError(
        "no_answer_in_batch", "The batch was answered, but this call was not; it may have been done.",
        None, call.method, session.portal, ambiguous=True,
    )  # fmt: skip


def _send(
    chunk: list[_Item], session: Session, gone: list[Bitrix24Error], *, halt: bool = False
) -> Conversation[None]:
    """Send one request and settle its calls.

    :param gone: errors after which no further request makes sense; filled here and heeded here.
    """
    if gone:
        for item in chunk:
            item.outcome = _for_item(gone[0], item)
        return
    try:
        if len(chunk) == 1:
            item = chunk[0]
            item.outcome = yield from converse(item.call, session, progress=item.progress, params=item.params)
            return
        for item in chunk:
            item.progress.attempt += 1
        commands = [item.command or "" for item in chunk]
        outcomes = yield from exchange(
            [item.call for item in chunk], commands, session, _patience_of(chunk, session), halt=halt
        )
    except Bitrix24Error as error:
        failure = error
    else:
        for item, outcome in zip(chunk, outcomes, strict=True):
            if outcome is not None:
                item.settle(outcome, session)
        return
    yield from _after_failure(chunk, failure, session, gone, halt=halt)


def _patience_of(chunk: list[_Item], session: Session) -> Progress:
    """Let a batch take as long as its most patient call, and not be repeated: its calls are, one by one."""
    left = [item.progress.remaining() for item in chunk]
    known = [seconds for seconds in left if seconds is not None]
    outer = Call("batch", repeatable=False)
    return Progress(outer, session, max(known) if len(known) == len(left) else None)


def _after_failure(
    chunk: list[_Item], error: Bitrix24Error, session: Session, gone: list[Bitrix24Error], *, halt: bool
) -> Conversation[None]:
    if len(chunk) == 1:
        chunk[0].outcome = error
    elif isinstance(error, BatchError):
        middle = len(chunk) // 2
        yield from _send(chunk[:middle], session, gone, halt=halt)
        if not halt:
            yield from _send(chunk[middle:], session, gone)
    elif error.ambiguous:
        for item in chunk:
            own = _for_item(error, item)
            # The batch as a whole must not be repeated; whether this call may be is for its own rule to say.
            own.retryable = type(error).retryable
            item.settle(own, session)
    else:
        for item in chunk:
            item.outcome = _for_item(error, item)
    if isinstance(error, (AuthError, PortalBlockedError)) and (len(chunk) > 1):
        gone.append(error)


def _for_item(error: Bitrix24Error, item: _Item) -> Bitrix24Error:
    own = copy.copy(error)
    own.method = item.call.method
    return own
