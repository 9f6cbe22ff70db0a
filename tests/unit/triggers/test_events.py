"""What a trigger reports crosses from the triggerer to the worker, with what the worker decides by."""

import json

import msgspec
import pytest
from airflow.sdk.execution_time.comms import _RequestFrame

from airflow_provider_b24.exceptions import (
    AuthError,
    EventTokenError,
    ProcessEndedError,
    ProcessLockedError,
    ServerError,
    TransportError,
)
from airflow_provider_b24.triggers._events import LARGEST_EVENT, error_event, error_of, event_of


@pytest.mark.parametrize(
    "kind",
    [AuthError, EventTokenError, ProcessEndedError, ProcessLockedError, ServerError, TransportError],
)
@pytest.mark.parametrize("ambiguous", [True, False])
@pytest.mark.parametrize("retryable", [True, False])
def test_an_error_arrives_as_it_was(kind, ambiguous, retryable):
    error = kind("code", "what happened", 500, "bizproc.event.send", "example.bitrix24.com")
    error.ambiguous, error.retryable = ambiguous, retryable

    arrived = error_of(json.loads(json.dumps(error_event(error))))

    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert (arrived.ambiguous, arrived.retryable) == (ambiguous, retryable)


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        ("half a \ud83d smile", "half a ? smile"),
        ({"\ud800": ["\udfff", "ä 😀"]}, {"?": ["?", "ä 😀"]}),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
        ([2**64 - 1, -(2**63), True, None, 0.5], [2**64 - 1, -(2**63), True, None, 0.5]),
    ],
)
def test_what_would_end_airflows_triggerer_is_changed_and_nothing_else(value, carried):
    event = event_of({"status": "result", "result": value})

    assert event.payload == {"status": "result", "result": carried}
    frame = _RequestFrame(id=1, body={"event": event.payload}).as_bytes()
    assert msgspec.msgpack.decode(frame[4:])[1]["event"] == event.payload


def test_what_is_too_large_becomes_an_error_that_says_what_to_do():
    small, large = ({"status": "result", "result": "x" * (LARGEST_EVENT - room)} for room in (100, 0))

    assert event_of(small).payload == small
    error = error_of(event_of(large).payload)
    assert "deferrable=False" in str(error)
    assert not error.retryable
