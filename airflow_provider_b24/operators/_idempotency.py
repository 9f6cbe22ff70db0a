"""What names a task's call, whichever try makes it: keys for REST 3.0."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from airflow_provider_b24.rest import ApiVersion, Call


def with_key(call: Call, ti: RuntimeTaskInstanceProtocol, number: int | None = None) -> Call:
    """Give a call of a task the key of :func:`key_of_task`, unless it has one of its own."""
    key = call.idempotency_key or key_of_task(call.api, call.method, ti, number)
    return replace(call, idempotency_key=key)


def key_of_task(
    api: ApiVersion, method: str, ti: RuntimeTaskInstanceProtocol, number: int | None = None
) -> str | None:
    """Give a call of a task its idempotency key: the same in every try, and after the task was cleared.

    :param number: the call's place among several.
    :return: ``None`` where there is no use for one: with the old API, for a method that only reads, and among several
        calls for one that only sets what it says, since calls with keys share no requests.
    """
    from airflow_provider_b24.rest.methods import Effect, facts_of

    effect = facts_of(method).effect
    if api == "v2" or effect is Effect.READS or (effect is Effect.SETS and number is not None):
        return None
    parts = [ti.dag_id, ti.run_id, ti.task_id, ti.map_index, number]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
