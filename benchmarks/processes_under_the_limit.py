"""How much of a portal's request limit many short processes use together, as tasks of Airflow are.

    python benchmarks/processes_under_the_limit.py [--small] [--processes 8] [--calls 20] [--rounds 2000]

Each process makes a client and calls one method after the other, the even ones blocking, the odd ones in an event loop.
100 % is what the bucket of a standard tariff allows: 50 requests at once, then 2 per second. The processes share the
limit in a folder, in Redis (where one listens at BITRIX24_BENCH_REDIS, by default 127.0.0.1), or not at all. Then what
the shared limit costs: a reservation, with nobody else and beside a process that reserves a thousand times a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from _options import Size, parser
from _table import Table, progress

from airflow_provider_b24.rest.bucket import TARIFFS
from airflow_provider_b24.rest.pacing import Pacer
from airflow_provider_b24.rest.shared_limit import RedisLimit, shared_limit
from airflow_provider_b24.sandbox import SandboxPortal

REDIS = os.environ.get("BITRIX24_BENCH_REDIS", "redis://127.0.0.1:6379/9")
CALLER = """
import asyncio, sys
from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, Webhook
from airflow_provider_b24.rest.shared_limit import shared_limit
url, place, calls, in_a_loop = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1"
webhook, limit = Webhook.from_url(url), shared_limit(place)
print("ready", flush=True)
sys.stdin.readline()
if in_a_loop:
    async def run():
        async with AsyncBitrix24Client(webhook, shared_limit=limit) as client:
            for _ in range(calls):
                await client.call("profile")
    asyncio.run(run())
else:
    with Bitrix24Client(webhook, shared_limit=limit) as client:
        for _ in range(calls):
            client.call("profile")
"""
RESERVER = """
import sys, time
from airflow_provider_b24.rest.bucket import TARIFFS
from airflow_provider_b24.rest.pacing import Pacer
from airflow_provider_b24.rest.shared_limit import shared_limit
pacer = Pacer(TARIFFS["standard"], portal="cost", shared=shared_limit(sys.argv[1]))
pacer.reserve()
print("ready", flush=True)
while True:
    time.sleep(0.001)
    pacer.reserve()
"""


def program(text: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process and wait until it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", text, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def measure(table: Table, name: str, place: str, processes: int, calls: int) -> None:
    """Let the processes call, and add a row."""
    with SandboxPortal(keep_requests=1_000_000) as portal:
        started = [
            program(CALLER, portal.webhook.url, place, calls, number % 2) for number in range(processes)
        ]
        began = time.monotonic()
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in started:
            process.wait()
            assert process.returncode == 0
        seconds = time.monotonic() - began
        refused = sum(request.status == 503 for request in portal.requests)
        total = len(portal.requests)
    allowed = max(0.5, (processes * calls - 50) / 2)
    table.row(name, total, refused, f"{refused / total:.0%}", seconds, f"{allowed / seconds:.1%}")


def cost(table: Table, name: str, place: str, rounds: int) -> None:
    """Time reservations, and add a row."""
    pacer = Pacer(TARIFFS["standard"], portal="cost", shared=shared_limit(place))

    def microseconds() -> tuple[float, float]:
        each = []
        for _ in range(rounds):
            began = time.perf_counter()
            pacer.reserve()
            each.append((time.perf_counter() - began) * 1e6)
        each.sort()
        return each[len(each) // 2], each[int(len(each) * 0.99)]

    alone = microseconds()
    other = program(RESERVER, place) if place != "process" else None
    beside = microseconds() if other else ("-", "-")
    if other:
        other.kill()
        other.wait()
    table.row(name, *alone, *beside)


def has_redis() -> bool:
    """Whether there is a Redis to measure with."""
    try:
        RedisLimit(REDIS).update("ping", lambda *_: (None, None))
    except Exception as error:
        progress(f"without Redis ({type(error).__name__})")
        return False
    return True


def main() -> None:
    sizes = parser(
        __doc__,
        processes=Size(8, 3, "processes"),
        calls=Size(20, 18, "calls of each"),
        rounds=Size(2000, 100, "reservations to time"),
    )
    options = sizes.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = {"shared in a folder": folder}
        if has_redis():
            places["shared in Redis"] = REDIS
        places["each process by itself"] = "process"
        table = Table(
            f"{options.processes} processes of {options.calls} calls",
            "requests",
            "503",
            "of all",
            "s",
            "of the limit",
        )
        for name, place in places.items():
            measure(table, name, place, options.processes, options.calls)
        print()
        table = Table("a reservation, microseconds", "median", "p99", "beside one", "p99")
        for name, place in places.items():
            cost(table, name, place, options.rounds)


if __name__ == "__main__":
    main()
