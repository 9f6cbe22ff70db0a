"""What the demonstration does, step by step; each step has a time limit and says what is missing when it fails."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from requests import RequestException

from airflow_provider_b24.demo.appraiser import Appraiser, Order
from airflow_provider_b24.demo.timeline import Timeline, unix_time
from airflow_provider_b24.testing.airflow_api import FINAL_STATES, AirflowApiError, wait_until
from airflow_provider_b24.testing.local_airflow import LocalAirflow, LocalAirflowError

if TYPE_CHECKING:
    from rich.console import Console

    from airflow_provider_b24.sandbox import Process, SandboxPortal

DAG_ID = "example_bitrix24_external_worker"
ROBOT = "example_appraise"
ITEM = "grand piano"
CONN_ID = "bitrix24_default"
PATIENCE_SECONDS = 600.0
"""For each step. It is for a machine with much other work: what can no longer succeed ends a step at once."""
WORKER_SECONDS = 3.0
"""How long the external worker thinks: long enough for the DAG to be seen waiting."""


Handler = Callable[[int, FrameType | None], Any] | int | None


class DemoError(Exception):
    """A step did not do what it should; the text says what is missing."""


def run(*, keep: bool = False) -> int:
    """Run the demonstration on the terminal.

    :param keep: stay up afterwards, until Ctrl-C.
    :returns: exit code: 0 when the process got its answer, 1 when anything was missing.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a log file, which knows no width
        console = Console(width=160)
    return Demo(console).run(keep=keep)


