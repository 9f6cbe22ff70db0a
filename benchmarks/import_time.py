"""How long importing this provider takes, on top of what every DAG file imports anyway.

    python benchmarks/import_time.py [--small] [--times 16] [MODULE ...]

Each figure is the median of fresh interpreters, with warm file caches. The garbage that importing Airflow left is
collected before the clock starts: otherwise whatever is imported next is charged with that full collection, 50 ms and
more. Other providers that are installed can be named, to compare: `airflow.providers.http.operators.http`.
"""

from __future__ import annotations

import subprocess
import sys

from _options import Size, parser
from _table import LATENCY, Table, latency

BASE = "from airflow.sdk import BaseOperator, BaseSensorOperator, dag, task"
MODULES = (
    "airflow_provider_b24.operators.bizproc",
    "airflow_provider_b24.operators.rest",
    "airflow_provider_b24.sensors.external_result",
    "airflow_provider_b24.robots",
)
PROGRAM = """
import gc, time
{base}
gc.collect()
began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
"""


def seconds(module: str, repetitions: int) -> list[float]:
    program = PROGRAM.format(base=BASE, module=module)
    times = []
    for _ in range(repetitions):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        times.append(float(done.stdout.splitlines()[-1]))
    return times[1:] or times


def main() -> None:
    sizes = parser(
        __doc__,
        times=Size(
            16, 1, "fresh interpreters for each module; of several, the first one only warms the caches"
        ),
    )
    sizes.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE")
    options = sizes.parse_args()
    print(f"On top of: {BASE}")
    table = Table("import", *LATENCY)
    for module in options.modules:
        table.row(module, *latency(seconds(module, options.times)))


if __name__ == "__main__":
    main()
