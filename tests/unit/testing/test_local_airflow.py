"""How a local Airflow is set up, and what it says when it cannot start. That it runs is tested in tests/airflow."""

import ast
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import requests

from airflow_provider_b24.testing import process_tree
from airflow_provider_b24.testing.airflow_api import AirflowApiError
from airflow_provider_b24.testing.local_airflow import LocalAirflow, LocalAirflowError, dag_files, free_ports
from airflow_provider_b24.testing.process_tree import ProcessInfo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dags").mkdir()
    return tmp_path / "dags"


def test_nothing_of_the_users_own_airflow_reaches_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_CONN_BITRIX24_DEFAULT", "production")
    monkeypatch.setenv("AIRFLOW_HOME", "/production")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")

    env = LocalAirflow(folder, home=tmp_path / "home").env

    assert env["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert env["AIRFLOW_HOME"] == str(tmp_path / "home")
    assert env["LANG"] == "de_DE.UTF-8"
    assert {"AIRFLOW_CONN_BITRIX24_DEFAULT", "_AIRFLOW_PROCESS_CONTEXT"}.isdisjoint(env)


def test_its_addresses_agree_with_each_other(folder: Path, tmp_path: Path) -> None:
    airflow = LocalAirflow(folder, home=tmp_path / "home")
    env = airflow.env

    assert airflow.url == f"http://127.0.0.1:{env['AIRFLOW__API__PORT']}" == env["AIRFLOW__API__BASE_URL"]
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == f"{airflow.url}/execution/"
    ports = {env[f"AIRFLOW__LOGGING__{part}_LOG_SERVER_PORT"] for part in ("WORKER", "TRIGGER")}
    assert len(ports | {env["AIRFLOW__API__PORT"]}) == 3


def test_what_the_caller_says_wins(folder: Path, tmp_path: Path) -> None:
    airflow = LocalAirflow(folder, home=tmp_path / "home", env={"AIRFLOW__CORE__PARALLELISM": "2", "X": "y"})

    assert (airflow.env["AIRFLOW__CORE__PARALLELISM"], airflow.env["X"]) == ("2", "y")


def test_a_home_that_is_used_again_keeps_its_keys(folder: Path, tmp_path: Path) -> None:
    keys = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")
    first, again = (LocalAirflow(folder, home=tmp_path / "home").env for _ in range(2))
    other = LocalAirflow(folder, home=tmp_path / "other").env

    assert [first[key] for key in keys] == [again[key] for key in keys]
    assert not {first[key] for key in keys} & {other[key] for key in keys}


def test_another_database_is_not_given_what_only_sqlite_understands(folder: Path, tmp_path: Path) -> None:
    postgresql = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://127.0.0.1/airflow"}

    env = LocalAirflow(folder, home=tmp_path / "home", env=postgresql).env

    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS" not in env


@pytest.mark.parametrize(
    ("part", "patient"), [("triggerer", True), ("scheduler", True), ("api-server", False)]
)
def test_every_part_outlasts_a_write_of_the_api_server(
    folder: Path, tmp_path: Path, part: str, patient: bool
) -> None:
    module, _, name = (
        LocalAirflow(folder, home=tmp_path / "home")
        .env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS"]
        .rpartition(".")
    )
    program = (
        f"import sys; sys.argv = ['airflow', {part!r}]; from {module} import {name} as args; print(args)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ast.literal_eval(done.stdout) == ({"timeout": 60.0} if patient else {})


def test_free_ports_are_distinct_and_nobody_listens_there() -> None:
    ports = free_ports(5)

    assert len(set(ports)) == 5
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            continue


def test_files_that_define_a_dag_are_told_from_those_that_only_help(folder: Path) -> None:
    (folder / "decorated.py").write_text("from airflow.sdk import dag\n\n@dag\ndef d(): ...\nd()\n")
    (folder / "robot.py").write_text("@robot_dag(code='x')\ndef d(): ...\n")
    (folder / "classic.py").write_text("with DAG('d'):\n    ...\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "more.py").write_text("dag = DAG('e')\n")
    (folder / "helper.py").write_text("# used by every dag of airflow\nx = 1\n")

    assert dag_files(folder) == {"decorated.py", "robot.py", "classic.py", "sub/more.py"}


def test_an_airflow_that_ends_while_starting_is_an_error_that_shows_what_it_printed(
    folder: Path, tmp_path: Path
) -> None:
    broken = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "nonsense://nowhere"}

    with pytest.raises(LocalAirflowError, match=r"exit code 1(.|\n)*nonsense"):
        LocalAirflow(folder, home=tmp_path / "home", env=broken).__enter__()


class Processes:
    """Processes of an Airflow that always run; which ones is nobody's business."""

    def __init__(self, command: Sequence[str], **_: object) -> None:
        pass

    def exit_code(self) -> None:
        return None

    def processes(self) -> list[ProcessInfo]:
        return []

    def stop(self) -> None:
        pass


@pytest.fixture
def slow(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LocalAirflow]:
    """Make a local Airflow that answers like this, one answer after the other, the last one for ever."""

    def make(*unhealthy: list[str] | Exception, start_timeout: float = 60) -> LocalAirflow:
        answers = list(unhealthy)

        def answer() -> list[str]:
            given = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(given, Exception):
                raise given
            return given

        monkeypatch.setattr(process_tree, "ProcessTree", Processes)
        airflow = LocalAirflow(folder, home=tmp_path / "home", start_timeout=start_timeout)
        monkeypatch.setattr(airflow, "unhealthy", answer)
        monkeypatch.setattr(airflow, "import_errors", dict)
        monkeypatch.setattr(airflow, "dags", lambda: {"d": {"relative_fileloc": "d.py"}})
        return airflow

    return make


def start(airflow: LocalAirflow) -> list[str]:
    """Start it, and give what it said meanwhile."""
    said: list[str] = []
    try:
        airflow.start(said.append)
    finally:
        airflow.stop()
    return said


def test_it_says_what_it_is_waiting_for(slow: Callable[..., LocalAirflow], folder: Path) -> None:
    (folder / "late.py").write_text("dag = DAG('e')\n")
    airflow = slow(requests.ConnectionError(), ["scheduler", "triggerer"], ["triggerer"], [])
    files = [{}, {"d": {"relative_fileloc": "late.py"}}]
    airflow.dags = lambda: files.pop(0)

    assert start(airflow) == [
        "waiting for the metadata database",
        "waiting for scheduler, triggerer",
        "waiting for triggerer",
        "waiting for DAG files to be parsed: late.py",
    ]


@pytest.mark.parametrize("problem", [requests.ReadTimeout(), AirflowApiError("HTTP 500", 500)])
def test_an_answer_that_fails_while_it_starts_is_waited_for(
    slow: Callable[..., LocalAirflow], problem: Exception
) -> None:
    airflow = slow(["scheduler"], problem, [])

    assert start(airflow) == ["waiting for scheduler", "waiting for the metadata database"]


def test_it_is_given_up_when_nothing_comes_any_more(slow: Callable[..., LocalAirflow]) -> None:
    with pytest.raises(LocalAirflowError, match="not ready after 0 s, waiting for triggerer"):
        start(slow(["triggerer"], start_timeout=0))


def test_it_is_not_given_up_while_one_thing_comes_after_the_other(slow: Callable[..., LocalAirflow]) -> None:
    parts = ["metadatabase", "scheduler", "triggerer", "dag_processor"]
    airflow = slow(*(parts[number:] for number in range(5)), start_timeout=0)

    assert len(start(airflow)) == 4


def test_a_temporary_home_is_gone_afterwards(folder: Path) -> None:
    airflow = LocalAirflow(folder)
    (airflow.home / "file").touch()

    airflow.stop()

    assert not airflow.home.exists()
    with pytest.raises(LocalAirflowError, match="not running"):
        airflow.processes()
