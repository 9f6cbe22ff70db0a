"""What the address bar of the list of calls says: one parser for it, and the way back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from airflow_provider_b24.calls.browsing import MalformedKeyError, PageKey, Wanted
from airflow_provider_b24.calls.table import STATES
from airflow_provider_b24.receiver.answers import RefusedError

STATE_CHOICES = ("waiting", "open", *STATES)
SINCE_CHOICES = {"today": "Today (UTC)", "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days"}
_LENGTHS = {"24h": dt.timedelta(hours=24), "7d": dt.timedelta(days=7), "30d": dt.timedelta(days=30)}
_LONGEST = 765


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """What someone wants to see in the list; empty texts for what does not matter.

    :param before: which call the page goes on from.
    """

    state: str = ""
    dag: str = ""
    conn: str = ""
    since: str = ""
    q: str = ""
    before: PageKey | None = None

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> ListQuery:
        """Read a query string.

        :raises RefusedError: 400 when it asks for what there is not.
        """
        given = {name: params.get(name, "").strip() for name in ("state", "dag", "conn", "since", "q")}
        if given["state"] and given["state"] not in STATE_CHOICES:
            raise RefusedError(
                400, "malformed", f"There is no state of that name; there are {', '.join(STATE_CHOICES)}."
            )
        if given["since"] and given["since"] not in SINCE_CHOICES:
            raise RefusedError(400, "malformed", f"since is one of {', '.join(SINCE_CHOICES)}.")
        if any(len(text) > _LONGEST or "\x00" in text for text in given.values()):
            raise RefusedError(
                400, "malformed", f"Something searched for is longer than {_LONGEST} characters."
            )
        try:
            before = PageKey.parse(params["before"]) if params.get("before") else None
        except (MalformedKeyError, OverflowError):
            raise RefusedError(400, "malformed", "The address does not say where the page begins.") from None
        return cls(**given, before=before)

    def wanted(self, visible: set[str], now: dt.datetime) -> Wanted:
        """Say it to the database.

        :param visible: the DAGs whose calls may be seen.
        """
        since = None
        if self.since == "today":
            since = midnight(now)
        elif self.since:
            since = now - _LENGTHS[self.since]
        return Wanted(
            visible=visible,
            state=self.state or None,
            dag_id=self.dag or None,
            conn_id=self.conn or None,
            since=since,
            search=self.q or None,
        )

    @property
    def is_filtered(self) -> bool:
        """Whether something is left out."""
        return any((self.state, self.dag, self.conn, self.since, self.q))

    def link(self, **changes: object) -> str:
        """Give the query string of the same list with changes, with its question mark."""
        changed = replace(self, **changes)  # type: ignore[arg-type]
        given = {name: getattr(changed, name) for name in ("state", "dag", "conn", "since", "q", "before")}
        return "?" + urlencode({name: str(value) for name, value in given.items() if value})


def midnight(now: dt.datetime) -> dt.datetime:
    """Tell when the day began, in UTC."""
    return now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
