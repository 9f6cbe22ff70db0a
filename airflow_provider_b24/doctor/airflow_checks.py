"""The check of Airflow itself: whether its version was tested, and what it lacks."""

from __future__ import annotations

from airflow_provider_b24._airflow.versions import airflow_version, full_version, gaps, untested
from airflow_provider_b24.doctor.finding import Finding


def check_airflow() -> Finding:
    """Check the version of Airflow, and say what the provider cannot do with it."""
    check, version = "Airflow", full_version()
    lacks = " ".join(gaps(airflow_version()))
    if said := untested(version):
        return Finding(
            check, "warning", f"{said} {lacks}".strip(), "docs/compatibility.md has what was tested."
        )
    if lacks:
        return Finding(check, "ok", f"Airflow {version}, an older one. {lacks}")
    return Finding(check, "ok", f"Airflow {version}; nothing of the provider is missing with it.")
