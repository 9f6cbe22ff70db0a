"""Request bodies of strangers: read with limits, and parsed strictly."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_b24.receiver.answers import RefusedError
from airflow_provider_b24.robots.call import RESERVED_KEYS

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_BODY_BYTES = 1024 * 1024
MAX_BODY_SECONDS = 30.0
MAX_BYTES_TOGETHER = 64 * 1024 * 1024
MAX_JSON_DEPTH = 64
_PAUSE = 0.05

_LEAST_INT, _GREATEST_INT = -(2**63), 2**63 - 1


class Bodies:
    """Reads bodies, with limits for each and for all of them together.

    Only what has arrived counts: who sends slowly, or declares much, takes no place from others. What does not fit
    waits, unread, in the network.

    :param max_bytes: longest accepted body.
    :param max_seconds: longest time a body may take to arrive.
    :param max_bytes_together: how much of all bodies may be held at the same time.
    """

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BODY_BYTES,
        max_seconds: float = MAX_BODY_SECONDS,
        max_bytes_together: int = MAX_BYTES_TOGETHER,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._max_together = max_bytes_together
        self._held = 0

    @asynccontextmanager
    async def reading(self, request: Request) -> AsyncIterator[bytes]:
        """Read a body; it counts as held until the end of the block.

        :raises RefusedError: 413 when it is too long, 408 when it comes too slowly, 400 when it breaks off, 429 when
            too much is held for as long as a body may take.
        """
        from starlette.requests import ClientDisconnect

        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._max_seconds):
                    self._check_declared(request)
                    async for chunk in request.stream():
                        if len(body) + len(chunk) > self._max_bytes:
                            raise self._too_large()
                        await self._hold(len(chunk))
                        body += chunk
            except TimeoutError:
                raise self._too_slow() from None
            except ClientDisconnect:
                raise RefusedError(400, "incomplete", "The connection ended before the body did.") from None
            yield bytes(body)
        finally:
            self._held -= len(body)

    def _check_declared(self, request: Request) -> None:
        declared = request.headers.get("content-length", "")
        if (
            declared.isascii()
            and declared.isdigit()
            and (len(declared) > 18 or int(declared) > self._max_bytes)
        ):
            raise self._too_large()

    def _too_slow(self) -> RefusedError:
        if self._held > self._max_together - self._max_bytes:
            return RefusedError(429, "too_many", "Too much is being posted; try again later.")
        return RefusedError(
            408, "too_slow", f"The body did not arrive within {self._max_seconds:.0f} seconds."
        )

    def _too_large(self) -> RefusedError:
        return RefusedError(413, "too_large", f"The body is longer than {self._max_bytes} bytes.")

    async def _hold(self, number: int) -> None:
        while self._held + number > self._max_together:
            await asyncio.sleep(_PAUSE)
        self._held += number


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object that Airflow can carry: through its messages, its serializers and any of its databases.

    :raises RefusedError: 400 with the reason and no part of the body.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_not_a_number)
    except RefusedError:
        raise
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise _malformed("The body is not valid UTF-8.") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    except ValueError:
        raise _malformed("The body holds a number that is too long.") from None
    if not isinstance(value, dict):
        raise _malformed("The body must be a JSON object.")
    _check(value)
    return value


def _check(root: Any) -> None:
    waiting = [(root, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_JSON_DEPTH:
            raise _too_deep()
        if isinstance(value, dict):
            if not RESERVED_KEYS.isdisjoint(value):
                raise _malformed(f"The keys {', '.join(sorted(RESERVED_KEYS))} are reserved.")
            waiting.extend((key, depth) for key in value)
            waiting.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            waiting.extend((item, depth + 1) for item in value)
        elif isinstance(value, str):
            if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
                raise _malformed("The body holds a NUL character or half a character (a lone surrogate).")
        elif isinstance(value, float) and not math.isfinite(value):
            raise _malformed("The body holds a number that is too large.")
        elif isinstance(value, int) and not _LEAST_INT <= value <= _GREATEST_INT:
            raise _malformed("The body holds an integer of more than 64 bits: send it as text.")


def _not_a_number(name: str) -> NoReturn:
    raise _malformed(f"{name} is not JSON.")


def _too_deep() -> RefusedError:
    return _malformed(f"The body is nested deeper than {MAX_JSON_DEPTH} levels.")


def _malformed(message: str) -> RefusedError:
    return RefusedError(400, "malformed", message)
