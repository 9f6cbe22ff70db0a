"""What one try of a task leaves for the next.

==========  ============================================================================================================
3.0 to 3.2  An XCom: a task that starts is told the keys of the XComs of its earlier try, which are then deleted.
3.3 on      The task's state store, which all tries of a task share. XComs belong to an attempt since 3.4.
==========  ============================================================================================================

The path for 3.0 to 3.2 may go when the provider needs 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_b24._airflow.xcoms import delete_xcom, place_of, write_xcom

if TYPE_CHECKING:
    from airflow.sdk import Context


class TryMark:
    """A mark that a try leaves, and that the next tries find.

    :param key: its name.
    :param context: of the running task.
    """

    def __init__(self, key: str, context: Context) -> None:
        self._key = key
        self._ti = context["ti"]
        self._store: Any = context.get("task_state_store")

    def was_left(self) -> bool:
        """Tell whether an earlier try has left the mark. To be asked before this try leaves it."""
        if self._ti.try_number <= 1:
            return False
        if self._store is not None:
            return self._store.get(self._key) is not None
        started = getattr(self._ti, "_ti_context_from_server", None)
        keys = getattr(started, "xcom_keys_to_clear", None)
        return keys is None or self._key in keys

    def leave(self) -> None:
        """Leave the mark. What an earlier try has left must be left again to reach the next."""
        if self._store is not None:
            self._store.set(self._key, self._ti.try_number)
            return
        write_xcom(self._key, self._ti.try_number, place_of(self._ti))

    def take_back(self) -> None:
        """Remove the mark."""
        if self._store is not None:
            self._store.delete(self._key)
            return
        delete_xcom(self._key, place_of(self._ti))
