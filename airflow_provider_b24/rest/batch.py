"""Many calls in few requests: up to 50 as one ``batch``, each with its own reply or error.

Each call is an item, and has one outcome. A request carries items that have none yet; what it tells of an item becomes
its outcome, or leaves it open for a later request. What has an outcome is never sent again.

Items whose order matters are a group. Its beginning travels in one request, which stops at the first that fails. An
item that needs the result of another stands behind it in a group: the portal puts the result in its place, or, when the
other was answered before, we do.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import AuthError, BatchError, Bitrix24Error, PortalBlockedError
from airflow_provider_b24.rest.apis import APIS, ApiVersion
from airflow_provider_b24.rest.batch_items import Item, groups_of
from airflow_provider_b24.rest.batch_sizes import MAX_CALLS
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.conversation import closed_error
from airflow_provider_b24.rest.encoding import UnsendableValueError
from airflow_provider_b24.rest.exchange import Outcome, alone, exchange
from airflow_provider_b24.rest.methods import Effect
from airflow_provider_b24.rest.repeating import Progress
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

    :param calls: the calls. Without ``halt`` their order counts only where one refers to another with :class:`Ref`; it
        is not made when the other has failed, and gets a :class:`BatchError` with the code ``needed_call_failed``.
    :param halt: do them one after the other and stop at the first that fails for good; those behind it that were
        certainly not called get a :class:`BatchError` with the code ``halted``.
    :param deadline: seconds it may take in all; ``None`` for the session's own deadline.
    :param on_outcome: is told the number of a call and its outcome as soon as it has one.
    :param api: of the pairs among the calls.
    :return: a generator whose result is a :class:`Reply` or :class:`Bitrix24Error` per call, in order.
    :raises UnsendableValueError: when a parameter cannot be sent, or refers to no call before it; nothing was sent.

    Documentation: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/batch.html
    """
    items: list[Item] = []
    named: dict[str, Item] = {}
    for number, call in enumerate(as_call(call, api) for call in calls):
        item = Item(call, session, deadline, number, named, halt=halt)
        item.on_outcome = on_outcome
        items.append(item)
        if call.name is not None and named.setdefault(call.name, item) is not item:
            raise UnsendableValueError(f"Two calls of the batch have the name {call.name!r}")
    yield from _in_order(items, session) if halt else _in_any_order(items, session)
    return [item.outcome for item in items if item.outcome is not None]


def _in_any_order(items: Sequence[Item], session: Session) -> Conversation[None]:
    while waiting := _waiting(items, session):
        ready = yield from _first_ready(waiting, session)
        groups = groups_of(_with_followers(ready, waiting, session))
        # A request that stops at the first failure holds up what it does not concern.
        for is_ordered in (False, True):
            queue = _Queue([group for group in groups if (len(group) > 1) is is_ordered], session)
            workers = min(AT_ONCE, len(queue))
            if workers == 1 or queue.fits_one_request():
                yield from _work(queue, session)
            elif workers:
                yield Together([_work(queue, session) for _ in range(workers)])


def _in_order(items: Sequence[Item], session: Session) -> Conversation[None]:
    while waiting := _waiting(items, session):
        failed = next((item for item in items if isinstance(item.outcome, Bitrix24Error)), None)
        if failed is not None:
            number = failed.number + 1
            for item in waiting:
                if item.number > failed.number:
                    item.leave_out(_halted(item.call.method, number, failed.call.method, session))
            waiting = [item for item in waiting if item.outcome is None]
        if waiting and (yield from _first_ready(waiting[:1], session)):
            yield from _send(_portion([waiting], session), session)


def _waiting(items: Sequence[Item], session: Session) -> list[Item]:
    """Give the items that have no outcome yet."""
    for item in items:
        if item.needs and item.outcome is None:
            item.look_at_needs(session.portal)
    return [item for item in items if item.outcome is None]


def _with_followers(ready: list[Item], waiting: Sequence[Item], session: Session) -> list[Item]:
    """Add to the items that may be sent those that need nothing but their results, in order."""
    numbers = {item.number for item in ready}
    now = session.clock()
    for item in waiting:
        needs = item.open_needs() if item.needs else []
        if (
            needs
            and all(need.number in numbers for need in needs)
            and item.not_before <= now
            and session.pacer.closed(session.owner, item.call.method) is None
        ):
            numbers.add(item.number)
    return ready if len(numbers) == len(ready) else [item for item in waiting if item.number in numbers]


def _halted(method: str, number: int, failed: str, session: Session) -> BatchError:
    text = f"Not called, because call number {number} ({failed}) failed."
    return BatchError("halted", text, None, method, session.portal)


