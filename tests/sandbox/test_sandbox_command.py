"""`airflow-b24 sandbox` as a user meets it."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from airflow_provider_b24 import cli
from airflow_provider_b24.sandbox import CallRobot, SandboxPortal

COMMAND = [sys.executable, "-m", "airflow_provider_b24.cli"]


COMMAND_IN_THE_BACKGROUND = [
    # What a shell starts in the background ignores SIGINT from its first moment.
    sys.executable,
    "-c",
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])",
    *COMMAND,
]


@pytest.mark.parametrize("command", [COMMAND, COMMAND_IN_THE_BACKGROUND], ids=["foreground", "background"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_tells_how_to_connect_and_ends_when_asked(
    number: signal.Signals, command: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with output.open("wb") as sink:
        running = subprocess.Popen([*command, "sandbox"], stdout=sink, stderr=subprocess.STDOUT)
    try:
        text = read_until(output, "curl")
        connection = json.loads(re.search(r"export AIRFLOW_CONN_BITRIX24_DEFAULT='(.+)'", text)[1])
        webhook = re.search(r"http\S+/rest/\S+", text)[0]
        profile = requests.get(f"{webhook}profile", timeout=10).json()
    finally:
        running.send_signal(number)
        try:
            code = running.wait(10)
        finally:
            running.kill()

    assert profile["result"]["ADMIN"]
    assert webhook.startswith(connection["host"])
    assert {"client_id", "client_secret", "refresh_token", "member_id", "application_token"} <= set(
        connection["extra"]
    )
    assert code == 0
    assert "Traceback" not in output.read_text()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([], 404),
        (["--answers", "portal"], 404),
        (["--answers", "older-portal"], ""),
        (["--answers", "documentation"], "ACCESS_DENIED"),
    ],
)
def test_an_answer_to_a_process_that_is_over_meets_what_the_command_line_says(
    options: list[str], error: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []

    def look_and_leave(portal: SandboxPortal, airflow: str) -> None:
        robot = {"CODE": "score", "NAME": "Score", "HANDLER": "http://127.0.0.1:9/", "USE_SUBSCRIPTION": "Y"}
        portal.robot_registry.add("robot", portal.application.client_id, robot)
        token = portal.start_process([CallRobot("score")]).waiting_for
        for _ in range(2):
            answered = requests.post(
                f"{portal.webhook.url}bizproc.event.send", json={"event_token": token}, timeout=10
            )
        said.append(answered.json()["error"])
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cli, "_announce", look_and_leave)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    assert cli.main(["sandbox", *options]) == 0
    assert said == [error]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def read_until(file: Path, text: str) -> str:
    deadline = time.monotonic() + 20
    while text not in file.read_text():
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)
    return file.read_text()


def test_the_printed_connection_is_one_the_hook_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_b24.hooks.connection import PortalConnection
    from airflow_provider_b24.testing.sandbox_connection import (
        as_environment,
        oauth_connection,
        webhook_connection,
    )

    with SandboxPortal() as portal:
        for kind, described in (("oauth", oauth_connection(portal)), ("webhook", webhook_connection(portal))):
            for name, value in as_environment(described, "some_portal").items():
                monkeypatch.setenv(name, value)
            connection = PortalConnection.load("some_portal")
            assert connection.kind == kind
            assert connection.portal_url == portal.url
            assert connection.member_id == portal.member_id
            assert connection.application_token == portal.application.application_token
