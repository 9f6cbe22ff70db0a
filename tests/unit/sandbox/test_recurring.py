"""When the template of a recurring deal makes the next deal."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from airflow_provider_b24.sandbox.records.recurring import moved, next_day, read_params

TODAY = date(2026, 3, 10)


@pytest.mark.parametrize(
    ("day", "unit", "count", "there"),
    [
        (date(2026, 1, 31), "day", 1, date(2026, 2, 1)),
        (date(2026, 1, 31), "week", 2, date(2026, 2, 14)),
        (date(2026, 1, 31), "month", 1, date(2026, 2, 28)),
        (date(2026, 12, 15), "month", 1, date(2027, 1, 15)),
        (date(2026, 3, 15), "month", -3, date(2025, 12, 15)),
        (date(2028, 2, 29), "year", 1, date(2029, 2, 28)),
        (date(2026, 1, 1), None, 3, date(2026, 1, 4)),
    ],
)
def test_days_are_moved_by_units(day: date, unit: str | None, count: int, there: date) -> None:
    assert moved(day, unit, count) == there


@pytest.mark.parametrize(
    ("row", "params", "following"),
    [
        # Not before the start, then in steps from it.
        ({"START_DATE": "2026-04-05"}, {"MULTIPLE_TYPE": "month"}, date(2026, 4, 5)),
        ({"START_DATE": "2026-03-10"}, {"MULTIPLE_TYPE": "day"}, TODAY),
        ({"START_DATE": "2026-01-31"}, {"MULTIPLE_TYPE": "month"}, date(2026, 3, 31)),
        (
            {"START_DATE": "2026-03-03"},
            {"MULTIPLE_TYPE": "week", "MULTIPLE_INTERVAL": 2},
            date(2026, 3, 17),
        ),
        # Not twice on one day.
        (
            {"START_DATE": "2026-03-10", "LAST_EXECUTION": "2026-03-10T08:00:00+00:00"},
            {"MULTIPLE_TYPE": "day"},
            date(2026, 3, 11),
        ),
        ({"START_DATE": "2026-04-05", "ACTIVE": "N"}, {}, None),
        ({"START_DATE": "2026-04-05", "IS_LIMIT": "D", "LIMIT_DATE": "2026-04-05"}, {}, date(2026, 4, 5)),
        ({"START_DATE": "2026-04-05", "IS_LIMIT": "D", "LIMIT_DATE": "2026-04-04"}, {}, None),
        ({"START_DATE": "2026-04-05", "LIMIT_DATE": "2026-04-04"}, {}, date(2026, 4, 5)),
        (
            {"START_DATE": "2026-04-05", "IS_LIMIT": "T", "LIMIT_REPEAT": 2, "COUNTER_REPEAT": 1},
            {},
            date(2026, 4, 5),
        ),
        ({"START_DATE": "2026-04-05", "IS_LIMIT": "T", "LIMIT_REPEAT": 2, "COUNTER_REPEAT": 2}, {}, None),
        (
            {"START_DATE": "2026-04-05"},
            {
                "MODE": "single",
                "SINGLE_BEFORE_START_DATE_TYPE": "week",
                "SINGLE_BEFORE_START_DATE_VALUE": 1,
            },
            date(2026, 3, 29),
        ),
        ({"START_DATE": "2026-03-09"}, {"MODE": "single"}, None),
        ({"START_DATE": "2026-04-05", "LAST_EXECUTION": "2026-03-10"}, {"MODE": "single"}, None),
    ],
)
def test_the_next_deal_is_made_on_a_day(
    row: dict[str, Any], params: dict[str, Any], following: date | None
) -> None:
    assert next_day({**row, "PARAMS": read_params(params)}, TODAY) == following


def test_parameters_that_do_not_fit_are_nothing() -> None:
    read = read_params({"MODE": "often", "MULTIPLE_TYPE": "Decade", "multiple_interval": "3"})
    assert (read["MODE"], read["MULTIPLE_TYPE"], read["MULTIPLE_INTERVAL"]) == ("multiple", None, 3)
