"""DAG files, read as Airflow reads them, in a process of ours.

=======  ====================================================================================================
3.0-3.1  ``airflow.models.dagbag.DagBag``
3.2      ``airflow.dag_processing.dagbag.DagBag``
3.0-3.2  It reads Airflow's examples, too, unless it is told not to.
=======  ====================================================================================================

The path for 3.0 and 3.1 may go when the provider needs 3.2, what is said of examples when it needs 3.3.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_b24._airflow.versions import airflow_version


@dataclass(frozen=True, slots=True)
class DagFiles:
    """What DAG files hold.

    :param dags: their DAGs.
    :param broken: DAG file to what Airflow says about it.
    """

    dags: Sequence[Any]
    broken: Mapping[str, str]


def read_dag_files(folder: str | Path | None = None) -> DagFiles:
    """Import all DAG files of a folder. What they print goes to the standard error output.

    The examples that Airflow loads beside its DAG folder, ours among them, are left out.

    :param folder: Airflow's own DAG folder by default.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]
    options: dict[str, Any] = {"include_examples": False} if airflow_version() < (3, 3) else {}
    # What Airflow and DAG files print while they are parsed must not get between the lines of a JSON document.
    with contextlib.redirect_stdout(sys.stderr):
        bag = DagBag(str(folder) if folder is not None else None, **options)
    return DagFiles(
        tuple(bag.dags.values()),
        {str(file): str(error) for file, error in sorted(bag.import_errors.items())},
    )
