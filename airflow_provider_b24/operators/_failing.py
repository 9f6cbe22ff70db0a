"""Which failures end a task at once, and which are left to Airflow's retries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_b24.exceptions import Bitrix24Error


@contextmanager
def fail_at_once_unless_retryable() -> Iterator[None]:
    """Turn an error that trying again cannot help into ``AirflowFailException``; let the others through.

    :raises AirflowFailException: for a :class:`~airflow_provider_b24.exceptions.Bitrix24Error` that is not
        ``retryable``: a refused call, or one that must not be repeated because it may have been done; and for a call
        that cannot be sent as it is.
    """
    from airflow.providers.common.compat.sdk import AirflowFailException

    try:
        yield
    except ValueError as error:
        from airflow_provider_b24.rest.encoding import UnsendableValueError

        if not isinstance(error, UnsendableValueError):
            raise
        raise AirflowFailException(f"The call cannot be sent as it is. {error}") from error
    except Bitrix24Error as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error
