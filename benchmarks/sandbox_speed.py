"""How long the sandbox portal takes for a request, with full tables and many processes, and what it weighs.

    python benchmarks/sandbox_speed.py [--small] [--records 100000] [--waiting 1000] [--requests 1000]
                                       [--batches 20000] [--starts 9]

The portal runs in a process of its own, without limits; one client asks again and again over one connection. Lists are
asked for with another filter or page each time, so that no answer is remembered. The processor time is the portal's,
HTTP included: on a busy machine it says more than the latency. At the end come a million calls, in batches of 50, for
what is left in memory of them; before all, how long it takes until a portal answers that a program starts within
itself, or as a command.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from _options import Size, parser
from _table import LATENCY, Table, latency

_PORTAL = """
import json, resource, sys, time
from airflow_provider_b24.sandbox import CallRobot, SandboxPortal
from airflow_provider_b24.sandbox.robots import Robot

def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

records, waiting = int(sys.argv[1]), int(sys.argv[2])
with SandboxPortal(limits=False) as portal:
    before = megabytes()
    portal.add_records("item:147", ({"title": f"Item {i}", "opportunity": i % 1000} for i in range(records)))
    after = megabytes()
    fields = {"CODE": "score", "NAME": "Score", "HANDLER": "http://127.0.0.1:9/", "USE_SUBSCRIPTION": "Y"}
    portal.robot_registry.add("robot", portal.application.client_id, fields)
    document = ("crm", "CCrmDocumentLead", "LEAD_1")
    processes = [portal.start_process([CallRobot("score")], document) for _ in range(waiting)]
    tokens = [process.waiting_for for process in processes]
    portal.wait_until(lambda: all(call.done for call in portal.calls), 600)
    print(json.dumps({"webhook": portal.webhook.url, "before": before, "after": after, "tokens": tokens}), flush=True)
    for line in sys.stdin:
        print(json.dumps([megabytes(), time.process_time()]), flush=True)
"""

_WITHIN = """
import time
began = time.perf_counter()
from airflow_provider_b24.sandbox import SandboxPortal
imported = time.perf_counter()
with SandboxPortal():
    print(imported - began, time.perf_counter() - imported)
"""
_COMMAND = [str(Path(sys.executable).with_name("airflow-b24")), "sandbox", "--port", "0", "--quiet"]


class Client:
    """Calls methods over one connection, with as little work of its own as can be."""

    def __init__(self, webhook: str) -> None:
        parts = urlsplit(webhook)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.netloc)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method: str, params: dict[str, Any]) -> float:
        """Return the seconds that a call took."""
        body = json.dumps(params).encode()
        headers = {"Content-Type": "application/json"}
        began = time.perf_counter()
        self._connection.request("POST", self._path + method, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        seconds = time.perf_counter() - began
        if response.status != 200:
            raise RuntimeError(f"{method}: {response.status} {answer!r}")
        return seconds


class Portal:
    """A portal in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self.told = json.loads(self._stdout.readline())

    def cost(self) -> tuple[float, float]:
        """Return the megabytes it has, and the seconds of processor time it has used."""
        self._stdin.write("\n")
        self._stdin.flush()
        megabytes, seconds = json.loads(self._stdout.readline())
        return megabytes, seconds

    def measure(self, calls: Sequence[Callable[[], float]]) -> tuple[float, ...]:
        """Return the latency of calls in milliseconds, and the processor time of one."""
        before = self.cost()[1]
        seconds = [call() for call in calls]
        return (*latency(seconds), (self.cost()[1] - before) / len(calls) * 1000)


def within() -> tuple[float, float]:
    """Return the seconds of the import, and of the start of a portal."""
    command = [sys.executable, "-W", "ignore", "-c", _WITHIN]
    imported, started = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(imported), float(started)


