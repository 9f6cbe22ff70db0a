"""XComs from tasks and triggers, in Airflow's database whatever backend is configured.

There the receiver writes what is delivered, and the dispatcher reads what is noted.

=======  ====================================================================================================
3.0      ``BaseXCom.delete`` leaves out the map index, also when a task that starts deletes what its earlier try
         has left: of a mapped task nothing is ever deleted. Here the message is sent that does it. May go with 3.0.
3.0-3.2  ``BaseXCom.get_one`` only; in a trigger it must be called from another thread.
3.3      ``BaseXCom.aget_one``
=======  ====================================================================================================

``get_one`` in triggers may go when the provider needs 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_b24._airflow.versions import airflow_version

Place = Mapping[str, Any]
"""``dag_id``, ``run_id``, ``task_id`` and ``map_index`` of a task instance."""

_begun: set[tuple[Any, ...]] = set()


def read_xcom(key: str, place: Place) -> Any:
    """Read an XCom, ``None`` when there is none."""
    from airflow.sdk.bases.xcom import BaseXCom

    return BaseXCom.get_one(key=key, **place)


async def aread_xcom(key: str, place: Place) -> Any:
    """Read an XCom from a trigger, ``None`` when there is none."""
    from airflow.sdk.bases.xcom import BaseXCom

    if hasattr(BaseXCom, "aget_one"):
        return await BaseXCom.aget_one(key=key, **place)
    from asgiref.sync import sync_to_async

    # Not in the one thread that all triggers share otherwise.
    return await sync_to_async(BaseXCom.get_one, thread_sensitive=False)(key=key, **place)


def write_xcom(key: str, value: Any, place: Place) -> None:
    """Write an XCom in the place of one that may be there."""
    from airflow.sdk.bases.xcom import BaseXCom

    BaseXCom.set(key=key, value=value, **place)


def delete_xcom(key: str, place: Place) -> None:
    """Delete an XCom, if there is one."""
    from airflow.sdk.bases.xcom import BaseXCom

    if not _forgets_the_map_index(place):
        BaseXCom.delete(key=key, **place)
        return
    from airflow.sdk.execution_time.comms import DeleteXCom
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    SUPERVISOR_COMMS.send(DeleteXCom(key=key, **place))


def delete_of_earlier_tries(key: str, ti: Any) -> None:
    """Delete an XCom that an earlier try of the running task has left, where Airflow does not do that.

    Once for each try: what comes after is this try's own.

    :param ti: the running task's ``ti``.
    """
    place = place_of(ti)
    if not _forgets_the_map_index(place) or ti.try_number <= 1:
        return
    this_try = (key, *place.values(), ti.try_number)
    if this_try not in _begun:
        _begun.add(this_try)
        delete_xcom(key, place)


def place_of(ti: Any) -> Place:
    """Give the place of a running task.

    :param ti: its ``ti``.
    """
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": -1 if ti.map_index is None else ti.map_index,
    }


def _forgets_the_map_index(place: Place) -> bool:
    return place["map_index"] >= 0 and airflow_version() < (3, 1)
