"""How long importing this provider takes, on top of what every DAG file imports anyway.

    python benchmarks/import_time.py [MODULE ...]

Each figure is the median of fresh interpreters, with warm file caches. The garbage that importing Airflow left is
collected before the clock starts: otherwise whatever is imported next is charged with that full collection, 50 ms and
more. Other providers that are installed can be named, to compare: `airflow.providers.http.operators.http`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

REPETITIONS = 15
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
print((time.perf_counter() - began) * 1000)
"""


def milliseconds(module: str) -> list[float]:
    program = PROGRAM.format(base=BASE, module=module)
    times = []
    for _ in range(REPETITIONS + 1):  # the first one warms the caches
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        times.append(float(done.stdout.splitlines()[-1]))
    return times[1:]


def main() -> None:
    print(f"ms on top of: {BASE}")
    for module in sys.argv[1:] or MODULES:
        times = milliseconds(module)
        print(f"{module:50} median {statistics.median(times):7.1f}   slowest {max(times):7.1f}")


if __name__ == "__main__":
    main()
