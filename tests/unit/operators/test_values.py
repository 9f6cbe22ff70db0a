"""What a DAG returns, as Bitrix24 takes it."""

import datetime as dt
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_b24.operators._values import encode_return_values, parse_return_values

CET = dt.timezone(dt.timedelta(hours=1))


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (True, "Y"),
        (False, "N"),
        (7, 7),
        (0.25, 0.25),
        ("text", "text"),
        ("", ""),
        (None, ""),
        (Decimal("12"), 12),
        (Decimal("1E+2"), 100),
        (Decimal("0.1"), 0.1),
        (Decimal("0.12345678901234567890"), "0.12345678901234567890"),
        (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=CET), "2026-01-02T03:04:05+01:00"),
        (dt.datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=dt.UTC), "2026-01-02T03:04:05+00:00"),
        (dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05+00:00"),  # noqa: DTZ001 - naive on purpose
        (pendulum.datetime(2026, 7, 1, tz="Europe/Berlin"), "2026-07-01T00:00:00+02:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        ([True, None, 1, dt.date(2026, 1, 2)], ["Y", "", 1, "2026-01-02"]),
        (("a", "b"), ["a", "b"]),
        ([], []),
    ],
)
def test_each_kind_of_value_becomes_what_the_portal_understands(value, sent):
    assert encode_return_values({"x": value}) == {"x": sent}
    assert type(encode_return_values({"x": value})["x"]) is type(sent)


def numpy_like(value, kind="f"):
    """Make what looks like a numpy scalar to whoever does not import numpy."""

    class Scalar:
        class dtype:  # noqa: N801 - numpy's own spelling
            pass

        def tolist(self):
            return value

        def astype(self, name):
            assert name == "datetime64[us]"
            return self

    Scalar.dtype.kind = kind
    Scalar.__module__ = "numpy"
    return Scalar()


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (numpy_like(0.5), 0.5),
        (numpy_like(True, "b"), "Y"),
        (numpy_like([1, 2], "i"), [1, 2]),
        (numpy_like(dt.datetime(2026, 1, 2), "M"), "2026-01-02T00:00:00+00:00"),  # noqa: DTZ001
        ([numpy_like(3, "i"), 4], [3, 4]),
    ],
)
def test_numpy_values_become_what_they_hold(value, sent):
    assert encode_return_values({"x": value}) == {"x": sent}


@pytest.mark.parametrize(
    "value",
    [
        {"nested": 1},
        [{"nested": 1}],
        [[1, 2]],
        {1, 2},
        b"bytes",
        object(),
        dt.timedelta(1),
        float("nan"),
        float("inf"),
        Decimal("NaN"),
    ],
)
def test_what_nobody_could_read_is_refused_and_the_property_is_named(value):
    with pytest.raises(ValueError, match="^verdict: "):
        encode_return_values({"verdict": value})


@pytest.mark.parametrize("name", ["", "1st", "with space", "ünï", "a-b", "a.b", 5, None, "a\n"])
def test_a_name_that_bitrix24_would_not_take_is_refused(name):
    with pytest.raises(ValueError, match="cannot name a return property"):
        encode_return_values({name: 1})


@pytest.mark.parametrize(
    ("rendered", "read"),
    [
        ({"score": 5}, {"score": 5}),
        ('{"score": 5, "good": true}', {"score": 5, "good": True}),
        ("{'score': 5, 'good': True}", {"score": 5, "good": True}),
        ("  {'score': None} ", {"score": None}),
        (None, {}),
        ("", {}),
        ("{}", {}),
    ],
)
def test_a_mapping_json_or_a_python_literal_is_read(rendered, read):
    assert parse_return_values(rendered) == read


@pytest.mark.parametrize(
    "rendered",
    ["score=5", "{'score': open('x')}", "{[1]: 2}", "{{}}", "[1, 2]", "5", [1], 5, "{" * 9999],
)
def test_anything_else_is_an_error_that_shows_what_was_read(rendered):
    with pytest.raises(ValueError, match="return_values") as caught:
        parse_return_values(rendered)
    assert str(rendered)[:20].strip("'\"[]{}") in str(caught.value)
    assert len(str(caught.value)) < 500
