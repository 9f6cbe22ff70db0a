"""Which failures end a task at once."""

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_b24.operators._failing import fail_at_once_unless_retryable
from airflow_provider_b24.rest import Call


def test_a_call_that_cannot_be_sent_ends_the_task():
    with (
        pytest.raises(AirflowFailException, match="cannot be sent as it is"),
        fail_at_once_unless_retryable(),
    ):
        Call("no method name")


def test_another_error_about_a_value_stays_what_it_is():
    with pytest.raises(ValueError, match="^month must be in 1..12$"), fail_at_once_unless_retryable():
        raise ValueError("month must be in 1..12")
