"""Values on the wire of the old API: PHP bracket forms in, JSON bodies and batch command strings out.

A call inside a batch travels as a query string, a single call as JSON. So that both arrive exactly alike, values
are first brought into the one form a query string can carry: texts, lists and mappings. What a query string
cannot carry (an empty list, a name with brackets) makes :func:`command` return ``None``, and the call goes alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import quote_plus, unquote_plus
from uuid import UUID

MAX_DEPTH = 32
RESULT_REFERENCE = "$result["
_RESULT = "$result"

_ESCAPED = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_INDEX = re.compile(r"(?:0|[1-9][0-9]*)\Z", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[\[\]\x00]")
_STEP = re.compile(r"[A-Za-z0-9_]+\Z")
_NOT_IN_TOP_NAMES = re.compile(r"[\[\]\x00 .]")


class UnsendableValueError(ValueError):
    """A call cannot be sent to Bitrix24 as it is, most often for a parameter's value. Nothing was sent."""


class MalformedFormError(ValueError):
    """A form's body is not what Bitrix24 sends, or is larger than allowed."""


class Reference(str):
    """A text that is meant to refer to an earlier call of the same batch, ``$result[key][field]``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False)
class Ref:
    """The result of an earlier call of the same batch, or a part of it, as a parameter.

    ``Ref("contact")`` is the whole result of the call with this name, ``Ref("found", 0, "ID")`` the field ``ID`` of the
    first record in a list. Calls that depend on each other are made in their order, in one request where they fit.

    :param name: the name of the call.
    :param path: where in its result: names of fields, and places in lists, from 0.
    :raises UnsendableValueError: when this can be neither.

    Documentation: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/batch.html
    """

    name: str
    path: tuple[str, ...]

    def __init__(self, name: str, *path: str | int) -> None:
        steps = tuple(str(step) for step in path)
        if not isinstance(name, str) or not name or not all(_STEP.match(step) for step in steps):
            raise UnsendableValueError(
                f"Ref takes the name of a call, and names of fields or places in lists, not {(name, *path)!r}"
            )
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "path", steps)

    def __str__(self) -> str:
        return self.name + "".join(f"[{step}]" for step in self.path)


def plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Bring parameters into the form that arrives alike singly and in a batch.

    ====================================  ==========================================
    value                                 arrives as
    ====================================  ==========================================
    ``str``                               itself
    ``bool``                              ``Y`` or ``N``
    ``None``                              an empty text
    ``int``, ``float``, ``Decimal``       its digits, never in exponent form if ``Decimal``
    ``datetime`` (with time zone)         ISO 8601 with offset, to the second
    ``date``, ``time``                    ISO 8601
    ``UUID``                              its usual text
    ``Enum``                              its value, by this table
    ``list``, ``tuple``, other sequences  a list
    mapping                               a mapping; with the keys 0 to n-1 a list
    ``File``                              a list of its name and its content in Base64
    numpy scalars and the like            their ``item()``, by this table
    ====================================  ==========================================

    :raises UnsendableValueError: for everything else, with the name of the parameter and no value.
    """
    return {name_text(key, "the parameters"): _plain(value, str(key), 1) for key, value in params.items()}


