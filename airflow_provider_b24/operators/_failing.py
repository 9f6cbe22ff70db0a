"""Which failures end a task at once, and which are left to Airflow's retries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_b24.exceptions import Bitrix24Error


@contextmanager
def fail_at_once_unless_retryable() -> Iterator[None]:
    """Turn an error that trying again cannot help into ``AirflowFailException``; let the others through.

    :raises AirflowFailException: for a :class:`~airflow_provider_b24.exceptions.Bitrix24Error` that is not
        ``retryable``: a refused call, or one that must not be repeated because it may have been done, also where the
        task's ``execution_timeout`` was over during it; and for a call that cannot be sent as it is.
    """
    from airflow.providers.common.compat.sdk import AirflowFailException

    from airflow_provider_b24.hooks._time_limits import MaybeDoneError

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
    except MaybeDoneError as error:
        raise AirflowFailException(
            f"{error} So this task is not tried again by itself. Look in the portal: if it was not done, clear the "
            "task; if it was, mark the task as success."
        ) from error
