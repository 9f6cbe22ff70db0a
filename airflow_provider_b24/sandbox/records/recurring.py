"""When the template of a recurring deal makes the next deal.

Documented on https://apidocs.bitrix24.com/api-reference/crm/deals/recurring-deals/index.html.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.timing import iso_date

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS = ("day", "week", "month", "year")
#: Names of the parameters: a unit of time, or how many of them.
UNITS = ("MULTIPLE_TYPE", "SINGLE_BEFORE_START_DATE_TYPE", "OFFSET_BEGINDATE_TYPE", "OFFSET_CLOSEDATE_TYPE")
COUNTS = (
    "MULTIPLE_INTERVAL",
    "SINGLE_BEFORE_START_DATE_VALUE",
    "OFFSET_BEGINDATE_VALUE",
    "OFFSET_CLOSEDATE_VALUE",
)


def read_params(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of a template as they are kept; what does not fit is nothing."""
    said = {str(name).upper(): value for name, value in given.items()}
    mode = said.get("MODE")
    params: dict[str, Any] = {"MODE": mode if mode in ("single", "multiple") else "multiple"}
    for unit, count in zip(UNITS, COUNTS, strict=True):
        value = str(said.get(unit) or "").lower()
        params[unit] = value if value in _UNITS else None
        amount = str(said.get(count) or 0)
        params[count] = int(amount) if amount.isdecimal() else 0
    return params


def day_of(value: object) -> date | None:
    """Return the day of a date that someone has written, `None` where it is none."""
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None


def moment_of(day: date | None) -> str | None:
    """Return the beginning of a day as the portal writes it."""
    return None if day is None else iso_date(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def moved(day: date, unit: str | None, count: int) -> date:
    """Return a day so many units later; the 31st becomes the last day of a shorter month."""
    if unit in ("month", "year"):
        months = day.year * 12 + day.month - 1 + count * (12 if unit == "year" else 1)
        year, month = divmod(months, 12)
        return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
    return day + timedelta(days=count * (7 if unit == "week" else 1))


def next_day(row: Mapping[str, Any], today: date) -> date | None:
    """Return the day of the next deal, `None` when there is none any more.

    :param row: the settings of the template.
    """
    params: Mapping[str, Any] = row["PARAMS"]
    start, last = day_of(row.get("START_DATE")) or today, day_of(row.get("LAST_EXECUTION"))
    limit, count = day_of(row.get("LIMIT_DATE")), row.get("LIMIT_REPEAT")
    if row.get("ACTIVE") == "N":
        return None
    if row.get("IS_LIMIT") == "T" and count is not None and (row.get("COUNTER_REPEAT") or 0) >= count:
        return None
    if params["MODE"] == "single":
        before = params["SINGLE_BEFORE_START_DATE_VALUE"]
        day = moved(start, params["SINGLE_BEFORE_START_DATE_TYPE"], -before)
        if last is not None or day < today:
            return None
    else:
        day, step, index = start, max(1, params["MULTIPLE_INTERVAL"]), 0
        # From the start each time: a month after 31 January and two months after it are both at the end.
        while day < today or (last is not None and day <= last):
            index += step
            day = moved(start, params["MULTIPLE_TYPE"], index)
    return None if row.get("IS_LIMIT") == "D" and limit is not None and day > limit else day