def parameters(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the parameters of a call into their plain form.

    :raises UnsendableValueError: when one of them cannot be sent, or poses as authorization.
    """
    made = plain(params)
    refuse_auth(method, made)
    if method.lower() == "batch" and _names_auth(made):
        refuse_auth(method, ("auth",))
    return made


def refuse_auth(method: str, names: Iterable[str]) -> None:
    """Keep parameters from posing as authorization.

    :raises UnsendableValueError: when one of the names is ``auth``.
    """
    if any(name.lower() == "auth" for name in names):
        raise UnsendableValueError(
            f"{method}: 'auth' is not a parameter; the credentials come from the connection"
        )


def _names_auth(batch: Mapping[str, Any]) -> bool:
    """Tell whether one of the commands of a batch that the caller has put together has a parameter ``auth``."""
    commands = next((value for name, value in batch.items() if name.lower() == "cmd"), ())
    texts = commands.values() if isinstance(commands, Mapping) else commands
    queries = (text.partition("?")[2] for text in texts if isinstance(text, str))
    names = (unquote_plus(pair.partition("=")[0]) for query in queries for pair in query.split("&"))
    return any(name.partition("[")[0].strip(" ").lower() == "auth" for name in names)


def _plain(value: Any, path: str, depth: int) -> Any:
    if type(value) is str:
        return _unicode(value, path)
    if isinstance(value, (Sequence, Mapping)) and not isinstance(value, (str, bytes, bytearray, memoryview)):
        if depth >= MAX_DEPTH:
            raise UnsendableValueError(f"{path}: nested deeper than {MAX_DEPTH} levels")
        if not isinstance(value, Mapping):
            return [_plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        mapping = {
            name_text(key, path): _plain(item, f"{path}[{key}]", depth + 1) for key, item in value.items()
        }
        return _as_list(mapping)
    return scalar_text(value, path)


def scalar_text(value: Any, path: str) -> str:
    """Give a value that is neither a list nor a mapping as text, by the table of :func:`plain`.

    :param path: the parameter's name, for the error.
    :raises UnsendableValueError: when it cannot be sent.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "Y" if value else "N"
    if isinstance(value, Enum):
        return scalar_text(value.value, path)
    if isinstance(value, (str, int)):
        return _unicode(value if isinstance(value, Reference) else str(value), path)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnsendableValueError(f"{path}: {value} is not a number that can be sent")
        return repr(float(value))
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise UnsendableValueError(f"{path}: {value} is not a number that can be sent")
        return format(value, "f")
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise UnsendableValueError(
                f"{path}: a date with time needs a time zone, or the portal guesses one"
            )
        return value.isoformat(timespec="seconds")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Ref):
        raise UnsendableValueError(
            f"{path}: refers to the result of {value.name!r}, but no call of this name comes before it in a batch"
        )
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return scalar_text(item(), path)
    hint = (
        "; give bytes and paths as File" if isinstance(value, bytes) or hasattr(value, "read_bytes") else ""
    )
    raise UnsendableValueError(
        f"{path}: a value of type {type(value).__name__} cannot be sent to Bitrix24{hint}"
    )


