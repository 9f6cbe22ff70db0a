"""A mistake that is easily made: REST parameters given as Airflow's ``params``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


def warn_of_params(operator: BaseOperator) -> None:
    """Say so when a task has ``params`` of its own and no ``parameters``: the method would be called without any.

    :param operator: constructed; Airflow has merged the DAG's params into its own.
    """
    inherited = operator.dag.params if operator.has_dag() else {}
    if set(operator.params) - set(inherited):
        warnings.warn(
            f"{operator.task_id}: params are Airflow's own and are not sent to Bitrix24; the parameters of a REST "
            "method are called parameters.",
            stacklevel=3,
        )
