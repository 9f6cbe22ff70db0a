"""Forms as PHP reads and writes them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_b24.sandbox.forms import encode_form, parse_form, parse_multipart, php_array


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2", {"a": "2"}),
        ("a", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a=%C3%BC+%26%3D%5B%5D", {"a": "ü &=[]"}),
        ("a=ü", {"a": "ü"}),
        ("a[]=1&a[]=2", {"a": ["1", "2"]}),
        ("a%5B%5D=1&a%5B%5D=2", {"a": ["1", "2"]}),
        ("a[1]=x&a[0]=y", {"a": {"1": "x", "0": "y"}}),
        ("a[0]=x&a[1]=y", {"a": ["x", "y"]}),
        ("a[0]=x&a[2]=y", {"a": {"0": "x", "2": "y"}}),
        ("a[5]=x&a[]=y", {"a": {"5": "x", "6": "y"}}),
        ("a[k][l]=v&a[k][m]=w", {"a": {"k": {"l": "v", "m": "w"}}}),
        ("a[][b]=1&a[][b]=2", {"a": [{"b": "1"}, {"b": "2"}]}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("a[b]=1&a=2", {"a": "2"}),
        ("a.b=1&c d=2", {"a_b": "1", "c_d": "2"}),
        ("f[x.y]=1", {"f": {"x.y": "1"}}),
        ("a[b=1", {"a": "1"}),
        ("[a]=1", {}),
        ("=1", {}),
        ("&&a=1&", {"a": "1"}),
        ("a=%FF", {"a": "\ufffd"}),
    ],
)
def test_a_form_is_read_as_php_reads_it(text: str, fields: dict[str, Any]) -> None:
    assert parse_form(text) == fields
    assert parse_form(text.encode()) == fields


def test_a_name_deeper_than_php_nests_is_dropped() -> None:
    assert parse_form("a" + "[b]" * 64 + "=1&c=2") == {"c": "2"}
    assert "a" in parse_form("a" + "[b]" * 63 + "=1")


def test_a_form_is_written_as_php_writes_it() -> None:
    fields = {"a": "x y&z", "list": ["1", {"k": 2}], "flag": True, "other": False, "none": None, "empty": []}
    assert encode_form(fields) == (b"a=x+y%26z&list%5B0%5D=1&list%5B1%5D%5Bk%5D=2&flag=Y&other=N")


_names = st.text("abcXYZ_", min_size=1, max_size=5)
_trees = st.recursive(
    st.text(max_size=8).filter(lambda text: text.isprintable()),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4) | st.dictionaries(_names, inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(_names, _trees, max_size=4))
def test_what_was_written_reads_back_the_same(fields: dict[str, Any]) -> None:
    assert parse_form(encode_form(fields)) == fields


def test_a_multipart_body_nests_like_any_other_form() -> None:
    body = (
        b'--XX\r\nContent-Disposition: form-data; name="a[b][]"\r\n\r\nerste\r\n'
        b'--XX\r\nContent-Disposition: form-data; name="a[b][]"; filename="x.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\nzw\xc3\xb6lf\r\n--XX--\r\n"
    )
    assert parse_multipart(body, "multipart/form-data; boundary=XX") == {"a": {"b": ["erste", "zwölf"]}}


def test_a_multipart_body_without_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="no parts"):
        parse_multipart(b"hello", "multipart/form-data")


@pytest.mark.parametrize(
    ("array", "json"),
    [
        ({}, []),
        ({"0": "a", "1": "b"}, ["a", "b"]),
        ({"1": "b"}, {"1": "b"}),
        ({"1": "b", "0": "a"}, {"1": "b", "0": "a"}),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_an_array_becomes_a_list_only_if_it_is_numbered_from_zero(array: dict[str, Any], json: Any) -> None:
    assert php_array(array) == json
