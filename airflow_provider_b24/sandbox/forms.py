"""Forms with PHP brackets, both ways: what PHP reads from a form and what it writes into one."""

from __future__ import annotations

import email.parser
import email.policy
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote_plus, unquote_to_bytes

# PHP's own `max_input_nesting_level`: a deeper name is dropped.
_MAX_DEPTH = 64


def parse_form(text: str | bytes) -> dict[str, Any]:
    """Read `application/x-www-form-urlencoded` text as PHP does: later wins, brackets nest.

    :param text: a query string or a request body.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return nest((_decode(name), _decode(value)) for name, value in _pairs(text))


def parse_multipart(body: bytes, content_type: str) -> dict[str, Any]:
    """Read a `multipart/form-data` body; a file arrives as its content, decoded as text.

    :param content_type: the request's header, which names the boundary.
    :raises ValueError: for a body without parts.
    """
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise ValueError("The multipart body has no parts")
    fields: list[tuple[str, str]] = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields.append((name, content.decode("utf-8", "replace")))
    return nest(fields)


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Build the nested array PHP makes of bracketed names; consecutive numbers from 0 make a list."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        keys = _keys(name)
        if keys is None:
            continue
        level = root
        for key in keys[:-1]:
            deeper = level.get(key) if key else None
            if not isinstance(deeper, dict):
                deeper = {}
                level[key or _next_index(level)] = deeper
            level = deeper
        level[keys[-1] or _next_index(level)] = value
    return {key: _as_list(value) for key, value in root.items()}


def encode_form(fields: Mapping[str, Any]) -> bytes:
    """Write nested values as PHP's `http_build_query` does; `None` is left out.

    :param fields: nested mappings and lists of scalars; a `bool` is written as `Y` or `N`, the way
        processes write it.
    """
    pairs: list[str] = []
    for name, value in fields.items():
        _flatten(_quote(str(name)), value, pairs)
    return "&".join(pairs).encode("ascii")


def php_array(values: Mapping[str, Any]) -> Any:
    """Return what PHP's `json_encode` makes of an array: a list for keys 0, 1, 2 …, else an object.

    An empty array is `[]` whatever it was meant to be.
    """
    if all(key == str(index) for index, key in enumerate(values)):
        return list(values.values())
    return dict(values)


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    for part in text.split("&"):
        if part:
            name, _, value = part.partition("=")
            yield name, value


def _decode(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")


def _keys(name: str) -> list[str] | None:
    name = name.lstrip(" ")
    bracket = name.find("[")
    base = name if bracket <= 0 else name[:bracket]
    if not base or base.startswith("["):
        return None
    # PHP makes variable names of the outermost names, and those hold neither dots nor blanks.
    keys = [base.replace(".", "_").replace(" ", "_")]
    rest = name[len(base) :]
    while rest.startswith("["):
        end = rest.find("]")
        if end < 0:
            break
        keys.append(rest[1:end].strip(" "))
        rest = rest[end + 1 :]
    return keys if len(keys) <= _MAX_DEPTH else None


def _next_index(level: Mapping[str, Any]) -> str:
    return str(max((int(key) for key in level if key.isdecimal()), default=-1) + 1)


def _as_list(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return php_array({key: _as_list(item) for key, item in value.items()})


def _flatten(name: str, value: Any, pairs: list[str]) -> None:
    if value is None:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(f"{name}%5B{_quote(str(key))}%5D", item, pairs)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _flatten(f"{name}%5B{index}%5D", item, pairs)
    else:
        text = ("Y" if value else "N") if isinstance(value, bool) else str(value)
        pairs.append(f"{name}={_quote(text)}")


def _quote(text: str) -> str:
    return quote_plus(text, errors="replace")