def as_command() -> float:
    """Return the seconds until a command's portal answers, from the start of Python on."""
    began = time.perf_counter()
    with subprocess.Popen(_COMMAND, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        webhook = next(word for line in process.stdout for word in line.split() if "/rest/" in word)
        Client(webhook.strip("'\"")).call("profile", {})
        seconds = time.perf_counter() - began
        process.terminate()
        process.stdout.read()
    return seconds


def main() -> None:
    options = parser(
        __doc__,
        records=Size(100_000, 500, "records of a smart process"),
        waiting=Size(1000, 20, "processes that wait"),
        requests=Size(1000, 20, "requests of each kind"),
        batches=Size(20_000, 4, "batches of 50 small calls"),
        starts=Size(9, 1, "starts of a portal, of which the median is shown"),
    ).parse_args()
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    starts = [within() for _ in range(options.starts)]
    imported, started = (statistics.median(part) * 1000 for part in zip(*starts, strict=True))
    command_seconds = statistics.median(as_command() for _ in range(options.starts))
    print(f"Load of the machine at the beginning: {load}, with {os.cpu_count()} cores")
    print(f"Until it answers: {started:.0f} ms in a program, whose import takes {imported:.0f} ms;")
    print(f"{command_seconds:.1f} s as a command")
    print()
    command = [sys.executable, "-W", "ignore", "-c", _PORTAL, str(options.records), str(options.waiting)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        portal = Portal(process)
        told = portal.told
        client = Client(told["webhook"])
        last = options.records
        where = {"entityTypeId": 147}
        ways: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
            "profile": ("profile", lambda _: {}),
            "batch of 50 profiles": ("batch", lambda _: {"cmd": ["profile"] * 50}),
            "crm.item.list, a page somewhere": (
                "crm.item.list",
                lambda n: {**where, "start": n * 7919 % last},
            ),
            "crm.item.list, the fast way": (
                "crm.item.list",
                lambda n: {**where, "filter": {">id": n * 7919 % last}, "order": {"id": "ASC"}, "start": -1},
            ),
            "crm.item.list, next page of a filter": (
                "crm.item.list",
                lambda n: {**where, "filter": {"<opportunity": 900}, "start": n * 50 % last},
            ),
            "crm.item.get": ("crm.item.get", lambda n: {**where, "id": n * 7919 % last + 1}),
            "crm.item.update": (
                "crm.item.update",
                lambda n: {**where, "id": n * 7919 % last + 1, "fields": {"title": f"new {n}"}},
            ),
            "crm.item.list, a new value of a field": (
                "crm.item.list",
                lambda n: {**where, "filter": {"opportunity": n % 1000}},
            ),
            "crm.item.list, a new part of a text": (
                "crm.item.list",
                lambda n: {**where, "filter": {"%title": f"m {n}"}},
            ),
        }
        table = Table("request", *LATENCY, "processor ms")
        for name, (method, params) in ways.items():
            # A part of a text is looked for in every record: fewer of these say as much.
            count = max(10, options.requests // 20) if "text" in name else options.requests
            client.call(method, params(count))
            calls = [partial(client.call, method, params(n)) for n in range(count)]
            table.row(name, *portal.measure(calls))
        calls = [
            partial(client.call, "bizproc.event.send", {"EVENT_TOKEN": token}) for token in told["tokens"]
        ]
        table.row(f"bizproc.event.send, {len(calls):,} processes wait", *portal.measure(calls))
        print()
        now, _ = portal.cost()
        full = f"{told['after']:.0f} MB with {last:,} records"
        print(f"Memory: {told['before']:.0f} MB empty, {full}, {now:.0f} MB after these requests")
        # The first half fills what is kept of requests.
        halves = []
        for _ in range(2):
            for _ in range(options.batches // 2):
                client.call("batch", {"cmd": ["profile"] * 50})
            halves.append(portal.cost()[0])
        calls_made = options.batches // 2 * 50
        print(
            f"{halves[0]:.0f} MB after {calls_made:,} more calls in batches of 50, {halves[1]:.0f} MB after"
        )
        print(f"{calls_made:,} more")


if __name__ == "__main__":
    main()
