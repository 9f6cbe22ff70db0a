"""What names a task's call, whichever try makes it: keys for REST 3.0."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from airflow_provider_b24.rest import ApiVersion


def key_of_task(api: ApiVersion, method: str, ti: RuntimeTaskInstanceProtocol, number: int = 0) -> str | None:
    """Give a call of a task its idempotency key: the same in every try, and after the task was cleared.

    :param number: the call's place among the calls of the task.
    :return: ``None`` for the old API, which knows no keys, and for a method that only reads.
    """
    from airflow_provider_b24.rest.methods import Effect, facts_of

    if api == "v2" or facts_of(method).effect is Effect.READS:
        return None
    parts = [ti.dag_id, ti.run_id, ti.task_id, ti.map_index, number]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
