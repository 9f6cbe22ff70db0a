"""Reading long lists with few requests: pages chained by their last id inside batches, without counting.

The first request asks for the first and for the last page. From then on the list's end is known: each further
request holds as many pages as can still be missing, up to 50, and each page begins behind the last id of the page
before it. Methods that cannot order and filter by id are read by offset, up to 50 pages a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import BatchError, Bitrix24Error
from airflow_provider_b24.rest.batch_sizes import MAX_CALLS
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.conversation import pause, wait_until_open
from airflow_provider_b24.rest.encoding import (
    RESULT_REFERENCE,
    Reference,
    UnsendableValueError,
    command,
    parameters,
)
from airflow_provider_b24.rest.exchange import Outcome, alone, exchange
from airflow_provider_b24.rest.repeating import Again, Progress
from airflow_provider_b24.rest.wire import Conversation, Page

if TYPE_CHECKING:
    from airflow_provider_b24.rest.session import Session

PAGE_SIZE = 50


def converse_list(
    call: Call,
    session: Session,
    *,
    id_field: str = "ID",
    limit: int | None = None,
    deadline: float | None = None,
) -> Conversation[None]:
    """Hold the conversation of reading a list; the records come as :class:`Page` actions.

    What is added to the list after the reading has begun may be missing; a record never comes twice when the list is
    read by id.

    :param call: a list method and its parameters.
    :param session: what the client's conversations share.
    :param id_field: name of the field that numbers the records.
    :param limit: stop after so many records.
    :param deadline: seconds each request may take in all; ``None`` for the session's own deadline.
    :raises Bitrix24Error: when a page has failed for good, or the method gives no list.
    :raises UnsendableValueError: when the parameters cannot be sent.

    Documentation: https://apidocs.bitrix24.com/settings/performance/huge-data.html
    """
    reading = _Reading(call, session, id_field, limit, deadline)
    if limit == 0:
        return
    ends = (yield from _ends(reading)) if reading.is_by_id else None
    yield from _by_offset(reading) if ends is None else _by_id(reading, *ends)


class _Reading:
    """What is asked for, how pages of it are asked for, and how many records are still wanted."""

    def __init__(
        self, call: Call, session: Session, id_field: str, limit: int | None, deadline: float | None
    ) -> None:
        if limit is not None and limit < 0:
            raise UnsendableValueError(f"{call.method}: a limit of {limit} records makes no sense")
        self.call = Call(call.method, call.params, repeatable=True, deadline=deadline)
        self.session = session
        facts = session.facts(call.method)
        self.id_field = facts.id_field if id_field == "ID" else id_field
        self._left = limit
        given = parameters(call.method, call.params)
        self._params = {name: value for name, value in given.items() if value not in ([], {})}
        names = {name.lower(): name for name in self._params}
        if "start" in names:
            raise UnsendableValueError(
                f"{call.method}: 'start' is decided by the reading itself; filter by id to begin later"
            )
        self._order, self._filter, self._select = (
            names.get(name, name) for name in ("order", "filter", "select")
        )
        order = self._params.get(self._order) or {}
        self._stable_order = facts.order if not order and "sort" not in names else {}
        self.is_by_id = facts.read_by == "id" and "sort" not in names and self._is_by_id(order)
        self._user_filter: dict[str, Any] = {}
        self.after = 0
        if self.is_by_id:
            self._user_filter, self.after = self._read_filter()
        self._progress = Progress(self.call, session)

    def _is_by_id(self, order: object) -> bool:
        if not isinstance(order, dict):
            return False
        ways = [(name.lower(), str(way).lower()) for name, way in order.items()]
        return ways in ([], [(self.id_field.lower(), "asc")])

    def _read_filter(self) -> tuple[dict[str, Any], int]:
        """Give the caller's filter, and the id behind which to begin."""
        given = self._params.get(self._filter) or {}
        if not isinstance(given, dict):
            raise UnsendableValueError(f"{self.call.method}: {self._filter!r} must be a mapping")
        try:
            return given, int(given.get(f">{self.id_field}", "0"))
        except (TypeError, ValueError):
            raise UnsendableValueError(
                f"{self.call.method}: '>{self.id_field}' in the filter must be a number"
            ) from None

    def behind(self, after: str, way: str = "ASC") -> dict[str, Any]:
        """Give the parameters of the page behind an id."""
        params = {
            **self._params,
            self._order: {self.id_field: way},
            self._filter: {**self._user_filter, f">{self.id_field}": after},
            "start": "-1",
        }
        select = params.get(self._select)
        if (
            isinstance(select, list)
            and "*" not in select
            and not any(str(name).lower() == self.id_field.lower() for name in select)
        ):
            params[self._select] = [*select, self.id_field]
        return params

    def at(self, offset: int) -> dict[str, Any]:
        """Give the parameters of the page at an offset."""
        order = {self._order: dict(self._stable_order)} if self._stable_order else {}
        return {**self._params, **order, "start": str(offset)}

    @property
    def is_enough(self) -> bool:
        """Whether no more records are wanted."""
        return self._left == 0

    def pages(self, missing: int, page_size: int) -> int:
        """Tell how many pages to ask for in one request, when so many records may be missing."""
        wanted = missing if self._left is None else min(missing, self._left)
        return max(1, min(-(-wanted // page_size), self.session.sizes.of(self.call.method)))

    def take(self, rows: Sequence[Any]) -> Iterator[Page]:
        """Hand out records, no more than are wanted."""
        wanted = rows if self._left is None else rows[: self._left]
        if self._left is not None:
            self._left -= len(wanted)
        if wanted:
            yield Page(list(wanted))

    def rows(self, reply: Reply) -> Sequence[Any]:
        """Find the records of a page.

        :raises Bitrix24Error: when there are none to be found.
        """
        return self.find(reply)[0]

    def find(self, reply: Reply) -> tuple[Sequence[Any], tuple[str, ...]]:
        """Find the records of a page, bare, under a key such as ``items``, or keyed by their ids; and that key."""
        result = reply.result
        if isinstance(result, list):
            return result, ()
        if isinstance(result, Mapping):
            for key, value in result.items():
                if isinstance(value, list):
                    return value, (str(key),)
            if all(isinstance(value, Mapping) for value in result.values()):
                return list(result.values()), ()
        raise self.error(
            "not_a_list", "The response holds no list: this method cannot be read record by record."
        )

    def ids(self, rows: Sequence[Any]) -> list[int]:
        """Read the ids of records; none when one has no id, or one that is no number."""
        name = self.id_name(rows[0]) if rows else ""
        try:
            return [int(row[name]) for row in rows]
        except (KeyError, TypeError, ValueError):
            return []

    def id_name(self, row: Any) -> str:
        """Tell what a record calls its id."""
        names = map(str, row) if isinstance(row, Mapping) else ()
        return next((name for name in names if name.lower() == self.id_field.lower()), "")

    def error(self, code: str, text: str) -> Bitrix24Error:
        """Make an error of this reading."""
        return Bitrix24Error(code, text, None, self.call.method, self.session.portal)

    def ask(self, pages: Sequence[dict[str, Any]]) -> Conversation[list[Reply]]:
        """Ask for pages, in order and in one request.

        :return: the replies of those that came: fewer than asked for when one has failed, or a request may not hold
            so many. What may pass has been waited for.
        :raises Bitrix24Error: when it does not pass.
        """
        session, method = self.session, self.call.method
        pages = pages[: session.sizes.of(method)]
        replies: list[Reply] = []
        failure: Bitrix24Error | None = None
        if len(pages) == 1:
            replies.append((yield from alone(self.call, session, Progress(self.call, session), pages[0])))
        else:
            for outcome in (yield from self._batch(pages)):
                if not isinstance(outcome, Reply):
                    failure = outcome
                    break
                replies.append(outcome)
        if replies:
            self._progress = Progress(self.call, session)
        if failure is not None:
            failure.method = method
            verdict = self._progress.judge(failure)
            if not isinstance(verdict, Again):
                raise failure
            yield from pause(verdict, method, session)
        return replies

    def _batch(self, pages: Sequence[Mapping[str, Any]]) -> Conversation[Sequence[Outcome | None]]:
        progress = Progress(Call("batch", repeatable=False, deadline=self.call.deadline), self.session)
        refusal = yield from wait_until_open(self.call.method, self.session, progress)
        if refusal is not None:
            raise refusal
        commands, calls = [self._command(params) for params in pages], [self.call] * len(pages)
        try:
            return (yield from exchange(calls, commands, self.session, progress, halt=True))
        except BatchError:
            return []  # The next request is smaller.
        except Bitrix24Error as error:
            error.method = self.call.method
            if not error.ambiguous:
                raise
            error.retryable = type(error).retryable  # Of the batch it was said that it must not be repeated.
            return [error]

    def _command(self, params: Mapping[str, Any]) -> str:
        text = command(self.call.method, params)
        if text is None:
            raise UnsendableValueError(
                f"{self.call.method}: a list is read in batches, which cannot carry these parameters "
                f"(an empty list inside, a name with brackets, or a text with {RESULT_REFERENCE!r})"
            )
        return text


def _ends(reading: _Reading) -> Conversation[tuple[Reply, Reply] | None]:
    """Ask for the first and for the last page.

    :return: ``None`` when they show that the method does not order and filter by id.
    """
    wanted = [reading.behind(str(reading.after)), reading.behind(str(reading.after), "DESC")]
    replies: list[Reply] = []
    try:
        while len(replies) < len(wanted):
            replies += yield from reading.ask(wanted[len(replies) :])
    except Bitrix24Error as error:
        if type(error) is Bitrix24Error and error.code.upper() != "ERROR_METHOD_NOT_FOUND":
            return None  # It may have refused the filter or the order. What it says without them, counts.
        raise
    head, tail = replies
    first, last = reading.rows(head), reading.rows(tail)
    ids, last_ids = reading.ids(first), reading.ids(last)[::-1]
    if not first:
        return head, tail
    ordered = _ascending(ids, reading.after) and _ascending(last_ids, reading.after)
    return (head, tail) if ids and last_ids and ordered and ids[-1] <= last_ids[-1] else None


def _by_id(reading: _Reading, head: Reply, tail: Reply) -> Conversation[None]:
    """Hand out the first page, what lies between, and the last page."""
    rows, path = reading.find(head)
    if not rows:
        return
    yield from reading.take(rows)
    last, size = reading.ids(rows)[-1], len(rows)
    place = "".join(f"[{key}]" for key in (*path, str(size - 1), reading.id_name(rows[0])))
    end_rows = reading.rows(tail)[::-1]
    end_ids = reading.ids(end_rows)
    chained = True
    while last + 1 < end_ids[0] and not reading.is_enough:
        count = reading.pages(end_ids[0] - 1 - last, size) if chained else 1
        references = [Reference(f"{RESULT_REFERENCE}c{index}]{place}") for index in range(count - 1)]
        replies = yield from reading.ask([reading.behind(after) for after in (str(last), *references)])
        for index, reply in enumerate(replies):
            rows = reading.rows(reply)
            ids = reading.ids(rows)
            if index and not (ids and _ascending(ids, last)):
                # The reference led nowhere, although the page before was full: this portal resolves none.
                chained = False
                break
            if not _ascending(ids, last) or (rows and not ids):
                raise reading.error(
                    "list_does_not_advance",
                    f"The page behind {reading.id_field} {last} does not begin behind it: the list cannot be read "
                    "by id.",
                )
            between = [row for row, number in zip(rows, ids, strict=True) if number < end_ids[0]]
            yield from reading.take(between)
            last = ids[-1] if ids and len(between) == len(rows) else end_ids[0] - 1
            if len(rows) < size:
                break  # A reference to it leads nowhere.
        del replies
    yield from reading.take([row for row, number in zip(end_rows, end_ids, strict=True) if number > last])


def _by_offset(reading: _Reading) -> Conversation[None]:
    """Hand out page after page by offset. The first one tells how many there are."""
    [reply] = yield from reading.ask([reading.at(0)])
    rows = reading.rows(reply)
    first_rows, first_ids, read = rows, reading.ids(rows), len(rows)
    yield from reading.take(rows)
    offset, step, total = reply.next, reply.next or PAGE_SIZE, reply.total
    while offset is not None and not reading.is_enough and (total is None or offset < total):
        count = reading.pages(MAX_CALLS * step if total is None else total - offset, step)
        replies = yield from reading.ask([reading.at(offset + index * step) for index in range(count)])
        for reply in replies:
            rows = reading.rows(reply)
            if not rows:
                return
            if (reply.next is not None and reply.next <= offset) or is_repeated(
                rows, first_rows, reading.ids(rows), first_ids
            ):
                raise reading.error(
                    "list_does_not_advance",
                    f"The method ignores 'start': behind the first {read} records it gives the same again.",
                )
            yield from reading.take(rows)
            read += len(rows)
            following, offset = offset + step, reply.next
            if offset != following:
                break


def is_repeated(
    rows: Sequence[Any], earlier: Sequence[Any], ids: Sequence[int], earlier_ids: Sequence[int]
) -> bool:
    """Tell whether a page is an earlier one again. Records that are all the same without an id prove nothing."""
    if ids or earlier_ids:
        return ids == earlier_ids
    return rows == earlier and any(row != rows[0] for row in rows)


def _ascending(ids: Sequence[int], after: int) -> bool:
    return all(one < other for one, other in zip((after, *ids), ids, strict=False))
