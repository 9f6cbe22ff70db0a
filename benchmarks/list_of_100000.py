"""Requests and memory it takes to read a long list, against fast_bitrix24's and b24pysdk's ways.

    python benchmarks/list_of_100000.py [--small] [--records 100000] [--slow 3000] [--seconds 2.0]

Each contender is a process of its own and looks at each record once. Memory is what the process grew by while it read,
at its peak. Then the same with a shorter list whose pages take the portal two seconds each: 50 of them in one request
take longer than anybody waits for an answer.
"""

from __future__ import annotations

import subprocess
import sys

from _options import Size, parser
from _portal_process import PortalProcess, portal_process
from _table import Table, progress

PROGRAM = """
import resource, sys, time
webhook, host, code = sys.argv[1:]
{setup}
before = resource.getrusage(resource.RUSAGE_SELF)
began = time.monotonic()
count = 0
for record in {records}:
    count += 1
after = resource.getrusage(resource.RUSAGE_SELF)
processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(count, (after.ru_maxrss - before.ru_maxrss) / 1024, time.monotonic() - began, processor)
"""
CONTENDERS = {
    "this provider": (
        """
import requests
from airflow_provider_b24.rest import Bitrix24Client, Webhook
client = Bitrix24Client(Webhook.from_url(webhook), verify=CA_FILE)
client.call("profile")
""",
        "client.iterate('crm.lead.list')",
    ),
    "fast_bitrix24 get_all": (
        """
from fast_bitrix24 import Bitrix
client = Bitrix(webhook, verbose=False, ssl=False)
client.call("profile", raw=True)
""",
        "client.get_all('crm.lead.list')",
    ),
    "b24pysdk call_list_fast": (
        """
import os
os.environ["REQUESTS_CA_BUNDLE"] = CA_FILE
from b24pysdk import BitrixWebhook
client = BitrixWebhook(domain=host, webhook_token=f"1/{code}")
client.call_method("profile")
""",
        "client.call_list_fast('crm.lead.list')['result']",
    ),
}


def measure(table: Table, name: str, portal: PortalProcess) -> int:
    """Let one of them read the list, and give how many records it has looked at."""
    setup, expression = CONTENDERS[name]
    before = portal.requests()
    program = PROGRAM.format(setup=setup.replace("CA_FILE", repr(portal.ca_file)), records=expression)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, portal.webhook, portal.host, portal.code],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        progress(f"{name} failed: {done.stderr.strip().splitlines()[-1]}")
        return 0
    count, *figures = map(float, done.stdout.split())
    table.row(name, int(count), portal.requests() - before - 1, *figures)
    return int(count)


def main() -> int:
    sizes = parser(
        __doc__,
        records=Size(100_000, 3000, "in the list"),
        slow=Size(3000, 300, "in the list whose pages are slow"),
        seconds=Size(2.0, 0.1, "for each of its pages"),
    )
    options = sizes.parse_args()
    complete = True
    for records, seconds in ((options.records, 0), (options.slow, options.seconds)):
        table = Table(f"{seconds:g} s for a page", "records", "requests", "MB", "s", "cpu s")
        with portal_process(https=True, records=records, page_seconds=seconds) as portal:
            read = {name: measure(table, name, portal) for name in CONTENDERS}
        complete &= read["this provider"] == records
    return 0 if complete else 1


if __name__ == "__main__":
    raise SystemExit(main())
