"""One run: a cluster, a portal whose processes call robots all the time, kills, and the books at the end."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.demo.appraiser import Appraiser, Order
from airflow_provider_b24.sandbox import AskPerson, CallRobot, SandboxPortal
from airflow_provider_b24.testing.airflow_api import AirflowApiError
from airflow_provider_b24.testing.sandbox_connection import oauth_connection
from tests.cluster.bookkeeping import OPEN, Books, Called, compare
from tests.cluster.chaos import Chaos
from tests.cluster.cluster import Cluster
from tests.cluster.robots import DAGS, KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.variants import Variant

_SECONDS_BETWEEN_REPORTS = 15


@dataclass(frozen=True)
class Plan:
    """What is done.

    :param processes: how many call a robot.
    :param minutes: over which time they begin, evenly.
    :param seed: of the order of robots, and of what is killed when.
    :param pause: seconds between two kills on average, 0 for none.
    :param crashes: how often the database crashes.
    :param patience: minutes to wait for the last answer, after the last call.
    :param variant: how Airflow is deployed.
    :param number: how many there are of each part.
    """

    processes: int = 200
    minutes: float = 10
    seed: int = 1
    pause: float = 15
    crashes: int = 2
    patience: float = 15
    variant: Variant = "usual"
    number: int = 2


@dataclass(frozen=True)
class Report:
    """What came of it.

    :param seconds: from the first call to the last answer.
    :param kills: how often which part was killed.
    :param ended: how often which part has ended, killed or by itself.
    :param reposted: how many calls the balancer has posted to a second server.
    """

    books: Books
    seconds: float
    kills: Counter[str]
    ended: Counter[str]
    reposted: int


class Told:
    """Prints what happens, with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:5.0f} s] {text}", flush=True)


def run(plan: Plan, tell: Callable[[str], None] | None = None) -> Report:
    """Do it.

    :raises ClusterError: when the cluster cannot be run.
    """
    tell = tell or Told()
    with (
        SandboxPortal(keep_requests=1_000_000) as portal,
        appraiser() as appraises,
        Cluster(
            DAGS,
            env={"AIRFLOW_VAR_APPRAISER_URL": appraises.url},
            variant=plan.variant,
            number=plan.number,
            tell=tell,
        ) as cluster,
    ):
        cluster.wait_until_healthy()
        cluster.connect("bitrix24_default", oauth_connection(portal))
        cluster.run("-m", "airflow_provider_b24.cli", "robots", "apply", "--yes", "--wait")
        tell("the robots are registered")
        return _drive(plan, cluster, portal, tell)


def _drive(plan: Plan, cluster: Cluster, portal: SandboxPortal, tell: Callable[[str], None]) -> Report:
    began = time.monotonic()
    seconds = plan.minutes * 60
    chaos = (
        Chaos(cluster, plan.seed, seconds=seconds, pause=plan.pause, crashes=plan.crashes)
        if plan.pause
        else None
    )
    called: list[Called] = []
    with chaos or nullcontext():
        for number, kind in enumerate(_mixed(plan), 1):
            time.sleep(max(began + seconds * (number - 1) / plan.processes - time.monotonic(), 0))
            step = CallRobot(kind.code, {"number": number}, kind.limit, "Y" if kind.awaited else "N", "Robot")
            called.append(Called(kind, number, portal.start_process([step, AskPerson(1, "Well?")])))
            if number % max(plan.processes // 20, 1) == 0:
                tell(_progress(called))
    deadline = time.monotonic() + plan.patience * 60
    reported = 0.0
    while time.monotonic() < deadline and _waiting(called):
        if time.monotonic() - reported > _SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            tell(_progress(called))
        time.sleep(0.5)
    took = time.monotonic() - began
    tell(f"{_progress(called)}; now the books")
    rows, runs = _settled(cluster, deadline, tell)
    return Report(
        compare(called, portal, rows, runs),
        took,
        chaos.kills if chaos else Counter(),
        Counter({service.name: service.ended for service in cluster.services if service.ended}),
        cluster.balancer.repeated,
    )


def _mixed(plan: Plan) -> list[Kind]:
    """Give the robots in a random order, each as often as its share says."""
    whole = sum(kind.share for kind in KINDS)
    chosen = [kind for kind in KINDS for _ in range(max(round(plan.processes * kind.share / whole), 1))]
    random.Random(plan.seed).shuffle(chosen)
    return (chosen + [KINDS[0]] * plan.processes)[: plan.processes]


def _waiting(called: list[Called]) -> list[Called]:
    return [one for one in called if one.kind.awaited and "Robot" not in one.process.answers]


def _progress(called: list[Called]) -> str:
    waiting = _waiting(called)
    oldest = f", the oldest is {waiting[0].kind.code} {waiting[0].number}" if waiting else ""
    return f"{len(called)} processes have called, {len(waiting)} wait{oldest}"


def _settled(
    cluster: Cluster, deadline: float, tell: Callable[[str], None]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Read both records when nothing moves any more, or the time is over."""
    while True:
        try:
            rows, runs = cluster.calls(), _runs(cluster)
        except (OSError, AirflowApiError) as error:  # a server may still be starting
            tell(f"Airflow does not say: {error}")
            rows, runs = [], {"": "running"}
        open_calls = sum(row["state"] in OPEN for row in rows)
        open_runs = sum(state in ("queued", "running") for state in runs.values())
        if (not open_calls and not open_runs) or time.monotonic() > deadline:
            return rows, runs
        tell(f"{open_calls} calls and {open_runs} runs are open")
        time.sleep(5)


def _runs(cluster: Cluster) -> dict[str, str]:
    runs: dict[str, str] = {}
    while True:
        page = cluster.request("GET", "dags/~/dagRuns", limit=100, offset=len(runs), order_by="id")[
            "dag_runs"
        ]
        runs |= {run["dag_run_id"]: run["state"] for run in page}
        if len(page) < 100:
            return runs


@contextmanager
def appraiser() -> Iterator[Appraiser]:
    """Give the external worker, who delivers each result after some seconds, and again until it is taken."""
    over = threading.Event()

    def deliver(order: Order) -> None:
        import requests

        number = order.item.split()[-1]
        while not over.wait(2):
            try:
                answer = requests.post(order.deliver_to, json={"verdict": f"verdict {number}"}, timeout=30)
            except requests.RequestException:
                continue
            if answer.status_code < 500:
                return

    def work() -> None:
        while not over.is_set():
            try:
                order = one.next_order(0.5)
            except queue.Empty:
                continue
            if not order.item.startswith("never"):
                threading.Thread(target=deliver, args=(order,), daemon=True).start()

    with Appraiser() as one:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield one
        over.set()
        thread.join()
