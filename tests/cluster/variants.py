"""Ways to deploy Airflow that change what the provider sees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Variant = Literal["usual", "teams", "remote-xcoms", "slow-secrets"]
TEAM = "sales"
SLOW_SECONDS = 1.5
"""How long the slow secrets backend takes for each look-up."""


def environment(variant: Variant, home: Path, dags: Path) -> dict[str, str]:
    """Give what a variant's Airflow is configured with besides.

    :param home: where it may keep something.
    """
    match variant:
        case "usual":
            return {}
        case "teams":
            bundle = {
                "name": "dags-folder",
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(dags)},
                "team_name": TEAM,
            }
            return {
                "AIRFLOW__CORE__MULTI_TEAM": "True",
                "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            }
        case "remote-xcoms":
            backend = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"
            return {
                "AIRFLOW__CORE__XCOM_BACKEND": backend,
                "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"file://{home}/xcoms",
                "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
            }
        case "slow-secrets":
            arguments = {"file": str(secrets_file(home)), "seconds": SLOW_SECONDS}
            return {
                "AIRFLOW__SECRETS__BACKEND": "tests.cluster.slow_secrets.SlowSecretsBackend",
                "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(arguments),
            }


def secrets_file(home: Path) -> Path:
    """Name the file of the slow secrets backend."""
    return home / "secrets.json"