def _unicode(text: str, path: str) -> str:
    """Refuse here what could not be encoded later, when the call travels with others in a batch."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnsendableValueError(
                f"{path}: the text holds half a character (a lone surrogate) and cannot be sent"
            ) from None
    return text


def name_text(key: object, path: str) -> str:
    """Give the name of a parameter, or of something inside it, as text.

    :param path: where it stands, for the error.
    :raises UnsendableValueError: when it is neither text nor a number.
    """
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise UnsendableValueError(f"{path}: a name of type {type(key).__name__} cannot be sent to Bitrix24")
    return _unicode(str(key), path)


def _as_list(mapping: dict[str, Any]) -> Any:
    """PHP knows one kind of array: keys 0 to n-1 make it a list."""
    if "0" not in mapping:
        return mapping
    try:
        return [mapping[str(index)] for index in range(len(mapping))]
    except KeyError:
        return mapping


def json_body(params: Mapping[str, Any]) -> bytes:
    """Encode plain parameters as the body of a single call."""
    return json.dumps(params, ensure_ascii=False, separators=(",", ":")).encode()


def command(method: str, params: Mapping[str, Any]) -> str | None:
    """Encode plain parameters as one command of a ``batch``.

    :return: ``method?query``; ``None`` when a query string cannot carry the parameters, or would be taken for a
        reference to another call's result: such a call must go alone.

    Documentation: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/batch.html
    """
    pairs: list[str] = []
    for key, value in params.items():
        if not key or _NOT_IN_TOP_NAMES.search(key) or not _add_pairs(pairs, quote_plus(key), value):
            return None
    return f"{method}?{'&'.join(pairs)}" if pairs else method


def _add_pairs(pairs: list[str], name: str, value: Any) -> bool:
    if isinstance(value, str):
        # Wherever it stands: what a portal replaces exactly is not documented, and others' answers are in the batch.
        if _RESULT in value and not isinstance(value, Reference):
            return False
        pairs.append(f"{name}={quote_plus(value)}")
        return True
    if not value:
        return False
    if isinstance(value, list):
        return all(_add_pairs(pairs, f"{name}[{index}]", item) for index, item in enumerate(value))
    return all(
        key != ""
        and key == key.strip(" ")  # PHP takes a blank name for none
        and not _NOT_IN_NAMES.search(key)
        and _add_pairs(pairs, f"{name}[{quote_plus(key)}]", item)
        for key, item in value.items()
    )


def parse_form(
    body: bytes, *, max_fields: int = 1000, max_depth: int = 10, max_bytes: int | None = None
) -> dict[str, Any]:
    """Read an ``application/x-www-form-urlencoded`` body with PHP brackets, as Bitrix24 posts it.

    Mappings whose keys are 0 to n-1 become lists. Strict where PHP is forgiving, because what is read here decides
    what is started: a name given twice, or as a text and as a mapping, is an error and not a choice.

    :param body: the body as received.
    :param max_fields: how many ``name=value`` pairs are accepted.
    :param max_depth: how many brackets a name may have.
    :param max_bytes: how long the body may be; ``None`` when the caller has checked.
    :raises MalformedFormError: with the reason, without any value.
    """
    if max_bytes is not None and len(body) > max_bytes:
        raise MalformedFormError(f"The form is longer than {max_bytes} bytes")
    if body.count(b"&") >= max_fields:
        raise MalformedFormError(f"The form has more than {max_fields} fields")
    form: dict[str, Any] = {}
    highest: dict[int, int] = {}
    for pair in body.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            _insert(form, _path(_text(name), max_depth), _text(value), highest)
    return {key: _lists(value) for key, value in form.items()}


def _text(raw: bytes) -> str:
    # Not urllib's unquote_to_bytes: strangers could make it take a second for each body.
    try:
        text = _ESCAPED.sub(_unescape, raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedFormError("The form is not valid UTF-8") from None
    if "\x00" in text:
        raise MalformedFormError("The form holds a NUL character")
    return text


def _unescape(escaped: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escaped[0].replace(b"%", b"").decode())


def _path(name: str, max_depth: int) -> list[str]:
    """Split ``a[b][]`` into ``["a", "b", ""]``."""
    top, bracket, rest = name.partition("[")
    if not top or "]" in top:
        raise MalformedFormError("The form has a field without a proper name")
    if not bracket:
        return [top]
    if not rest.endswith("]"):
        raise MalformedFormError(f"The brackets of the form's field {top[:40]!r} do not match")
    keys = rest[:-1].split("][")
    if len(keys) > max_depth:
        raise MalformedFormError(f"The form's field {top[:40]!r} is nested deeper than {max_depth} levels")
    if any("[" in key or "]" in key for key in keys):
        raise MalformedFormError(f"The brackets of the form's field {top[:40]!r} do not match")
    return [top, *keys]


def _insert(form: dict[str, Any], path: list[str], value: str, highest: dict[int, int]) -> None:
    """Put a value where its name says.

    :param highest: id of a mapping to its highest index so far: what ``[]`` appends to.
    """
    here = form
    for key in path[:-1]:
        inner = here.setdefault(_key(here, key, highest), {})
        if not isinstance(inner, dict):
            raise MalformedFormError(f"The form's field {path[0][:40]!r} is both a text and a mapping")
        here = inner
    last = _key(here, path[-1], highest)
    if last in here:
        raise MalformedFormError(f"The form's field {path[0][:40]!r} is given twice")
    here[last] = value


def _key(mapping: dict[str, Any], key: str, highest: dict[int, int]) -> str:
    key = key or str(highest.get(id(mapping), -1) + 1)
    if len(key) < 10 and _INDEX.match(key):
        highest[id(mapping)] = max(highest.get(id(mapping), -1), int(key))
    return key


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return _as_list({key: _lists(item) for key, item in value.items()})
    return value
