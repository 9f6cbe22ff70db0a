"""Errors are for the reader, and survive the ways exceptions travel."""

import copy
import pickle

import pytest

from airflow_provider_b24.exceptions import (
    AuthError,
    BatchError,
    Bitrix24Error,
    EventTokenError,
    ExpiredTokenError,
    OperationTimeLimitError,
    PortalBlockedError,
    ProcessEndedError,
    ProcessLockedError,
    RateLimitError,
    ServerError,
    TransportError,
)


def test_an_error_names_method_portal_code_and_status():
    error = Bitrix24Error("ACCESS_DENIED", "No rights.", 403, "crm.deal.get", "example.bitrix24.com")

    assert str(error) == "crm.deal.get at example.bitrix24.com: ACCESS_DENIED (HTTP 403): No rights."


def test_an_error_without_an_answer_says_no_status():
    assert str(TransportError("connection_refused")) == "connection_refused"


@pytest.mark.parametrize(
    ("kind", "retryable", "ambiguous"),
    [
        (Bitrix24Error, False, False),
        (TransportError, True, False),
        (AuthError, False, False),
        (ExpiredTokenError, True, False),
        (EventTokenError, False, False),
        (ProcessEndedError, False, False),
        (ProcessLockedError, True, False),
        (RateLimitError, True, False),
        (OperationTimeLimitError, True, False),
        (PortalBlockedError, False, False),
        (ServerError, True, True),
        (BatchError, False, False),
    ],
)
def test_each_kind_knows_whether_repeating_makes_sense(kind, retryable, ambiguous):
    error = kind("code")

    assert isinstance(error, Bitrix24Error)
    assert (error.retryable, error.ambiguous) == (retryable, ambiguous)


def test_whoever_expects_a_refused_token_gets_a_process_that_is_over():
    assert issubclass(ProcessEndedError, EventTokenError)
    assert not issubclass(ProcessLockedError, EventTokenError)


@pytest.mark.parametrize("travel", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize(
    ("error", "attribute"),
    [
        (TransportError("broken", ambiguous=True), "ambiguous"),
        (RateLimitError("busy", retry_after=1.5), "retry_after"),
        (OperationTimeLimitError("closed", reset_at=17.0, retry_after=3.0), "reset_at"),
    ],
)
def test_an_error_keeps_what_it_knows_when_it_travels(travel, error, attribute):
    arrived = travel(error)

    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert getattr(arrived, attribute) == getattr(error, attribute)
