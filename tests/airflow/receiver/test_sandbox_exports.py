"""``airflow-b24 sandbox`` prints all that ``airflow-b24 robots`` needs to know of the portal and of Airflow."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

from airflow_provider_b24 import cli
from airflow_provider_b24.demo import example_dags
from airflow_provider_b24.sandbox import serve


@pytest.fixture
def robots_by_what_is_printed(
    metadata_database: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Run ``airflow-b24 robots`` beside a sandbox portal with nothing but the printed exports."""

    def run(*options: str, command: list[str]) -> tuple[dict[str, str], Any]:
        found: list[Any] = []
        announce_and_serve = serve.run

        def announce_and_leave(*arguments: Any, announce: Any, stop: Any, **rest: Any) -> None:
            def look(portal: Any) -> None:
                announce(portal)
                exports = dict(re.findall(r"export (\w+)='(.+)'", capsys.readouterr().out))
                for name in [name for name in os.environ if name.startswith("AIRFLOW__API__")]:
                    monkeypatch.delenv(name)
                for name, value in exports.items():
                    monkeypatch.setenv(name, value)
                code = cli.main(command)
                printed = capsys.readouterr()
                assert code == 0, printed.err
                found.append((exports, json.loads(printed.out)))
                stop.set()

            announce_and_serve(*arguments, announce=look, stop=stop, **rest)

        monkeypatch.setattr(serve, "run", announce_and_leave)
        # Both commands print into one terminal here: the portal's lines would be among the robots' JSON.
        assert cli.main(["sandbox", "--quiet", *options]) == 0
        return found[0]

    return run


@pytest.mark.parametrize(
    ("options", "address", "port"),
    [
        ((), "http://127.0.0.1:8080", None),
        (("--airflow", "http://127.0.0.1:9090/"), "http://127.0.0.1:9090", "9090"),
        (("--airflow", "https://airflow.example.com"), "https://airflow.example.com", None),
    ],
)
def test_robots_are_registered_with_nothing_but_what_is_printed(
    robots_by_what_is_printed: Any, options: tuple[str, ...], address: str, port: str | None
) -> None:
    command = ["robots", "apply", "--yes", "--json", "--dags-folder", str(example_dags())]
    exports, applied = robots_by_what_is_printed(*options, command=command)

    assert exports["AIRFLOW__API__BASE_URL"] == address
    assert exports.get("AIRFLOW__API__PORT") == port
    assert [robot["done"] for robot in applied["robots"]] == [True] * len(applied["robots"]) != []
