"""What tests and the demo ask a running Airflow, over its public REST API."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

FINAL_STATES = frozenset({"success", "failed"})
"""States in which a DAG run stays."""
POLL_SECONDS = 0.25
REQUEST_SECONDS = 60.0
"""How long one answer may take: on a busy machine the API server takes its time."""
PATIENCE_SECONDS = 30.0
"""How long an answer of HTTP 500 is asked for again: SQLite was busy then, and nothing was done."""
COMPONENTS = ("scheduler", "triggerer", "dag_processor")


class AirflowApiError(Exception):
    """Airflow did not do what was asked; the text says what it answered, with the logs that explain it.

    :param status: HTTP status of the answer, if there was one.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class AirflowApi:
    """A client of Airflow's REST API with the few questions a test of a DAG has.

    :param url: Airflow's address, `http://127.0.0.1:8080`. The server must give tokens without a password
        (`[core] simple_auth_manager_all_admins`), as
        :class:`~airflow_provider_b24.testing.local_airflow.LocalAirflow` does.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session: requests.Session | None = None

    def request(self, verb: str, path: str, body: object = None, **params: str | int) -> Any:
        """Ask Airflow and return the decoded answer, or `None` for an empty one.

        :param path: below `/api/v2/`, already quoted.
        :raises AirflowApiError: when Airflow answers with an error; with HTTP 500 for some time.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            response = self._authorized().request(
                verb, f"{self.url}/api/v2/{path}", json=body, params=params, timeout=REQUEST_SECONDS
            )
            if response.status_code != 500 or time.monotonic() > deadline:
                break
            time.sleep(1)
        if response.status_code >= 400:
            raise AirflowApiError(
                f"{verb} {path}: HTTP {response.status_code} {response.text[:2000]}", response.status_code
            )
        return response.json() if response.content else None

    def _authorized(self) -> requests.Session:
        if self._session is None:
            import requests

            session = requests.Session()
            session.trust_env = False  # a proxy of the user's has no business with the loopback interface
            answer = session.get(f"{self.url}/auth/token", timeout=REQUEST_SECONDS)
            answer.raise_for_status()
            session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            self._session = session
        return self._session

    def unhealthy(self) -> list[str]:
        """Name the parts that do not run: `scheduler`, `triggerer`, `dag_processor`, `metadatabase`."""
        health = self.request("GET", "monitor/health")
        return [name for name in ("metadatabase", *COMPONENTS) if health[name]["status"] != "healthy"]

    def import_errors(self) -> dict[str, str]:
        """Read which DAG files cannot be imported, with the traceback of each.

        Airflow 3.0 names a file by its whole path, later versions as it is in its bundle.
        """
        answer = self.request("GET", "importErrors", limit=100)
        return {error["filename"]: error["stack_trace"] for error in answer["import_errors"]}

    def dags(self) -> dict[str, dict[str, Any]]:
        """Read all parsed DAGs, by their id."""
        answer = self.request("GET", "dags", limit=100, exclude_stale="true")
        return {dag["dag_id"]: dag for dag in answer["dags"]}

    def wait_for_dags(self, *dag_ids: str, timeout: float = 60) -> None:
        """Wait until Airflow has parsed these DAGs.

        :param timeout: seconds.
        :raises AirflowApiError: when one of them is still missing then; with the import errors there are.
        """
        missing = set(dag_ids)

        def parsed() -> bool:
            missing.difference_update(self.dags())
            return not missing

        if not wait_until(parsed, timeout):
            errors = "\n".join(f"{name}:\n{trace}" for name, trace in self.import_errors().items())
            raise AirflowApiError(
                f"no DAG {', '.join(sorted(missing))} after {timeout:g} s. {errors or 'No import errors.'}"
            )

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run of a DAG by hand.

        :returns: the run id.
        """
        body = {"logical_date": None, "conf": dict(conf or {})} | ({"dag_run_id": run_id} if run_id else {})
        self.wait_for_dags(dag_id)
        return str(self.request("POST", f"dags/{_quoted(dag_id)}/dagRuns", body)["dag_run_id"])

    def dag_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Read every run of a DAG, the oldest first."""
        path = f"dags/{_quoted(dag_id)}/dagRuns"
        runs: list[dict[str, Any]] = self.request("GET", path, limit=100, order_by="run_after")["dag_runs"]
        return runs

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Read one run: its `state`, `conf`, `start_date` and so on."""
        run: dict[str, Any] = self.request("GET", _run_path(dag_id, run_id))
        return run

    def wait_for_run(
        self, dag_id: str, run_id: str, states: Collection[str] = ("success",), timeout: float = 120
    ) -> dict[str, Any]:
        """Wait until a run is in one of the states, and return it.

        :param timeout: seconds.
        :raises AirflowApiError: when the run ends otherwise or takes too long, with the logs of failed tasks.
        """
        run: dict[str, Any] = {}

        def settled() -> bool:
            run.update(self._once_there(lambda: self.dag_run(dag_id, run_id)))
            return run.get("state") in states or run.get("state") in FINAL_STATES

        if wait_until(settled, timeout) and run["state"] in states:
            return run
        state, wanted = run.get("state", "not there"), " or ".join(states)
        raise AirflowApiError(
            f"run {run_id} of {dag_id} is {state}, not {wanted}\n{self.describe(dag_id, run_id)}"
        )

    @staticmethod
    def _once_there(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Ask for a run whose call may still be on its way through the receiver's spool.

        :return: nothing as long as Airflow does not know it, or is too busy to say.
        """
        import requests

        try:
            return ask()
        except (requests.ConnectionError, requests.Timeout):
            return {}
        except AirflowApiError as error:
            if error.status is not None and (error.status == 404 or error.status >= 500):
                return {}
            raise

    def task_instances(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Read the run's tasks, by their id (a mapped task: its last instance)."""
        answer = self.request("GET", f"{_run_path(dag_id, run_id)}/taskInstances", limit=100)
        return {task["task_id"]: task for task in answer["task_instances"]}

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, states: Collection[str], timeout: float = 60
    ) -> dict[str, Any]:
        """Wait until one task is in one of the states (`deferred`, `up_for_reschedule`, …), and return it.

        :param timeout: seconds.
        :raises AirflowApiError: when it is not in time.
        """
        task: dict[str, Any] = {}

        def settled() -> bool:
            task.update(self._once_there(lambda: self.task_instances(dag_id, run_id)).get(task_id, {}))
            return task.get("state") in states

        if wait_until(settled, timeout):
            return task
        raise AirflowApiError(
            f"task {task_id} is {task.get('state')}, not {' or '.join(states)}, after {timeout:g} s\n"
            f"{self.describe(dag_id, run_id)}"
        )

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Read the value a task left in XCom.

        :raises AirflowApiError: when there is none.
        """
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_quoted(task_id)}/xcomEntries/{_quoted(key)}"
        return self.request("GET", path, stringify="false")["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Read all log lines of one attempt of a task."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_quoted(task_id)}/logs/{try_number}"
        content = self.request("GET", path, full_content="true")["content"]
        return "\n".join(_log_line(entry) for entry in content)

    def describe(self, dag_id: str, run_id: str, lines: int = 30) -> str:
        """Tell the state of each task of a run and how the logs of failed ones end: for error messages."""
        tasks = self._once_there(lambda: self.task_instances(dag_id, run_id))
        text = ["tasks: " + ", ".join(f"{name} {task['state']}" for name, task in tasks.items())]
        for name, task in tasks.items():
            if task["state"] in {"failed", "up_for_retry"}:
                log = self.task_log(dag_id, run_id, name, task["try_number"]).splitlines()
                text += [f"--- {name}, attempt {task['try_number']}:", *log[-lines:]]
        return "\n".join(text)

    def variable(self, key: str) -> str | None:
        """Read the value of a Variable, `None` if there is no such one."""
        try:
            return str(self.request("GET", f"variables/{_quoted(key)}")["value"])
        except AirflowApiError as error:
            if "HTTP 404" in str(error):
                return None
            raise

    def add_connection(self, conn_id: str, connection: Mapping[str, Any]) -> None:
        """Create a connection, in place of one with the same id.

        :param connection: `conn_type`, `host`, `login`, `password`, `port`, `schema`, `extra` (which may be
            a mapping).
        """
        import json

        extra = connection.get("extra")
        body = {"connection_id": conn_id, **connection}
        if isinstance(extra, Mapping):
            body["extra"] = json.dumps(extra)
        actions = [{"action": "create", "entities": [body], "action_on_existence": "overwrite"}]
        answer = self.request("PATCH", "connections", {"actions": actions})
        if errors := answer["create"]["errors"]:
            raise AirflowApiError(f"connection {conn_id} was not created: {errors}")


def wait_until(condition: Callable[[], bool], timeout: float, poll: float = POLL_SECONDS) -> bool:
    """Ask until the condition holds.

    :param timeout: seconds after which to give up.
    :param poll: seconds between two questions.
    :returns: whether it held in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll)
    return True


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _run_path(dag_id: str, run_id: str) -> str:
    return f"dags/{_quoted(dag_id)}/dagRuns/{_quoted(run_id)}"


def _log_line(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    details = entry.get("error_detail") or []
    errors = [f"  {error['exc_type']}: {error['exc_value']}" for error in details]
    return "\n".join(
        [" ".join(str(entry[key]) for key in ("timestamp", "level", "event") if key in entry), *errors]
    )
