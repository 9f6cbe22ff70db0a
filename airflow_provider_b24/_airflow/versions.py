"""What is known of Airflow's versions: which were tested, and what some of them lack.

=====  =======================================================================  =============================
Since  What differs                                                             Module
=====  =======================================================================  =============================
3.1    XComs of mapped tasks are deleted by their map index                     ``xcoms``
3.1    the log goes where it went at the start, not to what is printed          ``command_line``
3.1    ``create_dagrun`` takes ``triggering_user_name``                         ``dag_runs``
3.1    the SDK's ``SecretCache``; Variables that cannot be read look missing    ``variables``
3.1    connection forms need no ``wtforms``                                     ``form_fields``
3.2    ``DagBag`` is in ``airflow.dag_processing``                              ``dag_files``
3.2    the provider's info has form fields and managers of tables               ``form_fields``, ``own_tables``
3.2    ``DagModel.allowed_run_types``                                           ``dag_runs``
3.2    ``create_global_lock`` does not ask for an engine                        ``database``
3.2    metrics in ``airflow.observability``, with functions since 3.3           ``metrics``
3.3    the task's state store; ``BaseXCom.aget_one``                            ``earlier_tries``, ``xcoms``
3.4    XComs belong to an attempt                                               ``deliveries``
=====  =======================================================================  =============================

What a module has for older versions may go when the provider needs the version in the first column.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cache

TESTED = ("3.0.6", "3.1.8", "3.2.2", "3.3.2", "3.4.0b2")
"""What `make matrix` runs, from the oldest that the provider works with to the newest."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gap:
    """What the provider cannot do with older versions.

    :param since: the first version with which it can.
    :param what: a sentence, and what to do instead.
    """

    since: tuple[int, int]
    what: str


GAPS = (
    Gap(
        (3, 1),
        "The connection form has the fields of its own only where wtforms is installed in the API server; otherwise "
        "write them into the connection's extra.",
    ),
    Gap(
        (3, 1),
        "A callback that Airflow runs from a DAG file makes its DAGs count as gone until the file is parsed again, and "
        "calls wait that long: keep `[dag_processor] min_file_process_interval` below `stale_dag_threshold`.",
    ),
    Gap(
        (3, 2),
        "`airflow db migrate` makes the provider's tables only with `[database] external_db_managers = "
        "airflow_provider_b24.calls.database.CallsDBManager`; otherwise the API server makes them at its start.",
    ),
    Gap(
        (3, 2),
        "The timeout in the connection form is a whole number of seconds; write another into the connection's extra.",
    ),
)


def airflow_version() -> tuple[int, int]:
    """Give the first two numbers of Airflow's version, such as ``(3, 4)``."""
    major, minor, *_ = _numbers(full_version())
    return major, minor


def full_version() -> str:
    """Give Airflow's version."""
    from airflow import __version__

    return str(__version__)


def gaps(version: tuple[int, int]) -> list[str]:
    """Give what the provider cannot do with a version, in words.

    :param version: its first two numbers.
    """
    return [gap.what for gap in GAPS if version < gap.since]


def untested(version: str) -> str | None:
    """Say what is known of a version that is older, or of a later series, than all that were tested.

    :param version: whole.
    :return: ``None`` when it is neither.
    """
    oldest, newest = TESTED[0], TESTED[-1]
    if _numbers(version) < _numbers(oldest):
        return (
            f"Airflow {version} is older than {oldest}, the oldest that airflow-provider-b24 works with. "
            "Upgrade Airflow."
        )
    if _numbers(version)[:2] > _numbers(newest)[:2]:
        return (
            f"Airflow {version} is newer than {newest}, the newest that this airflow-provider-b24 was tested with. "
            "Look for a newer airflow-provider-b24; until then try your robots before you trust them."
        )
    return None


@cache
def warn_if_untested() -> None:
    """Log it, once in a process, when this Airflow is one that :func:`untested` has something to say of."""
    if said := untested(full_version()):
        log.warning(said)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
