"""Reading long lists of REST 3.0: page after page, each behind the last id of the one before it.

Its lists say neither how many records there are nor whether a page is the last, and may give fewer than they are asked
for: the reading ends with an empty page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.exceptions import Bitrix24Error
from airflow_provider_b24.rest.apis import APIS
from airflow_provider_b24.rest.encoding import UnsendableValueError
from airflow_provider_b24.rest.exchange import alone
from airflow_provider_b24.rest.lists import is_repeated
from airflow_provider_b24.rest.repeating import Progress
from airflow_provider_b24.rest.wire import Conversation, Page

if TYPE_CHECKING:
    from airflow_provider_b24.rest.call import Call, Reply
    from airflow_provider_b24.rest.session import Session

PAGE_SIZE = 50


def converse_list_v3(
    call: Call, session: Session, *, id_field: str = "ID", limit: int | None = None
) -> Conversation[None]:
    """Hold the conversation of reading a list; the records come as :class:`Page` actions.

    :param call: a list method of REST 3.0 and its parameters. ``pagination`` may hold ``limit``, the records of a page;
        ``filter`` is an array of conditions. It may be repeated, and has the deadline of each request.
    :param session: what the client's conversations share.
    :param id_field: name of the field that numbers the records; ``ID`` stands for ``id``.
    :param limit: stop after so many records.
    :raises Bitrix24Error: when a page has failed for good, or the method gives no list, or cannot be read this way.
    :raises UnsendableValueError: when the parameters cannot be sent, or decide what is decided here.

    Documentation: https://apidocs.bitrix24.com/api-reference/rest-v3.html
    """
    if limit is not None and limit < 0:
        raise UnsendableValueError(f"{call.method}: a limit of {limit} records makes no sense")
    reading = _Reading(call, session, "id" if id_field == "ID" else id_field)
    place: int = 0
    while limit is None or limit > 0:
        params = reading.page(place, limit)
        reply = yield from alone(call, session, Progress(call, session), params)
        rows = reading.rows(reply)
        if not rows:
            return
        place = reading.next_place(rows, place)
        wanted = rows[:limit]
        if limit is not None:
            limit -= len(wanted)
        yield Page(wanted)


class _Reading:
    """How pages are asked for, and where the next one begins."""

    def __init__(self, call: Call, session: Session, id_field: str) -> None:
        self._method, self._session = call.method, session
        self._params = APIS["v3"].parameters(call.method, call.params)
        self._is_by_id = session.facts(call.method).read_by == "id"
        self._id = id_field
        self._before: tuple[list[Any], list[int]] = [], []
        pagination = self._params.get("pagination") or {}
        if not isinstance(pagination, dict) or set(pagination) - {"limit"}:
            raise self._refusal("'pagination' is decided by the reading itself, but for its 'limit'")
        self._size = pagination.get("limit", PAGE_SIZE)
        if not isinstance(self._size, int) or isinstance(self._size, bool) or self._size < 1:
            raise self._refusal("'limit' of 'pagination' is a number of records, at least 1")
        self._conditions = self._params.get("filter") or []
        if not isinstance(self._conditions, list):
            raise self._refusal("'filter' is an array of conditions in REST 3.0")
        if self._is_by_id and not self._is_this_order(self._params.get("order")):
            raise self._refusal(f"'order' is decided by the reading itself: by {id_field}, ascending")

    def _is_this_order(self, order: object) -> bool:
        if not order:
            return True
        return isinstance(order, dict) and [(name, str(way).upper()) for name, way in order.items()] == [
            (self._id, "ASC")
        ]

    def page(self, place: int, limit: int | None) -> dict[str, Any]:
        """Give the parameters of a page.

        :param place: the last id before it, or its offset.
        :param limit: how many records are still wanted.
        """
        size = self._size if limit is None else min(self._size, limit)
        if not self._is_by_id:
            return {**self._params, "pagination": {"limit": size, "offset": place}}
        params = {
            **self._params,
            "filter": [*self._conditions, [self._id, ">", place]],
            "order": {self._id: "ASC"},
            "pagination": {"limit": size},
        }
        select = params.get("select")
        if isinstance(select, list) and self._id not in select:
            params["select"] = [*select, self._id]
        return params

    def rows(self, reply: Reply) -> list[Any]:
        """Find the records of a page.

        :raises Bitrix24Error: when there are none to be found.
        """
        values = reply.result.values() if isinstance(reply.result, Mapping) else ()
        rows = next((value for value in values if isinstance(value, list)), None)
        if rows is None:
            raise self._error(
                "not_a_list", "The response holds no list: this method cannot be read record by record."
            )
        return rows

    def next_place(self, rows: list[Any], place: int) -> int:
        """Tell where the page behind these records begins.

        :raises Bitrix24Error: when the records do not follow on those before.
        """
        try:
            ids = [int(row[self._id]) for row in rows]
        except (KeyError, TypeError, ValueError):
            ids = []
        if not self._is_by_id:
            before, before_ids = self._before
            if place and is_repeated(rows, before, ids, before_ids):
                raise self._error(
                    "list_does_not_advance",
                    f"The method ignores 'offset': behind the first {place} records it gives the same again.",
                )
            self._before = rows, ids
            return place + len(rows)
        if not ids or any(one >= other for one, other in zip((place, *ids), ids, strict=False)):
            raise self._error(
                "list_does_not_advance",
                f"The page behind {self._id} {place} is not numbered upwards from there, so the list cannot be read by "
                "id. If the method knows offsets, say so with methods={...: MethodFacts(read_by='offset')}.",
            )
        return ids[-1]

    def _error(self, code: str, text: str) -> Bitrix24Error:
        return Bitrix24Error(code, text, None, self._method, self._session.portal)

    def _refusal(self, text: str) -> UnsendableValueError:
        return UnsendableValueError(f"{self._method}: {text}")