@contextlib.contextmanager
def _on_signals(interrupt: Handler, terminate: Handler) -> Iterator[None]:
    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: terminate}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _terminated(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


class Demo:
    """One showing."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.timeline = Timeline(console)

    def run(self, *, keep: bool) -> int:
        """Set the stage, tell the story, and leave nothing behind, also when SIGINT or SIGTERM ends it."""
        # Both unwind the blocks below, which end what they have started. Python itself leaves SIGINT ignored where it
        # was at the start of the process: in the background of a shell script, for example.
        with _on_signals(signal.default_int_handler, _terminated):
            return self._run(keep=keep)

    def _run(self, *, keep: bool) -> int:
        from airflow_provider_b24.demo import example_dags
        from airflow_provider_b24.sandbox import SandboxPortal

        home = Path(tempfile.mkdtemp(prefix="airflow-b24-demo-"))
        code = 1
        try:
            with SandboxPortal() as portal, Appraiser() as worker:
                airflow = LocalAirflow(
                    example_dags(), home=home, env={"AIRFLOW_VAR_APPRAISER_URL": worker.url}
                )
                try:
                    code = self._show(portal, worker, airflow, keep=keep)
                finally:
                    with (
                        _on_signals(signal.SIG_IGN, signal.SIG_IGN),  # it is ending already
                        self.console.status("Ending every process …"),
                    ):
                        airflow.stop()
        except (SystemExit, KeyboardInterrupt):
            code = 0  # someone ended it: there is nothing to find out
            raise
        finally:
            if code == 1:
                self.console.print(f"Airflow's logs are left in {home}", markup=False)
            else:
                shutil.rmtree(home, ignore_errors=True)
        return code

    def _show(self, portal: SandboxPortal, worker: Appraiser, airflow: LocalAirflow, *, keep: bool) -> int:
        try:
            with self.timeline.step(
                "Starting Airflow: scheduler, triggerer, DAG processor, API server"
            ) as waiting:
                airflow.start(waiting)
            self._tell(portal, worker, airflow)
            self.timeline.show()
            self.console.print("The process has its answer.", style="bold green")
            if keep:
                with contextlib.suppress(KeyboardInterrupt):
                    self._stay(portal, worker, airflow)
        except (DemoError, LocalAirflowError, AirflowApiError, RequestException, TimeoutError) as error:
            if self.timeline.moments:
                self.timeline.show()
            self.console.print(f"FAILED: {error}", style="bold red", markup=False, soft_wrap=True)
            tail = f"Airflow's last lines:\n{airflow.tail()}"
            self.console.print(tail, markup=False, highlight=False, soft_wrap=True)
            return 1
        except KeyboardInterrupt:
            return 130
        return 0

    def _tell(self, portal: SandboxPortal, worker: Appraiser, airflow: LocalAirflow) -> None:
        from airflow_provider_b24.testing.sandbox_connection import oauth_connection

        airflow.add_connection(CONN_ID, oauth_connection(portal))
        with self.timeline.step("Registering the robots of the example DAGs in the portal"):
            self._apply_robots(portal, airflow)
        with self.timeline.step("The portal starts a process, whose robot calls Airflow"):
            process = self._start_process(portal)
            run_id = self._await_call(portal)
        with self.timeline.step("The DAG hands the work to the external worker"):
            order = self._await_order(worker, airflow, run_id)
        with self.timeline.step("The worker works; the DAG waits without occupying a process"):
            self._await_deferral(airflow, run_id)
            what = "task appraisal is deferred: it waits in the triggerer and occupies no process"
            self.timeline.add(time.time(), "Airflow", what, self._log("appraisal"))
            time.sleep(WORKER_SECONDS)
            delivery = worker.deliver(order)
            if delivery.status != 202:
                raise DemoError(f"the worker's result was answered with HTTP {delivery.status}, not 202")
            result = json.dumps(delivery.result, ensure_ascii=False)
            self.timeline.add(delivery.delivered_at, "worker", f"delivers {result}", "this terminal")
        with self.timeline.step("The DAG answers, the process goes on"):
            airflow.wait_for_run(DAG_ID, run_id, timeout=PATIENCE_SECONDS)
            process.wait(PATIENCE_SECONDS)
        self._add_airflow_moments(airflow, run_id)
        self._check(portal, process, delivery.result)

    def _apply_robots(self, portal: SandboxPortal, airflow: LocalAirflow) -> None:
        command = [sys.executable, "-m", "airflow_provider_b24.cli", "robots", "apply", "--yes"]
        done = subprocess.run(  # noqa: S603 - this package's own command
            command, env=airflow.env, cwd=airflow.home, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DemoError(f"`airflow-b24 robots apply` failed:\n{done.stdout}{done.stderr}")
        codes = {robot.code for robot in portal.robots}
        if ROBOT not in codes:
            raise DemoError(f"the portal has no robot {ROBOT!r} but {', '.join(sorted(codes)) or 'none'}")
        registered = f"has the robots {', '.join(sorted(codes))}, registered by `airflow-b24 robots apply`"
        self.timeline.add(time.time(), "Bitrix24", registered, f"{portal.url}/")

    def _start_process(self, portal: SandboxPortal) -> Process:
        from airflow_provider_b24.sandbox import Answer, CallRobot, SetField

        steps = (
            CallRobot(ROBOT, {"item": ITEM}, timeout_duration=3600, name="Appraisal"),
            SetField("PRICE", Answer("Appraisal", "price")),
            SetField("REMARK", Answer("Appraisal", "remark")),
        )
        process = portal.start_process(steps)
        what = f"process {process.id} starts for {process.document_id[2]} and calls the robot {ROBOT}"
        self.timeline.add(process.started, "Bitrix24", what, f"{portal.url}/")
        return process

    def _await_call(self, portal: SandboxPortal) -> str:
        call = portal.wait_for_call(PATIENCE_SECONDS)
        if call.status != 202:
            answer = call.error or f"HTTP {call.status} {call.answer}"
            raise DemoError(f"the receiver answered the robot's call with {answer}, not with 202")
        run_id = str(json.loads(call.answer)["run_id"])
        self.timeline.add(
            time.time(), "Airflow", f"receiver answers 202: run {run_id} is stored", "standalone.log"
        )
        return run_id

    def _await_order(self, worker: Appraiser, airflow: LocalAirflow, run_id: str) -> Order:
        orders: list[Order] = []

        def ordered_or_over() -> bool:
            with contextlib.suppress(queue.Empty):
                orders.append(worker.next_order(timeout=1))
            if orders:
                return True
            with contextlib.suppress(AirflowApiError, RequestException):  # it may be too busy to say
                return airflow.dag_run(DAG_ID, run_id)["state"] in FINAL_STATES
            return False

        wait_until(ordered_or_over, PATIENCE_SECONDS)
        if not orders:
            raise DemoError(f"the worker got no order; {airflow.describe(DAG_ID, run_id)}")
        [order] = orders
        self.timeline.add(order.received_at, "worker", f"gets the order: {order.item}", "this terminal")
        return order

    def _await_deferral(self, airflow: LocalAirflow, run_id: str) -> None:
        states = {"deferred", "success", "failed", "upstream_failed", "skipped"}
        task = airflow.wait_for_task(DAG_ID, run_id, "appraisal", states, PATIENCE_SECONDS)
        if task["state"] != "deferred":
            described = airflow.describe(DAG_ID, run_id)
            raise DemoError(f"task appraisal is {task['state']} and has not waited; {described}")

    def _add_airflow_moments(self, airflow: LocalAirflow, run_id: str) -> None:
        for task_id, task in airflow.task_instances(DAG_ID, run_id).items():
            started, ended = unix_time(task["start_date"]), unix_time(task["end_date"])
            if started:
                self.timeline.add(started, "Airflow", f"task {task_id} starts", self._log(task_id))
            # What the last task brings about is told by the portal.
            if ended and task_id != "reply":
                self.timeline.add(ended, "Airflow", f"task {task_id}: {task['state']}", self._log(task_id))

    @staticmethod
    def _log(task_id: str) -> str:
        return f"logs/dag_id={DAG_ID}/…/task_id={task_id}/attempt=1.log"

    def _check(self, portal: SandboxPortal, process: Process, result: dict[str, Any]) -> None:
        page = f"{portal.url}/"
        for answer in portal.answers:
            values = json.dumps(answer.values, ensure_ascii=False)
            self.timeline.add(answer.time, "Bitrix24", f"accepts the answer {values}", page)
        for entry in filter(lambda entry: entry.message, process.log):
            self.timeline.add(entry.time, "Bitrix24", f"process log: {entry.message}", page)
        received = {name: process.values.get(name) for name in ("PRICE", "REMARK")}
        values = json.dumps(received, ensure_ascii=False)
        self.timeline.add(process.modified, "Bitrix24", f"process {process.status} with {values}", page)
        if process.status != "completed":
            raise DemoError(f"the process is {process.status}, not completed")
        if len(portal.answers) != 1:
            raise DemoError(f"the process was answered {len(portal.answers)} times, not once")
        if float(received["PRICE"] or 0) != result["price"] or received["REMARK"] != result["remark"]:
            raise DemoError(f"the process received {received}, but the worker delivered {result}")

    def _stay(self, portal: SandboxPortal, worker: Appraiser, airflow: LocalAirflow) -> None:
        steps = {"type": "call_robot", "code": ROBOT, "properties": {"item": "violin"}}
        self.console.print(
            f"\nStill running, until Ctrl-C:\n"
            f"  Airflow          {airflow.url}\n"
            f"  Bitrix24         {portal.url}/\n"
            f"  external worker  {worker.url}\n"
            f"  Airflow's files  {airflow.home}\n"
            f"Start another process:\n"
            f"  curl -H 'Content-Type: application/json' -d '{json.dumps({'steps': [steps]})}' "
            f"{portal.url}/sandbox/processes\n",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        while True:
            order = worker.next_order(timeout=None)
            delivery = worker.deliver(order)
            self.console.print(f"worker: {order.item} appraised, Airflow answered HTTP {delivery.status}")
