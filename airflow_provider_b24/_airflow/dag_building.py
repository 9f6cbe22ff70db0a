"""A DAG that is being built.

======  =====================================================================================================
3.0 on  ``DagContext`` knows the DAG whose ``with`` block or ``@dag`` function is running; it has no public name.
======  =====================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import DAG


@contextmanager
def without_default_args() -> Iterator[DAG]:
    """Give the DAG that is being built; its ``default_args`` do not reach tasks that are made in the block."""
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    dag = DagContext.get_current()
    if dag is None:
        raise RuntimeError("No DAG is being built here.")
    own, dag.default_args = dag.default_args, {}
    try:
        yield dag
    finally:
        dag.default_args = own
