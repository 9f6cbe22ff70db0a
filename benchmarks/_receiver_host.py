"""An API server with the receiver in it, and nothing else of Airflow: what is measured is the receiver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from airflow_provider_b24.demo import example_dags
from airflow_provider_b24.testing.local_airflow import LocalAirflow
from airflow_provider_b24.testing.process_tree import ProcessTree

CONN_ID, DAG_ID = "bitrix24_default", "example_bitrix24_score_lead"
APPLICATION_TOKEN, MEMBER_ID = "application-token-0123456789", "member-0123456789"
CONNECTION = {
    "conn_type": "bitrix24",
    "host": "example.bitrix24.com",
    "login": "1",
    "password": "webhook-code",
    "extra": {"application_token": APPLICATION_TOKEN, "member_id": MEMBER_ID},
}
CALL = {
    "workflow_id": "67e3db8e581121.72266518",
    "code": "example_score_lead",
    "document_id[0]": "crm",
    "document_id[1]": "CCrmDocumentLead",
    "document_id[2]": "LEAD_77",
    "document_type[0]": "crm",
    "document_type[1]": "CCrmDocumentLead",
    "document_type[2]": "LEAD",
    "properties[budget]": "1000",
    "use_subscription": "Y",
    "timeout_duration": "0",
    "ts": "1743000000",
    "auth[domain]": "example.bitrix24.com",
    "auth[member_id]": MEMBER_ID,
    "auth[user_id]": "1",
    "auth[application_token]": APPLICATION_TOKEN,
}


class ReceiverHost:
    """A running API server.

    :param url: address of the receiver.
    :param tree: its processes.
    """

    def __init__(self, url: str, tree: ProcessTree) -> None:
        self.url, self._tree = url, tree

    @property
    def robot_url(self) -> str:
        return f"{self.url}/{CONN_ID}/robots/{DAG_ID}"

    def runs(self) -> bool:
        return self._tree.exit_code() is None

    def health(self) -> dict[str, Any]:
        health: dict[str, Any] = requests.get(f"{self.url}/health", timeout=30).json()
        return health

    def processor_seconds(self) -> float:
        """Processor time that its processes have used so far."""
        ticks = 0
        for process in self._tree.processes():
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def receiver_host(
    home: Path, database: str, workers: int, *, dispatches: bool = True
) -> Iterator[ReceiverHost]:
    """Migrate the database, put the robot into it, and start the API server."""
    airflow = LocalAirflow(
        example_dags(),
        home=home,
        env={
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__API__WORKERS": str(workers),
            "AIRFLOW__BITRIX24__DISPATCHER": "api_server" if dispatches else "command",
            f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(CONNECTION),
        },
    )
    for command in ("db", "migrate"), ("dags", "reserialize"):
        _run(airflow, *command)
    command = [sys.executable, "-m", "airflow", "api-server"]
    tree = ProcessTree(command, env=airflow.env, output=home / "api-server.log", cwd=home)
    host = ReceiverHost(f"{airflow.url}/bitrix24", tree)
    try:
        _wait_until_it_answers(host, home)
        yield host
    finally:
        tree.stop()


def _run(airflow: LocalAirflow, *arguments: str) -> None:
    command = [sys.executable, "-m", "airflow", *arguments]
    done = subprocess.run(
        command, env=airflow.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"airflow {' '.join(arguments)} failed\n{done.stdout[-3000:]}")


def _wait_until_it_answers(host: ReceiverHost, home: Path) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and host.runs():
        try:
            if host.health()["status"] == "healthy":
                return
        except requests.RequestException:
            time.sleep(0.5)
    raise RuntimeError((home / "api-server.log").read_text()[-3000:])
