"""Airflow Variables from wherever a hook is used: task, trigger, callback, API server, command line, script.

======  =====================================================================================================
3.0     ``SecretCache`` is in ``airflow.secrets``, and no failure to read looks like a missing Variable. May go when
        the provider needs 3.1.
3.2 on  With ``[core] multi_team`` a Variable belongs to the team of the task that writes it first. Beside the
        database ``Variable.get`` and ``.delete`` see no team's; keys are unique all the same.
======  =====================================================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.models.variable import Variable
    from sqlalchemy.orm import Session


def read_variable(key: str) -> str | None:
    """Read a Variable as it is stored now, ``None`` when there is none.

    Airflow gives none either when it could not ask for it. Taken for an answer, that would bring spent tokens back
    and, with the next writing, wipe out what was stored. So what is missing is asked for again where it is stored.

    :param key: the Variable's key.
    :raises Exception: of whatever kind, when it is unknown whether there is one.
    """
    if is_supervised():
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


def update_variable(key: str, change: Callable[[str | None], str | None], description: str) -> None:
    """Read a Variable, decide, and write it; Airflow encrypts it at rest.

    Beside the database (API server, command line, script) that is one transaction, and the row is locked from the
    reading to the end: nothing that others write meanwhile gets lost. Tasks and triggers have no lock: Airflow's API
    reads and writes a Variable in two requests. What someone else writes between the two, a few milliseconds, is
    overwritten; so ``change`` must do nothing slow, and what is written must be right even then.

    :param key: the Variable's key.
    :param change: is given the present value, ``None`` when there is none, and gives the new one, ``None`` to leave
        everything as it is. May be called again when another process has been faster. What it raises ends this.
    :param description: what people read beside it in the UI.
    :raises Exception: of whatever kind, when it cannot be read or written.
    """
    if is_supervised():
        from airflow.sdk import Variable

        value = change(read_variable(key))
        if value is not None:
            Variable.set(key, value, description=description)
        return
    from sqlalchemy.exc import IntegrityError

    try:
        _update_in_database(key, change, description)
    except IntegrityError:  # another process has inserted it since; now there is a row to lock
        _update_in_database(key, change, description)


def delete_variable(key: str) -> None:
    """Delete a Variable; nothing happens when there is none.

    :raises Exception: of whatever kind, when this process cannot.
    """
    if is_supervised():
        from airflow.sdk import Variable

        Variable.delete(key)
        return
    from airflow.models.variable import Variable as DatabaseVariable
    from sqlalchemy import delete

    from airflow_provider_b24._airflow.database import writing

    with writing() as session:
        session.execute(delete(DatabaseVariable).where(DatabaseVariable.key == key))


def _update_in_database(key: str, change: Callable[[str | None], str | None], description: str) -> None:
    from airflow import settings
    from airflow.models.variable import Variable
    from sqlalchemy.orm import sessionmaker

    # A session of its own: Airflow's is shared by all code in a thread, and would commit what a caller has begun.
    with sessionmaker(bind=settings.engine)() as session, session.begin():
        row = _locked(session, key)
        value = change(None if row is None else row.get_val())
        if value is None:
            return
        if row is None:
            row = Variable(key=key)
            session.add(row)
        row.set_val(value)
        row.description = description


def _locked(session: Session, key: str) -> Variable | None:
    from airflow.models.variable import Variable
    from sqlalchemy import select, update

    if session.get_bind().dialect.name == "sqlite":
        # It has no row locks, and a transaction that has only read does not keep others from writing.
        session.execute(update(Variable).where(Variable.key == key).values(key=key))
    found: Variable | None = session.scalar(select(Variable).where(Variable.key == key).with_for_update())
    return found


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
    from airflow.models.variable import Variable
    from sqlalchemy import select

    from airflow_provider_b24._airflow.database import reading

    with reading() as session:
        row = session.scalar(select(Variable).where(Variable.key == key))
        return None if row is None else row.get_val()


def is_supervised() -> bool:
    """Whether this code runs under a supervisor (worker, triggerer, DAG processor) and not beside the database.

    ``airflow.sdk.Variable`` works in the one place only, ``airflow.models.Variable`` in the other. Airflow itself
    tells them apart this way.
    """
    return hasattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS")
