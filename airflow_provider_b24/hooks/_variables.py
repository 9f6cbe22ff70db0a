"""Airflow Variables from wherever a hook is used: task, trigger, callback, API server, command line, script."""

from __future__ import annotations

import sys


def read_variable(key: str) -> str | None:
    """Read a Variable as it is stored now, ``None`` when there is none.

    Airflow gives none either when it could not ask for it. Taken for an answer, that would bring spent tokens back
    and, with the next writing, wipe out what was stored. So what is missing is asked for again where it is stored.

    :param key: the Variable's key.
    :raises Exception: of whatever kind, when it is unknown whether there is one.
    """
    if _is_supervised():
        from airflow.sdk import Variable

        try:
            from airflow.sdk import SecretCache
        except ImportError:  # Airflow 3.0
            from airflow.secrets.cache import SecretCache  # type: ignore[no-redef,import-not-found]

        # Another worker may have written it a moment ago; the DAG processor caches for minutes.
        SecretCache.invalidate_variable(key)
        value: str | None = Variable.get(key, default=None)
        return _ask_api_server(key) if value is None else value
    from airflow.models import Variable as DatabaseVariable

    stored: str | None = DatabaseVariable.get(key, default_var=None)
    return _ask_database(key) if stored is None else stored


def write_variable(key: str, value: str, description: str) -> None:
    """Write a Variable; Airflow encrypts it at rest.

    :param key: the Variable's key.
    :param value: what to store.
    :param description: what people read beside it in the UI.
    """
    if _is_supervised():
        from airflow.sdk import Variable

        Variable.set(key, value, description=description)
        return
    from airflow.models import Variable as DatabaseVariable

    DatabaseVariable.set(key, value, description=description)


def _ask_api_server(key: str) -> str | None:
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, VariableResult
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    if not hasattr(SUPERVISOR_COMMS, "send"):  # Airflow 3.0, which hides no failure
        return None
    try:
        answer = SUPERVISOR_COMMS.send(GetVariable(key=key))
    except AirflowRuntimeError as error:
        if error.error.error != ErrorType.VARIABLE_NOT_FOUND:
            raise
        return None
    if isinstance(answer, VariableResult):
        return answer.value
    if isinstance(answer, ErrorResponse) and answer.error == ErrorType.VARIABLE_NOT_FOUND:
        return None
    raise RuntimeError(f"Airflow's API server does not say whether there is a Variable {key!r}.")


def _ask_database(key: str) -> str | None:
    from airflow.secrets.metastore import MetastoreBackend

    value: str | None = MetastoreBackend().get_variable(key)
    return value


def _is_supervised() -> bool:
    """Whether this code runs under a supervisor (worker, triggerer, DAG processor) and not beside the database.

    ``airflow.sdk.Variable`` works in the one place only, ``airflow.models.Variable`` in the other. Airflow itself
    tells them apart this way.
    """
    return hasattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS")
