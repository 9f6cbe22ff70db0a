"""Values for REST 3.0: JSON with its types."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from uuid import UUID

import pytest

from airflow_provider_b24.rest.encoding import MAX_DEPTH, Reference, UnsendableValueError
from airflow_provider_b24.rest.typed_values import typed


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Scalar:
    """What a numpy scalar looks like."""

    ndim = 0

    def __init__(self, value):
        self._value = value

    def item(self):
        return self._value


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ("text", "text"),
        (Reference("$result[a]"), "$result[a]"),
        (True, True),
        (None, None),
        (7, 7),
        (1.5, 1.5),
        (Decimal("2.50"), 2.5),
        (Decimal("1E+3"), 1000),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ((1, [True, None]), [1, [True, None]]),
        ([], []),
        ({}, {}),
        ({0: "a", 1: "b"}, {"0": "a", "1": "b"}),
        (Scalar(True), True),
        (Scalar(2.0), 2.0),
    ],
)
def test_values_keep_what_json_knows(value, arrives):
    made = typed({"value": {"inside": value}})["value"]["inside"]

    assert made == arrives
    assert json.dumps(made) == json.dumps(arrives)


def deep(levels):
    return [deep(levels - 1)] if levels else 1


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        Decimal("Infinity"),
        b"bytes",
        object(),
        datetime(2026, 1, 1),  # noqa: DTZ001 - that is the point
        "\ud800",
        {1.5: "name"},
        {True: "name"},
        deep(MAX_DEPTH + 1),
    ],
)
def test_what_cannot_be_sent_is_refused_and_named(value):
    with pytest.raises(UnsendableValueError, match="fields"):
        typed({"fields": {"value": value}})
