"""Reading long lists with few requests: pages chained by their last id inside batches, without counting.

The first request asks for the first and for the last page. From then on the list's end is known: each further
request holds as many pages as can still be missing, up to 50, and each page begins behind the last id of the page
before it. Methods that cannot filter by id are read by offset, 50 pages a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.rest.batch import Outcome, exchange
from airflow_provider_b24.rest.batch_sizes import MAX_CALLS
from airflow_provider_b24.rest.call import Call, Reply
from airflow_provider_b24.rest.conversation import converse, pause, wait_until_open
from airflow_provider_b24.rest.encoding import (
    RESULT_REFERENCE,
    Reference,
    UnsendableValueError,
    command,
    plain,
)
from airflow_provider_b24.rest.repeating import Progress
from airflow_provider_b24.rest.wire import Conversation, Page

if TYPE_CHECKING:
    from airflow_provider_b24.rest.session import Session

PAGE_SIZE = 50

_FILTER_BY_SMALL_ID = (
    "crm.item.list",
    "crm.type.list",
    "crm.automatedsolution.list",
    "crm.category.list",
    "catalog.product.list",
    "catalog.section.list",
    "sale.order.list",
    "sale.basketitem.list",
)
FILTER_IDS = dict.fromkeys(_FILTER_BY_SMALL_ID, "id")
"""Methods that filter by another name than ``ID``. What the answer calls it is read from the answer."""

BY_OFFSET = (
    "bizproc.",
    "user.get",
    "user.search",
    "department.get",
    "task.elapseditem.",
    "event.",
    "placement.",
)
"""Methods, or groups of them, that cannot filter by id. Others that cannot are noticed at their first page."""

_STABLE_ORDER = ("bizproc.workflow.instances", "bizproc.workflow.template.list", "bizproc.task.list")


class _Rows(NamedTuple):
    """The records of one page and the keys under which the answer holds them."""

    rows: Sequence[Any]
    path: tuple[str, ...]


class _List:
    """What is asked for, and how far the reading has come."""

    def __init__(self, call: Call, id_field: str, limit: int | None) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"{call.method}: a limit of {limit} records makes no sense")
        self.call = Call(call.method, call.params, repeatable=True)
        method = call.method.lower()
        self.filter_id = FILTER_IDS.get(method, id_field) if id_field == "ID" else id_field
        self.left = limit
        self._params = plain(call.params)
        names = {name.lower(): name for name in self._params}
        if "start" in names:
            raise ValueError(
                f"{call.method}: 'start' is decided by the reading itself; filter by id to begin later"
            )
        self._order, self._filter, self._select = (
            names.get(name, name) for name in ("order", "filter", "select")
        )
        self._user_filter = self._mapping(self._filter)
        self._user_order = self._mapping(self._order) if "order" in names or "sort" not in names else None
        self.after = self._first_after()
        self.by_offset = method.startswith(BY_OFFSET) or not self._orders_by_id()
        self.stable_order = method in _STABLE_ORDER and not self._user_order

    def _mapping(self, name: str) -> dict[str, Any]:
        value = self._params.get(name) or {}
        if not isinstance(value, dict):
            raise ValueError(f"{self.call.method}: {name!r} must be a mapping")
        return value

    def _first_after(self) -> int:
        given = self._user_filter.get(f">{self.filter_id}", "0")
        try:
            return int(given)
        except (TypeError, ValueError):
            raise ValueError(
                f"{self.call.method}: '>{self.filter_id}' in the filter must be a number"
            ) from None

    def _orders_by_id(self) -> bool:
        if self._user_order is None:
            return False
        return [(name.lower(), str(way).lower()) for name, way in self._user_order.items()] in (
            [],
            [(self.filter_id.lower(), "asc")],
        )

    def page(self, after: str, way: str = "ASC") -> str:
        """Give the command for the page behind an id."""
        params = {
            **self._params,
            self._order: {self.filter_id: way},
            self._filter: {**self._user_filter, f">{self.filter_id}": after},
            "start": "-1",
        }
        select = params.get(self._select)
        if (
            isinstance(select, list)
            and "*" not in select
            and not any(str(name).lower() == self.filter_id.lower() for name in select)
        ):
            params[self._select] = [*select, self.filter_id]
        return self.as_command(params)

    def at(self, offset: int) -> dict[str, Any]:
        """Give the parameters of the page at an offset."""
        params = {**self._params, "start": str(offset)}
        if self.stable_order:
            params[self._order] = {"ID": "ASC"}
        return params

    def as_command(self, params: Mapping[str, Any]) -> str:
        """Encode parameters for a batch.

        :raises UnsendableValueError: when no batch can carry them.
        """
        text = command(
            self.call.method, {name: value for name, value in params.items() if value not in ([], {})}
        )
        if text is None:
            raise UnsendableValueError(
                f"{self.call.method}: a list is read in batches, which cannot carry these parameters "
                f"(an empty list inside, a name with brackets, or a text with {RESULT_REFERENCE!r})"
            )
        return text

    def take(self, rows: Sequence[Any]) -> Iterator[Page]:
        """Hand out records, no more than are wanted."""
        wanted = rows if self.left is None else rows[: self.left]
        if self.left is not None:
            self.left -= len(wanted)
        if wanted:
            yield Page(list(wanted))

    def enough(self, pages: int, page_size: int) -> int:
        """How many of these pages are needed for what is still wanted."""
        return pages if self.left is None else min(pages, -(-self.left // page_size))


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
    :raises Bitrix24Error: when a page has failed for good.
    :raises ValueError: when the parameters cannot be sent.

    Documentation: https://apidocs.bitrix24.com/settings/performance/huge-data.html
    """
    listing = _List(call, id_field, limit)
    if listing.left == 0:
        return
    if listing.by_offset or not (yield from _by_id(listing, session, deadline)):
        yield from _by_offset(listing, session, deadline)


