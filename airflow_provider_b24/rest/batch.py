"""Many calls in few requests: up to 50 as one ``batch``, each with its own reply or error.

Each call is an item, and has one outcome. A request carries items that have none yet; what it tells of an item becomes
its outcome, or leaves it open for a later request. What has an outcome is never sent again.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import (
    AuthError,
    BatchError,
    Bitrix24Error,
    PortalBlockedError,
    TransportError,
)
from airflow_provider_b24.rest.apis import APIS, Answered, ApiVersion
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.conversation import closed_error, converse, error_from_json
from airflow_provider_b24.rest.encoding import UnsendableValueError
from airflow_provider_b24.rest.methods import Effect
from airflow_provider_b24.rest.repeating import Again, Progress
from airflow_provider_b24.rest.wire import Conversation, Together

if TYPE_CHECKING:
    from airflow_provider_b24.rest.session import Session

MAX_BYTES = 1_000_000
"""A request longer than this is split; what a portal really accepts depends on its web server."""
AT_ONCE = 4
"""Requests under way at the same time: enough to use the limit when each takes a second or two."""
_GATHER = 1.0
"""Calls that may be repeated within so many seconds of each other are sent together."""

AnyCall = Call | tuple[str, Mapping[str, Any]]
Outcome = Reply | Bitrix24Error
OnOutcome = Callable[[int, Outcome], None]


def as_call(call: AnyCall, api: ApiVersion = "v2") -> Call:
    """Accept a :class:`Call` or a ``(method, params)`` pair.

    :param api: of a pair; a :class:`Call` has its own.
    :raises UnsendableValueError: when it is neither.
    """
    if isinstance(call, Call):
        return call
    if isinstance(call, tuple) and len(call) == 2:
        return Call(call[0], call[1] or {}, api=api)
    raise UnsendableValueError(
        f"Expected a Call or a pair of method and parameters, not {type(call).__name__}"
    )


def converse_batch(
    calls: Iterable[AnyCall],
    session: Session,
    *,
    halt: bool = False,
    deadline: float | None = None,
    on_outcome: OnOutcome | None = None,
    api: ApiVersion = "v2",
) -> Conversation[list[Outcome]]:
    """Hold the conversation of any number of calls.

    A call that no batch can carry goes alone: one with a text that begins with ``$result[``, with an empty list, or of
    a method that refuses to be called in a batch. In REST 3.0 a batch fails as a whole and does not say what was done:
    there calls that change something go alone, unless they only set what they say (``*.update``) in any order; the
    parts of a batch that failed are asked for again, until it is known which call it was.

    :param calls: the calls. Without ``halt`` they must not depend on each other's order.
    :param halt: do them one after the other and stop at the first that fails for good; those behind it that were
        certainly not called get a :class:`BatchError` with the code ``halted``.
    :param deadline: seconds it may take in all; ``None`` for the session's own deadline.
    :param on_outcome: is told the number of a call and its outcome as soon as it has one.
    :param api: of the pairs among the calls.
    :return: a generator whose result is a :class:`Reply` or :class:`Bitrix24Error` per call, in order.
    :raises UnsendableValueError: when a parameter cannot be sent; nothing was.

    Documentation: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/batch.html
    """
    items = [
        _Item(as_call(call, api), session, deadline, number, halt=halt) for number, call in enumerate(calls)
    ]
    for item in items:
        item.on_outcome = on_outcome
    yield from _in_order(items, session) if halt else _in_any_order(items, session)
    return [item.outcome for item in items if item.outcome is not None]


class _Item:
    """One call of a batch and what has become of it.

    :param deadline: seconds it may take in all, if the call does not say.
    :param number: its place among the calls.
    """

    def __init__(
        self, call: Call, session: Session, deadline: float | None, number: int, *, halt: bool
    ) -> None:
        api = APIS[call.api]
        self.call = call
        self.params = api.parameters(call.method, call.params)
        self.progress = Progress(call, session, deadline)
        # A batch has one header, and so no room for keys.
        self.command = (
            api.command(call.method, self.params, self.progress.effect, halt=halt)
            if call.idempotency_key is None
            else None
        )
        self.outcome: Outcome | None = None
        self.on_outcome: OnOutcome | None = None
        self.not_before = 0.0
        self._number = number

    def finish(self, outcome: Outcome) -> None:
        """Give the item its outcome."""
        self.outcome = outcome
        if self.on_outcome is not None:
            self.on_outcome(self._number, outcome)

    def finish_with(self, error: Bitrix24Error) -> None:
        """Finish with an error that concerns more items than this."""
        own = copy.copy(error)
        own.method = self.call.method
        self.finish(own)

    def judge(self, error: Bitrix24Error, session: Session) -> None:
        """Finish with an error, or leave the item open when it may be sent again."""
        verdict = self.progress.judge(error)
        if isinstance(verdict, Again):
            session.observer.on_retry(verdict.cause)
            self.not_before = session.clock() + verdict.delay
        else:
            self.finish(verdict)

    def length(self) -> int:
        """How many bytes the item adds to a request: too many when no batch can carry it."""
        return MAX_BYTES if self.command is None else len(self.command) + 16


def _in_any_order(items: Sequence[_Item], session: Session) -> Conversation[None]:
    while waiting := [item for item in items if item.outcome is None]:
        ready = yield from _first_ready(waiting, session)
        queue = _Queue(ready, session)
        workers = min(AT_ONCE, len(ready))
        if workers == 1 or queue.fits_one_request():
            yield from _work(queue, session)
        elif workers:
            yield Together([_work(queue, session) for _ in range(workers)])


def _in_order(items: Sequence[_Item], session: Session) -> Conversation[None]:
    while waiting := [item for item in items if item.outcome is None]:
        ready = yield from _first_ready(waiting[:1], session)
        if ready:
            yield from _send(_portion(waiting, session), session, halt=True)
        failed = next((item for item in items if isinstance(item.outcome, Bitrix24Error)), None)
        if failed is None:
            continue
        number = items.index(failed) + 1
        for item in items[number:]:
            if item.outcome is None:
                item.finish(_halted(item.call.method, number, failed.call.method, session))


def _halted(method: str, number: int, failed: str, session: Session) -> BatchError:
    text = f"Not called, because call number {number} ({failed}) failed."
    return BatchError("halted", text, None, method, session.portal)


def _first_ready(waiting: Sequence[_Item], session: Session) -> Conversation[list[_Item]]:
    """Wait for the first items that may be sent: those whose method is closed let the others go ahead."""
    now = session.clock()
    due: list[tuple[float, _Item]] = []
    for item in waiting:
        not_before = item.not_before
        closed = session.pacer.closed(session.owner, item.call.method)
        if closed is not None:
            remaining = item.progress.remaining()
            if remaining is not None and closed.seconds > remaining:
                item.finish(closed_error(item.call.method, closed, session))
                continue
            not_before = max(not_before, now + closed.seconds)
        due.append((not_before, item))
    if not due:
        return []
    horizon = max(now, min(when for when, _ in due) + _GATHER)
    ready = [(when, item) for when, item in due if when <= horizon]
    seconds = max(when for when, _ in ready) - now
    if seconds > 0:
        cause = "retry" if seconds <= session.patience.longest_delay else "operating_time"
        yield from session.wait(seconds, cause, ready[0][1].call.method)
    return [item for _, item in ready]


class _Queue:
    """Items that may be sent, for the workers that send them at the same time."""

    def __init__(self, items: Sequence[_Item], session: Session) -> None:
        # What goes alone does so first: between the others it would split their requests.
        self._items = deque(sorted(items, key=lambda item: (item.command is not None, item.call.api)))
        self._session = session
        self._lock = threading.Lock()
        self.refusal: Bitrix24Error | None = None
        """Why no further request makes sense."""

    def fits_one_request(self) -> bool:
        return len(_portion(self._items, self._session)) == len(self._items)

    def take(self) -> list[_Item]:
        with self._lock:
            portion = _portion(self._items, self._session)
            for _ in portion:
                self._items.popleft()
            return portion


def _portion(items: Iterable[_Item], session: Session) -> list[_Item]:
    """Give the first items that one request can carry: at least one."""
    portion: list[_Item] = []
    length, size = 0, None
    for item in items:
        limit = session.sizes.of(item.call.method)
        size = limit if size is None else min(size, limit)
        length += item.length()
        if portion and (len(portion) >= size or length > MAX_BYTES or item.call.api != portion[0].call.api):
            break
        portion.append(item)
        if length >= MAX_BYTES:
            break
    return portion


def _work(queue: _Queue, session: Session) -> Conversation[None]:
    """Send what waits, one request after the other."""
    while portion := queue.take():
        if queue.refusal is not None:
            for item in portion:
                item.finish_with(queue.refusal)
            continue
        error = yield from _send(portion, session)
        if isinstance(error, (AuthError, PortalBlockedError)):
            queue.refusal = error


def _send(
    portion: Sequence[_Item], session: Session, *, halt: bool = False
) -> Conversation[Bitrix24Error | None]:
    """Send one request; each of its items gets an outcome or stays open.

    :return: the error of a batch that was refused as a whole.
    """
    if len(portion) == 1:
        [item] = portion
        try:
            item.finish((yield from alone(item.call, session, item.progress, item.params)))
        except Bitrix24Error as error:
            item.finish(error)
        return None
    for item in portion:
        item.progress.attempt += 1
    commands = [item.command or "" for item in portion]
    try:
        outcomes = yield from exchange(
            [item.call for item in portion], commands, session, _progress_of(portion, session), halt=halt
        )
    except BatchError:
        return None  # Nothing was done; the next requests are smaller.
    except Bitrix24Error as error:
        if error.ambiguous:
            _after_lost_request(portion, error, session, halt=halt)
            return None
        if APIS[portion[0].call.api].fails_as_a_whole and _is_about_one_call(error):
            return (yield from _send_in_halves(portion, session, halt=halt))
        for item in portion:
            item.finish_with(error)
        return error
    for item, outcome in zip(portion, outcomes, strict=True):
        if isinstance(outcome, Reply):
            item.finish(outcome)
        elif outcome is not None:
            if outcome.code.upper() == "ERROR_BATCH_METHOD_NOT_ALLOWED":
                item.command = None
            else:
                item.judge(outcome, session)
    return None


def _is_about_one_call(error: Bitrix24Error) -> bool:
    return error.status not in (None, 401) and type(error) in (Bitrix24Error, AuthError)


def _send_in_halves(
    portion: Sequence[_Item], session: Session, *, halt: bool
) -> Conversation[Bitrix24Error | None]:
    """Find out which of the calls was refused; in order, what is behind it stays open."""
    middle = len(portion) // 2
    error = yield from _send(portion[:middle], session, halt=halt)
    if halt:
        return error
    return (yield from _send(portion[middle:], session)) or error


def _after_lost_request(
    portion: Sequence[_Item], error: Bitrix24Error, session: Session, *, halt: bool
) -> None:
    """Decide about items that may all be done, some of them, or none.

    Each goes by its own rule; but in order, what must not be done twice keeps everything before it from being done
    after it, unless that only reads.
    """
    again = portion
    if halt and any(item.progress.effect is Effect.CREATES for item in portion):
        again = list(takewhile(lambda item: item.progress.effect is Effect.READS, portion))
    for item in portion:
        own = copy.copy(error)
        own.method = item.call.method
        # The batch as a whole must not be repeated; whether this call may be is for its own rule to say.
        own.retryable = type(error).retryable
        if item in again:
            item.judge(own, session)
        else:
            item.progress.judge(own)
            item.finish(own)


def _progress_of(portion: Sequence[_Item], session: Session) -> Progress:
    """Let a batch take as long as its most patient call, and not be repeated: its calls are, one by one."""
    left = [item.progress.remaining() for item in portion]
    known = [seconds for seconds in left if seconds is not None]
    deadline = max(known) if len(known) == len(left) else None
    outer = Call("batch", repeatable=False, deadline=deadline, api=portion[0].call.api)
    return Progress(outer, session)


def alone(call: Call, session: Session, progress: Progress, params: Mapping[str, Any]) -> Conversation[Reply]:
    """Hold the conversation of one call that could have been in a batch."""
    reply = yield from converse(call, session, progress=progress, params=params)
    session.sizes.succeeded([call.method], 1, progress.seconds, session.timeout_of("batch"))
    return reply


def exchange(
    calls: Sequence[Call], commands: Sequence[str], session: Session, progress: Progress, *, halt: bool
) -> Conversation[list[Outcome | None]]:
    """Send one ``batch``, under the keys ``c0``, ``c1``, …, and repeat nothing of what is inside.

    :param calls: what is asked.
    :param commands: the same as commands; references between them are possible.
    :param progress: of the batch as a whole.
    :return: a generator whose result has for each call its reply, its error, or ``None`` when the portal did not come
        to it because of ``halt``.
    :raises Bitrix24Error: when the batch as a whole has failed.
    """
    size, methods = len(calls), {call.method for call in calls}
    api = APIS[progress.call.api]
    session.observer.on_batch(size)
    params = api.batch(commands, halt=halt)
    try:
        reply = yield from converse(progress.call, session, progress=progress, params=params)
    except Bitrix24Error as error:
        if error.ambiguous or isinstance(error, BatchError):
            session.sizes.failed(methods, size)
        raise
    session.sizes.succeeded(methods, size, progress.seconds, session.timeout_of("batch"))
    try:
        answered = api.split(reply.result, size)
    except ValueError:
        raise TransportError(
            "unreadable_answer", "The response to the batch is not understood; the calls may have been done.",
            None, "batch", session.portal, ambiguous=True,
        ) from None  # fmt: skip
    return _outcomes(calls, answered, session, halt=halt)


def _outcomes(
    calls: Sequence[Call], answered: Sequence[Answered], session: Session, *, halt: bool
) -> list[Outcome | None]:
    outcomes: list[Outcome | None] = []
    halted = False
    for call, data in zip(calls, answered, strict=True):
        if "error" in data:
            error = error_from_json(data, None, call, session)
            session.note_error(call.method, error)
            outcomes.append(error)
            halted = halt
        elif data:
            outcomes.append(Reply.from_json(data))
        elif halted:
            outcomes.append(None)
        else:
            outcomes.append(
                TransportError(
                    "no_answer_in_batch", "The batch was answered, but this call was not; it may have been done.",
                    None, call.method, session.portal, ambiguous=True,
                )
            )  # fmt: skip
    return outcomes
