"""``airflow-b24 doctor`` on Airflow itself: its processes, its examples, the disk of the spool."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from airflow_provider_b24.doctor.disks import file_system_of, why_it_does_not_last


@pytest.mark.parametrize(
    ("job_type", "check", "verdict", "command"),
    [
        ("SchedulerJob", "scheduler", "failed", "airflow scheduler"),
        ("DagProcessorJob", "DAG processor", "failed", "airflow dag-processor"),
        ("TriggererJob", "triggerer", "warning", "airflow triggerer"),
    ],
)
def test_a_process_of_airflow_that_is_not_alive(
    connect, findings, processes, job_type, check, verdict, command
):
    connect()
    processes(job_type, latest_heartbeat=dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC))
    found = findings()[check]
    assert found.verdict == verdict
    assert "not since 2026-01-31 12:00:00 UTC" in found.what
    assert f"`{command}`" in found.advice
    processes(job_type, job_type="LocalTaskJob")
    found = findings()[check]
    assert (found.verdict, "never yet" in found.what) == (verdict, True)


def test_airflows_processes_are_looked_at_without_a_connection(findings, processes):
    processes("SchedulerJob", state="failed")
    found = findings()
    assert (found["scheduler"].verdict, found["connection"].verdict) == ("failed", "failed")


def test_examples_beside_the_robots(connect, findings, monkeypatch):
    connect()
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")
    found = findings()["examples"]
    assert (found.verdict, "[core] load_examples" in found.advice) == ("warning", True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"latest_heartbeat": dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)}, "since 2026-01-31 12:00:00 UTC:"),
        ({"state": "success"}, "None has worked since "),
        ({"job_type": "LocalTaskJob"}, "None has worked yet:"),
    ],
    ids=["lost", "ended", "none"],
)
def test_no_dispatcher_works_although_no_call_waits(connect, findings, processes, values, said):
    connect()
    processes("Bitrix24DispatcherJob", **values)
    found = findings()["dispatcher"]
    assert found.verdict == "failed"
    assert said in found.what
    assert found.what.endswith("calls will wait.")


def test_a_spool_in_memory_or_in_a_container():
    mounts = (
        "22 1 0:21 / / rw,relatime shared:1 - overlay overlay rw\n"
        "23 22 0:22 / /run rw,nosuid - tmpfs tmpfs rw,size=1k\n"
        "24 22 8:1 / /opt/air\\040flow rw - ext4 /dev/sda1 rw\n"
        "25 22 8:2 / /data rw - tmpfs tmpfs rw\n26 25 8:3 / /data rw master:2 - xfs /dev/sdb rw\n"
        "a line of another kind\n"
    )
    kinds = {
        path: file_system_of(Path(path), mounts)
        for path in ("/var/calls", "/run/calls", "/runner", "/opt/air flow/spool", "/data/calls")
    }
    assert list(kinds.values()) == ["overlay", "tmpfs", "overlay", "ext4", "xfs"]
    assert file_system_of(Path("/x"), "") is None


@pytest.mark.parametrize(
    ("kind", "said"), [("tmpfs", "in memory"), ("overlay", "this container"), ("ext4", None)]
)
def test_a_spool_that_goes_with_a_restart(monkeypatch, tmp_path, kind, said):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 0:21 / / rw - {kind} none rw\n")
    monkeypatch.setattr("airflow_provider_b24.doctor.disks._MOUNTS", mounts)
    why = why_it_does_not_last(Path("/srv/calls"))
    assert (why is None) if said is None else (said in why)
