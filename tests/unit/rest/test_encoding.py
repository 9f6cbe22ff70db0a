"""Values on the wire."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from urllib.parse import parse_qsl, unquote_plus, urlencode
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_b24.rest.encoding import (
    MalformedFormError,
    Reference,
    UnsendableValueError,
    command,
    parse_form,
    plain,
)


class Colour(Enum):
    RED = "red"
    YES = True


class NumpyLike:
    ndim = 0

    def item(self):
        return 7


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ("Grüße & 你好 🚀", "Grüße & 你好 🚀"),
        (True, "Y"),
        (False, "N"),
        (None, ""),
        (7, "7"),
        (-(10**30), "-1000000000000000000000000000000"),
        (1.5, "1.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.10"), "0.10"),
        (datetime(2026, 3, 29, 1, 30, 5, 999, UTC), "2026-03-29T01:30:05+00:00"),
        (datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=-3))), "2026-03-29T01:30:00-03:00"),
        (date(2026, 3, 29), "2026-03-29"),
        (time(8, 30), "08:30:00"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Colour.RED, "red"),
        (Colour.YES, "Y"),
        (NumpyLike(), "7"),
        ((1, [2, {"a": False}]), ["1", ["2", {"a": "N"}]]),
        ({1: "b", 0: "a"}, ["a", "b"]),
        ({"5": "x"}, {"5": "x"}),
        ({}, {}),
        ([], []),
    ],
)
def test_each_type_of_value_arrives_by_the_table(value, arrives):
    assert plain({"field": value}) == {"field": arrives}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
        (object(), "object"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (Decimal("NaN"), "NaN"),
        (datetime(2026, 1, 1), "time zone"),  # noqa: DTZ001 - the point of the test
        ({None: 1}, "NoneType"),
        ({True: 1}, "bool"),
    ],
)
def test_what_cannot_be_sent_is_an_error_that_names_the_parameter(value, reason):
    with pytest.raises(UnsendableValueError, match=r"fields\[UF\].*" + reason):
        plain({"fields": {"UF": value}})


def test_a_value_without_end_is_refused():
    endless: list = []
    endless.append(endless)

    with pytest.raises(UnsendableValueError, match="deeper"):
        plain({"a": endless})


@pytest.mark.parametrize(
    "params",
    [{"a": "\ud800"}, {"a": ["x", {"b": "\udfff"}]}, {"\ud800": "a"}, {"a": {"\ud800": "b"}}],
)
def test_half_a_character_is_refused(params):
    with pytest.raises(UnsendableValueError, match="surrogate") as caught:
        plain(params)
    str(caught.value).encode()


def test_a_command_is_a_method_with_a_query():
    assert command("profile", {}) == "profile"
    assert command("crm.deal.list", plain({"filter": {">ID": 5, "@X": ["a b", "ä"]}, "n": True})) == (
        "crm.deal.list?filter[%3EID]=5&filter[%40X][0]=a+b&filter[%40X][1]=%C3%A4&n=Y"
    )


@pytest.mark.parametrize(
    "params",
    [
        {"a": "$result[x][0]"},
        {"fields": {"deep": ["$result[x]"]}},
        {"a": "$result[c0]"},
        {"a": ["told by $result[c0][ID]"]},
        {"a": "$result"},
        {"fields": []},
        {"fields": {"empty": {}}},
        {"a.b": "PHP turns the dot into an underscore"},
        {"a b": "and the space"},
        {"a[b]": "brackets in a name"},
        {"fields": {"a]": "brackets in a name"}},
        {"": "no name"},
        {"fields": {"": "no name"}},
        {"fields": {" ": "no name either"}},
    ],
)
def test_what_a_query_cannot_carry_goes_alone(params):
    assert command("m", plain(params)) is None


def test_a_reference_that_is_meant_travels_in_a_batch():
    assert command("m", {"ID": Reference("$result[c0][ID]")}) == "m?ID=%24result%5Bc0%5D%5BID%5D"


NAMES = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="[]\x00"), min_size=1, max_size=6
).filter(lambda name: name == name.strip(" "))
TOP_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=12).filter(
    lambda text: "$result" not in text
)
VALUES = st.recursive(
    TEXTS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4) | st.dictionaries(NAMES, inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # On a busy machine everything is slow.
@given(st.dictionaries(TOP_NAMES, VALUES, max_size=5))
def test_a_command_read_as_a_form_gives_what_the_json_body_gives(params):
    params = plain(params)
    query = (command("m", params) or "").partition("?")[2]

    assert parse_form(query.encode()) == params


def test_a_robot_call_is_read():
    body = urlencode(
        [
            ("workflow_id", "67e3db8e581121.72266518"),
            ("document_id[0]", "crm"),
            ("document_id[1]", "CCrmDocumentLead"),
            ("document_id[2]", "LEAD_77"),
            ("auth[access_token]", "a"),
            ("properties[tags][]", "x"),
            ("properties[tags][]", "y"),
            ("properties[text]", "a=b&c"),
            ("empty", ""),
        ]
    ).encode()

    assert parse_form(body) == {
        "workflow_id": "67e3db8e581121.72266518",
        "document_id": ["crm", "CCrmDocumentLead", "LEAD_77"],
        "auth": {"access_token": "a"},
        "properties": {"tags": ["x", "y"], "text": "a=b&c"},
        "empty": "",
    }


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"", {}),
        (b"&&", {}),
        (b"a", {"a": ""}),
        (b"a[2]=x&a[7]=y", {"a": {"2": "x", "7": "y"}}),
        (b"a[1]=y&a[0]=x", {"a": ["x", "y"]}),
        (b"a[01]=x", {"a": {"01": "x"}}),
        (b"a[3]=x&a[]=y", {"a": {"3": "x", "4": "y"}}),
        (b"a[3]=x&a[1]=y&a[b]=z&a[]=w", {"a": {"3": "x", "1": "y", "b": "z", "4": "w"}}),
        (b"a[][]=x&a[][]=y&b[]=z", {"a": [["x"], ["y"]], "b": ["z"]}),
        (b"a=%41%%4%zz%C3%a4%2", {"a": "A%%4%zzä%2"}),
        (b"0=x&1=y", {"0": "x", "1": "y"}),
        (b"a%5Bb%5D=%E2%82%AC+1", {"a": {"b": "€ 1"}}),
        (b"a[__proto__][x]=1", {"a": {"__proto__": {"x": "1"}}}),
    ],
)
def test_forms_are_read_as_php_reads_them(body, form):
    assert parse_form(body) == form


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"a=1&a[b]=2", "both a text and a mapping"),
        (b"a[b]=2&a=1", "given twice"),
        (b"a=1&a=2", "given twice"),
        (b"a[0]=1&a[0]=2", "given twice"),
        (b"a[b=1", "do not match"),
        (b"a[b]c=1", "do not match"),
        (b"a[[b]]=1", "do not match"),
        (b"a]=1", "proper name"),
        (b"=1", "proper name"),
        (b"[a]=1", "proper name"),
        (b"a=%ff", "UTF-8"),
        (b"%c3=1", "UTF-8"),
        (b"a=%00", "NUL"),
        (b"a[b][c][d]=1", "nested deeper than 2"),
        (b"a=1&b=2&c=3&d=4", "more than 3 fields"),
        (b"a=" + b"x" * 100, "longer than 99 bytes"),
    ],
)
def test_a_malformed_form_is_an_error_that_says_why(body, reason):
    with pytest.raises(MalformedFormError, match=reason):
        parse_form(body, max_fields=3, max_depth=2, max_bytes=99)


def test_an_error_does_not_repeat_a_value():
    with pytest.raises(MalformedFormError) as caught:
        parse_form(b"auth[access_token]=s3cr3t&auth[access_token]=s3cr3t")

    assert "s3cr3t" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body):
    try:
        form = parse_form(body, max_depth=3)
    except MalformedFormError:
        return
    assert all(isinstance(name, str) for name in form)


@given(st.lists(st.tuples(st.text("ab[]01", min_size=1, max_size=8), st.text("xy", max_size=2)), max_size=6))
def test_no_value_is_lost_in_a_form_that_is_accepted(pairs):
    body = urlencode(pairs).encode()
    try:
        form = parse_form(body)
    except MalformedFormError:
        return

    def leaves(value):
        if isinstance(value, (Mapping, list)):
            items = value.values() if isinstance(value, Mapping) else value
            return [leaf for item in items for leaf in leaves(item)]
        return [value]

    sent = sorted(value for _, value in parse_qsl(body.decode(), keep_blank_values=True))
    assert sorted(leaves(form)) == sent


@given(
    st.lists(st.sampled_from([b"%", b"4", b"1", b"%41", b"%c3%A4", b"+", b"x", b"%2B", b"%g"])).map(b"".join)
)
def test_escapes_are_read_as_everybody_reads_them(raw):
    assert parse_form(b"a=" + raw) == {"a": unquote_plus(raw.decode())}
