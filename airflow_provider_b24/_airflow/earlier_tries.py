"""What an earlier try of a running task has left.

======  =====================================================================================================
3.0 on  Airflow gives a task that starts the keys of the XComs of its earlier try, and then deletes them.
3.4     XComs belong to an attempt, and no keys are given.
======  =====================================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context


def earlier_try_left_xcom(key: str, context: Context) -> bool | None:
    """Tell whether an earlier try of this task had left an XCom.

    :return: ``None`` when this Airflow does not say.
    """
    if context["ti"].try_number <= 1:
        return False
    from airflow_provider_b24._airflow.version import airflow_version

    started = getattr(context["ti"], "_ti_context_from_server", None)
    keys = getattr(started, "xcom_keys_to_clear", None)
    if keys is None or airflow_version() >= (3, 4):
        return None
    return key in keys
