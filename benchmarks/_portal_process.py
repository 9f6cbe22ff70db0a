"""A sandbox portal in a process of its own, so that its work is not charged to its callers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROGRAM = """
import json, sys
from airflow_provider_b24.sandbox import Delay, SandboxPortal
with SandboxPortal(https={https}, limits=False) as portal:
    portal.add_records("lead", {records})
    if {page_seconds}:
        portal.faults.add(Delay({page_seconds}), "crm.lead.list", times=None)
    facts = dict(url=portal.url, host=portal.host, webhook=portal.webhook.url, code=portal.webhook.code,
                 ca_file=str(portal.ca_file) if portal.ca_file else None)
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        print(portal.journal.count, flush=True)
"""


class PortalProcess:
    """What is known of the portal.

    :param facts: its addresses.
    """

    def __init__(self, process: subprocess.Popen[str], facts: dict[str, Any]) -> None:
        self._process = process
        self.host: str = facts["host"]
        self.webhook: str = facts["webhook"]
        self.code: str = facts["code"]
        self.ca_file: str | None = facts["ca_file"]

    def requests(self) -> int:
        """How many requests it has received."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def portal_process(
    *, https: bool = False, records: int = 0, page_seconds: float = 0
) -> Iterator[PortalProcess]:
    program = PROGRAM.format(https=https, records=records, page_seconds=page_seconds)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        while not line.startswith("{"):
            line = process.stdout.readline()
        yield PortalProcess(process, json.loads(line))
    finally:
        process.communicate(timeout=10)