def _first_ready(waiting: Sequence[Item], session: Session) -> Conversation[list[Item]]:
    """Wait for the first items that may be sent: those whose method is closed let the others go ahead."""
    now = session.clock()
    due: list[tuple[float, Item]] = []
    for item in waiting:
        if item.needs and item.open_needs():
            continue
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
    """Groups that may be sent, for the workers that send them at the same time."""

    def __init__(self, groups: Sequence[list[Item]], session: Session) -> None:
        # What goes alone does so first: between the others it would split their requests.
        self._groups = deque(
            sorted(groups, key=lambda group: (group[0].command is not None, group[0].call.api))
        )
        self._session = session
        self._lock = threading.Lock()
        self.refusal: Bitrix24Error | None = None
        """Why no further request makes sense."""

    def __len__(self) -> int:
        return len(self._groups)

    def fits_one_request(self) -> bool:
        return _portion(self._groups, self._session) == list(self._groups)

    def take(self) -> list[list[Item]]:
        with self._lock:
            portion = _portion(self._groups, self._session)
            for _ in portion:
                self._groups.popleft()
            return portion


def _portion(groups: Iterable[list[Item]], session: Session) -> list[list[Item]]:
    """Give the first groups that one request can carry, or as much of the first group as it can."""
    portion: list[list[Item]] = []
    count, length, size = 0, 0.0, MAX_CALLS
    for group in groups:
        for place, item in enumerate(group):
            size = min(size, session.sizes.of(item.call.method))
            length += item.length()
            first = portion[0][0] if portion else group[0]
            is_full = count + place >= size or length > MAX_BYTES or item.call.api != first.call.api
            if count + place and is_full:
                return portion or [group[:place]]
        portion.append(group)
        count += len(group)
        if length >= MAX_BYTES:
            break
    return portion


def _work(queue: _Queue, session: Session) -> Conversation[None]:
    """Send what waits, one request after the other."""
    while portion := queue.take():
        if queue.refusal is not None:
            for item in chain.from_iterable(portion):
                item.finish_with(queue.refusal)
            continue
        error = yield from _send(portion, session)
        if isinstance(error, (AuthError, PortalBlockedError)):
            queue.refusal = error


def _send(groups: Sequence[list[Item]], session: Session) -> Conversation[Bitrix24Error | None]:
    """Send one request; each of its items gets an outcome or stays open.

    :return: the error of a batch that was refused as a whole.
    """
    portion = list(chain.from_iterable(groups))
    if len(portion) == 1:
        [item] = portion
        try:
            item.finish((yield from alone(item.call, session, item.progress, item.params)))
        except Bitrix24Error as error:
            item.finish(error)
        return None
    places = {item.number: place for place, item in enumerate(portion)}
    for item in portion:
        item.progress.attempt += 1
        if item.needs:
            item.encode(places)
    commands = [item.command or "" for item in portion]
    halt = len(portion) > len(groups)
    try:
        outcomes = yield from exchange(
            [item.call for item in portion], commands, session, _progress_of(portion, session), halt=halt
        )
    except BatchError:
        return None  # Nothing was done; the next requests are smaller.
    except Bitrix24Error as error:
        if error.ambiguous:
            for group in groups:
                _after_lost_request(group, error, session)
            return None
        if APIS[portion[0].call.api].fails_as_a_whole and _is_about_one_call(error):
            return (yield from _send_in_halves(groups, session))
        for item in portion:
            item.finish_with(error)
        return error
    for item, outcome in zip(portion, outcomes, strict=True):
        if isinstance(outcome, Reply):
            item.finish(outcome)
            item.warn_of_nothing(session.portal)
        elif outcome is not None:
            if outcome.code.upper() == "ERROR_BATCH_METHOD_NOT_ALLOWED":
                item.refuse_batches()
            else:
                item.judge(outcome, session)
    return None


def _is_about_one_call(error: Bitrix24Error) -> bool:
    return error.status not in (None, 401) and type(error) in (Bitrix24Error, AuthError)


def _send_in_halves(groups: Sequence[list[Item]], session: Session) -> Conversation[Bitrix24Error | None]:
    """Find out which of the calls was refused; in a group, what is behind it stays open."""
    if len(groups) == 1:
        [group] = groups
        return (yield from _send([group[: len(group) // 2]], session))
    middle = len(groups) // 2
    error = yield from _send(groups[:middle], session)
    return (yield from _send(groups[middle:], session)) or error


def _after_lost_request(group: Sequence[Item], error: Bitrix24Error, session: Session) -> None:
    """Decide about the items of a group, which may all be done, some of them, or none.

    Each goes by its own rule; but in order, what must not be done twice keeps everything before it from being done
    after it, unless that only reads.
    """
    again = group
    if any(item.progress.effect is Effect.CREATES for item in group):
        again = list(takewhile(lambda item: item.progress.effect is Effect.READS, group))
    for item in group:
        own = copy.copy(error)
        own.method = item.call.method
        # The batch as a whole must not be repeated; whether this call may be is for its own rule to say.
        own.retryable = type(error).retryable
        if item in again:
            item.judge(own, session)
        else:
            item.progress.judge(own)
            item.finish(own)


def _progress_of(portion: Sequence[Item], session: Session) -> Progress:
    """Let a batch take as long as its most patient call, and not be repeated: its calls are, one by one."""
    left = [item.progress.remaining() for item in portion]
    known = [seconds for seconds in left if seconds is not None]
    deadline = max(known) if len(known) == len(left) else None
    outer = Call("batch", repeatable=False, deadline=deadline, api=portion[0].call.api)
    return Progress(outer, session)