def _by_id(listing: _List, session: Session, deadline: float | None) -> Conversation[bool]:
    """Read page behind page.

    :return: whether the method can be read this way; if not, nothing was handed out.
    """
    last = listing.after
    head, tail = yield from _ends(listing, session, deadline)
    if not head.rows:
        return True
    ids = _ids(head.rows, listing.filter_id)
    tail_ids = _ids(tail.rows, listing.filter_id) if tail else None
    if ids is None or not _ascending(ids, last):
        return False
    if tail is None or not tail_ids or not _ascending(tail_ids[::-1], last) or tail_ids[0] < ids[-1]:
        return False
    id_name = _id_name(head.rows[0], listing.filter_id)
    yield from listing.take(head.rows)
    last, size, progress = ids[-1], len(head.rows), Progress(listing.call, session, deadline)
    floor, at_once = tail_ids[-1], MAX_CALLS
    while last + 1 < floor and listing.left != 0:
        pages = listing.enough(min(at_once, -(-(floor - 1 - last) // size)), size)
        place = "".join(f"[{key}]" for key in (*head.path, str(size - 1), id_name))
        commands = [
            listing.page(str(last) if index == 0 else Reference(f"{RESULT_REFERENCE}c{index - 1}]{place}"))
            for index in range(pages)
        ]
        outcomes = yield from _pages(listing, commands, session, deadline)
        before = last
        failure: Bitrix24Error | None = None
        for index, outcome in enumerate(outcomes):
            if not isinstance(outcome, Reply):
                failure = outcome
                break
            rows = _rows(outcome.result).rows
            ids = _ids(rows, listing.filter_id) or []
            if index and (not rows or not _ascending(ids, last)):
                # The reference to the page before leads nowhere: behind a full page none can be trusted.
                at_once = 1
                break
            if not _ascending(ids, last):
                break
            new = [row for row, number in zip(rows, ids, strict=False) if number < floor]
            yield from listing.take(new)
            if len(new) < len(rows) or not rows:
                last = floor - 1
                break
            last = ids[-1]
            if len(rows) < size:
                break
        del outcomes
        if last > before:
            progress = Progress(listing.call, session, deadline)
        if failure is not None:
            yield from _judge(failure, progress, session)
        elif last == before:
            raise Bitrix24Error(
                "list_does_not_advance",
                f"The page behind {listing.filter_id} {last} does not begin behind it: the list cannot be read by id.",
                None, listing.call.method, session.portal,
            )  # fmt: skip
    ids = tail_ids[::-1]
    yield from listing.take([row for row, number in zip(tail.rows[::-1], ids, strict=True) if number > last])
    return True


def _ends(
    listing: _List, session: Session, deadline: float | None
) -> Conversation[tuple[_Rows, _Rows | None]]:
    """Ask for the first and the last page of the list."""
    progress = Progress(listing.call, session, deadline)
    start = str(listing.after)
    while True:
        outcomes = yield from _pages(
            listing, [listing.page(start), listing.page(start, "DESC")], session, deadline
        )
        head, tail = outcomes
        if isinstance(head, Reply) and (isinstance(tail, Reply) or (tail is not None and not tail.retryable)):
            return _rows(head.result), _rows(tail.result) if isinstance(tail, Reply) else None
        failure = tail if isinstance(head, Reply) else head
        if isinstance(failure, Bitrix24Error):
            yield from _judge(failure, progress, session)


def _by_offset(listing: _List, session: Session, deadline: float | None) -> Conversation[None]:
    """Read page after page by offset: the first one alone, which tells how many there are."""
    reply = yield from converse(listing.call, session, deadline=deadline, params=listing.at(0))
    yield from listing.take(_rows(reply.result).rows)
    offset, total = reply.next, reply.total
    step = reply.next or PAGE_SIZE
    progress = Progress(listing.call, session, deadline)
    while offset is not None and listing.left != 0 and (total is None or offset < total):
        known = MAX_CALLS if total is None else -(-max(1, total - offset) // step)
        pages = listing.enough(min(MAX_CALLS, known), step)
        commands = [listing.as_command(listing.at(offset + index * step)) for index in range(pages)]
        outcomes = yield from _pages(listing, commands, session, deadline)
        failure: Bitrix24Error | None = None
        for outcome in outcomes:
            if not isinstance(outcome, Reply):
                failure = outcome
                break
            rows = _rows(outcome.result).rows
            yield from listing.take(rows)
            offset = outcome.next
            progress = Progress(listing.call, session, deadline)
            if offset is None or not rows:
                return
        if failure is not None:
            yield from _judge(failure, progress, session)


def _pages(
    listing: _List, commands: Sequence[str], session: Session, deadline: float | None
) -> Conversation[list[Outcome | None]]:
    """Ask for several pages in one request; none behind the first that fails."""
    progress = Progress(Call("batch", repeatable=True), session, deadline)
    refusal = yield from wait_until_open(listing.call.method, session, progress)
    if refusal is not None:
        raise refusal
    return (yield from exchange([listing.call] * len(commands), commands, session, progress, halt=True))


def _judge(failure: Bitrix24Error, progress: Progress, session: Session) -> Conversation[None]:
    """Wait before a page is asked for again, or give up.

    :raises Bitrix24Error: when it has failed for good.
    """
    verdict = progress.judge(failure)
    if isinstance(verdict, Bitrix24Error):
        raise verdict
    if not isinstance(verdict, Reply):
        yield from pause(verdict, progress.call.method, session)


def _rows(result: Any) -> _Rows:
    """Find the records in an answer: bare, under a key such as ``items``, or keyed by their ids."""
    if isinstance(result, list):
        return _Rows(result, ())
    if isinstance(result, Mapping):
        for key, value in result.items():
            if isinstance(value, list):
                return _Rows(value, (str(key),))
        if all(isinstance(value, Mapping) for value in result.values()):
            return _Rows(list(result.values()), ())
    raise ValueError("The answer holds no list: this method cannot be read record by record")


def _id_name(row: Any, wanted: str) -> str:
    if isinstance(row, Mapping):
        for name in row:
            if str(name).lower() == wanted.lower():
                return str(name)
    return ""


def _ids(rows: Sequence[Any], wanted: str) -> list[int] | None:
    """Read the ids of the records; ``None`` when one has none, or none that is a number."""
    name = _id_name(rows[0], wanted) if rows else ""
    try:
        return [int(row[name]) for row in rows]
    except (KeyError, TypeError, ValueError):
        return None


def _ascending(ids: Sequence[int], after: int) -> bool:
    return all(one < other for one, other in zip((after, *ids), ids, strict=False))
