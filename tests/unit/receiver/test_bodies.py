"""Bodies of strangers: limits hold while reading, and what passes is what Airflow can carry."""

from __future__ import annotations

import asyncio
import json
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from airflow_provider_b24.receiver.answers import RefusedError
from airflow_provider_b24.receiver.bodies import Bodies, parse_json_object


def request_of(*messages: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[Request, list[Any]]:
    waiting = list(messages)

    async def receive() -> Any:
        if not waiting:
            await asyncio.sleep(3600)
        return waiting.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive), waiting


def chunk(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def read_body(request: Request, **limits: Any) -> bytes:
    async with Bodies(**limits).reading(request) as body:
        return body


@pytest.mark.anyio
class TestReading:
    async def test_a_body_in_pieces_is_put_together(self):
        request, _ = request_of(chunk(b"ab"), chunk(b""), chunk(b"c", more=False))
        assert await read_body(request, max_bytes=3) == b"abc"

    async def test_a_long_body_is_refused_before_all_of_it_was_read(self):
        request, unread = request_of(chunk(b"ab"), chunk(b"cd"), chunk(b"ef"), chunk(b"", more=False))
        with pytest.raises(RefusedError) as refusal:
            await read_body(request, max_bytes=3)
        assert refusal.value.status == 413
        assert len(unread) == 2

    @pytest.mark.parametrize("length", ["4", "9" * 5000])
    async def test_a_body_that_is_announced_to_be_long_is_not_read(self, length):
        request, unread = request_of(chunk(b"ab", more=False), headers={"content-length": length})
        with pytest.raises(RefusedError) as refusal:
            await read_body(request, max_bytes=3)
        assert (refusal.value.status, len(unread)) == (413, 1)

    @pytest.mark.parametrize("length", ["3", "1", "nonsense", "-5", "\u0664"])
    async def test_the_announcement_is_not_trusted(self, length):
        request, _ = request_of(chunk(b"abcd", more=False), headers={"content-length": length})
        with pytest.raises(RefusedError) as refusal:
            await read_body(request, max_bytes=3)
        assert refusal.value.status == 413

    async def test_a_body_that_never_ends_is_refused(self):
        request, _ = request_of(chunk(b"ab"))
        with pytest.raises(RefusedError) as refusal:
            await read_body(request, max_seconds=0.01)
        assert refusal.value.status == 408

    async def test_a_connection_that_breaks_off_is_no_error_of_ours(self):
        request, _ = request_of(chunk(b"ab"), {"type": "http.disconnect"})
        with pytest.raises(RefusedError) as refusal:
            await read_body(request)
        assert refusal.value.status == 400


@pytest.mark.anyio
class TestTogether:
    """All bodies that are held at the same time have a limit of their own."""

    async def test_what_does_not_fit_waits_unread_until_there_is_room(self):
        bodies, order = Bodies(max_bytes=4, max_bytes_together=6), []
        release = asyncio.Event()

        async def hold() -> None:
            request, _ = request_of(chunk(b"abcd", more=False))
            async with bodies.reading(request):
                order.append("first")
                await release.wait()
            order.append("first gone")

        async def wait() -> None:
            request, _ = request_of(chunk(b"efgh", more=False))
            async with bodies.reading(request) as body:
                order.append(body.decode())

        first = asyncio.create_task(hold())
        while not order:
            await asyncio.sleep(0)
        second = asyncio.create_task(wait())
        await asyncio.sleep(0.2)
        assert order == ["first"]
        release.set()
        await asyncio.gather(first, second)
        assert sorted(order) == ["efgh", "first", "first gone"]

    async def test_who_waits_too_long_is_told_to_come_again(self):
        bodies = Bodies(max_bytes=4, max_bytes_together=6, max_seconds=0.1)
        first, _ = request_of(chunk(b"abcd", more=False))
        second, _ = request_of(chunk(b"efgh", more=False))
        async with bodies.reading(first):
            with pytest.raises(RefusedError) as refusal:
                async with bodies.reading(second):
                    pass
        assert refusal.value.status == 429

    async def test_who_declares_much_and_sends_nothing_takes_no_room(self):
        bodies = Bodies(max_bytes=4, max_bytes_together=4, max_seconds=0.2)

        async def declare() -> int:
            request, _ = request_of(headers={"content-length": "4"})
            with pytest.raises(RefusedError) as refusal:
                async with bodies.reading(request):
                    pass
            return refusal.value.status

        slow = [asyncio.create_task(declare()) for _ in range(5)]
        await asyncio.sleep(0)
        request, _ = request_of(chunk(b"abcd", more=False))
        async with bodies.reading(request) as body:
            assert body == b"abcd"
        assert await asyncio.gather(*slow) == [408] * 5

    async def test_a_body_that_is_refused_takes_no_room(self):
        bodies = Bodies(max_bytes=4, max_bytes_together=4, max_seconds=0.1)
        for messages in (
            [chunk(b"abc"), chunk(b"de")],
            [chunk(b"abc")],
            [chunk(b"abc"), {"type": "http.disconnect"}],
        ):
            request, _ = request_of(*messages)
            with pytest.raises(RefusedError):
                async with bodies.reading(request):
                    pass
        request, _ = request_of(chunk(b"abcd", more=False))
        async with bodies.reading(request) as body:
            assert body == b"abcd"


reserved = ("__classname__", "__id__", "__type", "__var")
storable_text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])).filter(
    lambda text: text not in reserved
)
storable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | storable_text,
    lambda children: st.lists(children) | st.dictionaries(storable_text, children),
    max_leaves=30,
)


class TestParsing:
    @given(st.dictionaries(storable_text, storable))
    def test_what_airflow_can_carry_passes_unchanged(self, value):
        assert parse_json_object(json.dumps(value).encode()) == value

    @given(
        st.binary(max_size=200)
        | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
    def test_anything_is_an_object_that_airflow_can_carry_or_is_refused(self, serde, body):
        _carry_or_refuse(serde, body)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(reserved),
            lambda children: (
                st.lists(children) | st.dictionaries(st.text() | st.sampled_from(reserved), children)
            ),
        )
    )
    def test_any_json_is_an_object_that_airflow_can_carry_or_is_refused(self, serde, value):
        _carry_or_refuse(serde, json.dumps(value).encode())

    def test_the_greatest_depth_is_64(self):
        def nested(depth: int) -> bytes:
            return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)

        parse_json_object(nested(64))
        with pytest.raises(RefusedError, match="deeper"):
            parse_json_object(nested(65))


def _carry_or_refuse(serde: ModuleType, body: bytes) -> None:
    try:
        value = parse_json_object(body)
    except RefusedError:
        return
    # The way of a task's return value: serializer, message to the supervisor, JSON column.
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(serde.serialize(value))) == value
    assert serde.deserialize(serde.serialize(value)) == value
    assert "\\u0000" not in json.dumps(value, allow_nan=False).replace("\\\\", "")
