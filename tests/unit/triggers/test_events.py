"""An error crosses from the triggerer to the worker with what the worker decides by."""

import json

import pytest

from airflow_provider_b24.exceptions import AuthError, ServerError, TransportError
from airflow_provider_b24.triggers._events import error_event, error_of


@pytest.mark.parametrize("kind", [AuthError, ServerError, TransportError])
@pytest.mark.parametrize("ambiguous", [True, False])
@pytest.mark.parametrize("retryable", [True, False])
def test_an_error_arrives_as_it_was(kind, ambiguous, retryable):
    error = kind("code", "what happened", 500, "bizproc.event.send", "example.bitrix24.com")
    error.ambiguous, error.retryable = ambiguous, retryable

    arrived = error_of(json.loads(json.dumps(error_event(error))))

    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert (arrived.ambiguous, arrived.retryable) == (ambiguous, retryable)
